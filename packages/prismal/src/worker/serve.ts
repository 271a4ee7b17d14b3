/** The worker's side: one pipeline that computes here, and the questions of the thread that started this one. */
import { InputError } from '@prismal/models'
import { starterPort } from '@prismal/tensor'
import { type Pipelines, pipeline } from '../pipeline.js'
import { carryError } from './errors.js'
import type { FromWorker, ModelFacts, Question, Step, ToWorker } from './messages.js'
import { packOutput, unpackInput } from './values.js'

type AnyPipeline = Pipelines['image-classification'] | Pipelines['text-generation']
/** Whatever the task: what is right for it comes from the caller, and is checked by the pipeline. */
type Call = (input: unknown, options: object) => Promise<{ readonly output: unknown; readonly report: unknown }>

interface Answer {
  readonly value: unknown
  readonly transfer?: readonly ArrayBuffer[]
  /** An answer between two others of a stream; what the pipeline runs on is not told with it. */
  readonly isPiece?: true
}

/** Answers until the thread is ended. */
export function serve(): void {
  const port = starterPort()
  const tell = (message: FromWorker, transfer?: readonly ArrayBuffer[]): void => port.post(message, transfer)
  let tool: AnyPipeline | undefined
  const aborts = new Map<number, AbortController>()
  const streams = new Map<number, AsyncIterator<Step>>()

  const load = async ({ task, model, options }: Question & { ask: 'load' }): Promise<Answer> => {
    tool = (await pipeline(task as 'image-classification', model, {
      ...options,
      warn: message => tell({ told: 'warning', message }),
      progress_callback: info => tell({ told: 'progress', info }),
    })) as AnyPipeline
    const { family, location, precision, shape, labels, digest, headProducts } = tool.runner.model
    const facts: ModelFacts = { family, location, precision, shape, labels, digest, headProducts }
    return { value: facts }
  }

  const call = async (question: Question & { ask: 'call' }, signal: AbortSignal | undefined): Promise<Answer> => {
    const run = loaded(tool).withReport as Call
    const { output, report } = await run(unpackInput(question.input), { ...question.options, signal })
    const { value, transfer } = packOutput(output)
    return { value: { output: value, report }, transfer }
  }

  const next = async (id: number): Promise<Answer> => {
    const { done, value } = (await streams.get(id)?.next()) ?? { done: true, value: undefined }
    if (done || 'reported' in value) forget(id)
    return { value, ...(!done && 'piece' in value && { isPiece: true as const }) }
  }

  const end = async (id: number): Promise<Answer> => {
    const stream = streams.get(id)
    forget(id)
    await stream?.return?.()
    return { value: undefined }
  }
  const forget = (stream: number): void => {
    streams.delete(stream)
    aborts.delete(stream)
  }

  const answer = async (question: Question, id: number, signal: AbortSignal | undefined): Promise<Answer> => {
    switch (question.ask) {
      case 'load':
        return load(question)
      case 'call':
        return call(question, signal)
      case 'stream': {
        const { prompt, options } = question
        streams.set(id, steps(loaded(tool) as Pipelines['text-generation'], prompt, { ...options, signal }))
        return { value: undefined }
      }
      case 'next':
        return next(question.stream)
      case 'end':
        return end(question.stream)
    }
  }

  const take = async (message: ToWorker): Promise<void> => {
    if (message.ask === 'abort') return aborts.get(message.id)?.abort()
    const { id } = message
    const begun = 'stream' in message ? message.stream : id
    if (message.ask === 'call' || message.ask === 'stream') aborts.set(id, new AbortController())
    const signal = aborts.get(begun)?.signal
    try {
      const { value, transfer, isPiece } = await answer(message, id, signal)
      if (message.ask === 'call') aborts.delete(id)
      tell({ told: 'answer', id, value, ...(tool && !isPiece && { now: tool.capabilities() }) }, transfer)
    } catch (error) {
      forget(begun)
      tell({
        told: 'failure',
        id,
        error: carryError(error),
        isAbort: signal?.aborted === true && error === signal.reason,
      })
    }
  }
  port.listen(message => void take(message as ToWorker))
}

/** A stream's pieces, and in the end what it reports. */
async function* steps(tool: Pipelines['text-generation'], prompt: unknown, options: object): AsyncGenerator<Step> {
  let reported: unknown
  for await (const piece of tool.stream(prompt as string, options, r => {
    reported = r
  }))
    yield { piece }
  yield { reported }
}

function loaded(tool: AnyPipeline | undefined): AnyPipeline {
  if (!tool) throw new InputError('the pipeline was called before it was loaded')
  return tool
}
