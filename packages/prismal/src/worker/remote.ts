/** A pipeline whose work is done in a worker: this thread posts messages, and answers as the pipeline there would. */
import {
  type GenerationOptions,
  type GenerationPipeline,
  generationOf,
  givenOptions,
  type Model,
  type ModelUrls,
  placeForThreads,
  type Reported,
  type Runner,
} from '@prismal/models'
import { type Capabilities, DisposedError, UnavailableError } from '@prismal/tensor'
import { disposal } from '../disposal.js'
import type { Task } from '../locate.js'
import type { PipelineCapabilities, PipelineOptions, Pipelines } from '../pipeline.js'
import { WorkerLink } from './link.js'
import type { ModelFacts, Step } from './messages.js'
import { packInput, unpackOutput } from './values.js'

interface CallOptions {
  readonly signal?: AbortSignal
}

/**
 * Starts a worker that loads the pipeline. Throws what `pipeline()` throws there, and `WorkerError` where the worker ends
 * before it has; `StartError` where the runtime refuses to start any.
 */
export async function remotePipeline<T extends Task>(
  task: T,
  model: string | ModelUrls | undefined,
  options: PipelineOptions,
): Promise<Pipelines[T]> {
  const { backend, module, dtype, threads, memoryLimitBytes, workerScript, warn = console.warn, signal } = options
  signal?.throwIfAborted()
  const link = startLink(workerScript, {
    warning: warn,
    progress: info => options.progress_callback?.(info),
  })
  // Loading holds nothing that would have to be put in order: the worker is simply ended.
  const abort = (): void => void link.end(signal?.reason)
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const plain = {
      ...(backend !== undefined && { backend }),
      ...(module !== undefined && { module: placeForThreads(module) }),
      ...(dtype !== undefined && { dtype }),
      ...(threads !== undefined && { threads }),
      ...(memoryLimitBytes !== undefined && { memoryLimitBytes }),
    }
    const where = model === undefined ? undefined : placeForThreads(model)
    const facts = (await link.ask({ ask: 'load', task, model: where, options: plain })) as ModelFacts
    return toolOf(task, link, facts) as Pipelines[T]
  } catch (error) {
    await link.end(error)
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

/** The runtime refuses to start its workers. */
export class StartError extends Error {}

function startLink(...[script, listener]: ConstructorParameters<typeof WorkerLink>): WorkerLink {
  try {
    return new WorkerLink(script, listener)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    if (script === undefined) throw new StartError(why, { cause })
    const named = typeof script === 'function' ? '' : ` ${script}`
    throw new UnavailableError(`workerScript${named} cannot be started: ${why}`, { cause })
  }
}

function toolOf(task: Task, link: WorkerLink, facts: ModelFacts): Pipelines[Task] {
  const capabilities = (): PipelineCapabilities => ({ ...(link.capabilities as PipelineCapabilities), worker: true })
  const dispose = (): Promise<void> => link.end(new DisposedError('this pipeline was disposed'))
  const runner: Runner = {
    model: remoteModel(facts, capabilities, dispose),
    begin: () => {
      throw inWorker('runner.begin')
    },
    dispose,
  }
  const withReport = async (input: unknown, options?: CallOptions): Promise<Reported<unknown>> => {
    const { signal, ...rest } = givenOptions(options)
    signal?.throwIfAborted()
    const { value, transfer } = await packInput(input, facts.family === 'vit')
    const question = { ask: 'call', input: value, options: rest } as const
    const { output, report } = (await link.ask(question, transfer, signal)) as Reported<unknown>
    return { output: unpackOutput(output), report }
  }
  const sequence = async (): Promise<never> => {
    throw inWorker('sequence')
  }
  const shared = { withReport, runner, dispose, capabilities, task, sequence, ...disposal(dispose) }
  if (task === 'text-generation') {
    const stream = streamOver(link)
    const call = generationOf(withReport as GenerationPipeline['withReport'], stream)
    return Object.assign(call, { ...shared, stream }) as Pipelines['text-generation']
  }
  const call = async (input: unknown, options?: CallOptions): Promise<unknown> =>
    (await withReport(input, options)).output
  return Object.assign(call, shared) as Pipelines[Task]
}

/** The worker computes a piece when it is asked for, as a generator does, and ends the request when nobody reads on. */
function streamOver(link: WorkerLink): GenerationPipeline['stream'] {
  return async function* (prompt: string, options: GenerationOptions | undefined, onReport) {
    const { signal, ...rest } = givenOptions(options)
    signal?.throwIfAborted()
    const { id: stream, answer } = link.begin({ ask: 'stream', prompt, options: rest }, [], signal)
    await answer
    let isOpen = true
    try {
      for (;;) {
        const step = (await link.askOf(stream, { ask: 'next', stream }, signal)) as Step
        if ('reported' in step) {
          isOpen = false
          onReport?.(step.reported as Reported<string>)
          return
        }
        yield step.piece
      }
    } finally {
      // After a failure the worker may be gone, and what failed is what the caller must hear of.
      if (isOpen) await link.ask({ ask: 'end', stream }).catch(() => {})
    }
  }
}

/** What is known here of a model that lives in the worker; whatever else is asked of it throws `UnavailableError`. */
function remoteModel(facts: ModelFacts, capabilities: () => Capabilities, dispose: () => Promise<void>): Model {
  const engine = guarded('model.engine', { build: capabilities().build, rehearses: false, capabilities })
  return guarded('model', { ...facts, engine, dispose: () => void dispose() }) as unknown as Model
}

function guarded<Known extends object>(name: string, known: Known): Known {
  return new Proxy(known, {
    get(target, key) {
      // `then` and `toJSON` are asked of any object, by `await` and JSON.
      if (key in target || typeof key === 'symbol' || key === 'then' || key === 'toJSON')
        return Reflect.get(target, key)
      throw inWorker(`${name}.${key}`)
    },
  })
}

const inWorker = (what: string): UnavailableError =>
  new UnavailableError(`${what} is in the pipeline's worker, out of reach of this thread`)
