/** text-generation: awaited for the whole text, or iterated for pieces as they come. */
import { InputError, kindOf, ModelError } from '../errors.js'
import type { GenerateOptions } from '../generate.js'
import type { Part } from '../input.js'
import type { Request, Runner } from '../runner.js'
import type { SamplingOptions } from '../sampling.js'
import type { Tokenizer } from '../text/tokenizer.js'
import { givenOptions } from './options.js'
import { asList, type CallOptions, endOf, type Reported } from './pipeline.js'

/** Names as transformers.js has them. */
export interface GenerationOptions extends CallOptions {
  /** Default 20, or what `max_length` leaves. */
  readonly max_new_tokens?: number
  /** Most tokens of prompt and text together, where `max_new_tokens` is not given. */
  readonly max_length?: number
  /** Sample rather than take the most likely token; default: whether `temperature` is given. */
  readonly do_sample?: boolean
  readonly temperature?: number
  readonly top_k?: number | null
  readonly top_p?: number
  readonly repetition_penalty?: number
  readonly seed?: number
  /** Texts of which the first that is complete ends the generation; they are not part of the output. */
  readonly stop?: string | readonly string[]
  /** Give the prompt too; default true, as transformers.js. */
  readonly return_full_text?: boolean
}
const NAMES: readonly string[] = [
  'max_new_tokens',
  'max_length',
  'do_sample',
  'temperature',
  'top_k',
  'top_p',
  'repetition_penalty',
  'seed',
  'stop',
  'return_full_text',
]

export interface Generated {
  readonly generated_text: string
}

/** One generation: a promise of the texts, and an iterable of the (first) prompt's pieces. Use one or the other. */
export interface Generation extends Pick<Promise<Generated[]>, 'then' | 'catch' | 'finally'>, AsyncIterable<string> {}

export interface GenerationPipeline {
  (prompts: string | readonly string[], options?: GenerationOptions): Generation
  withReport(prompts: string | readonly string[], options?: GenerationOptions): Promise<Reported<Generated[]>>
  /** Pieces of text as they come; `onReport` is told the cost at the end. */
  stream(prompt: string, options?: GenerationOptions, onReport?: (r: Reported<string>) => void): AsyncIterable<string>
  readonly runner: Runner
  dispose(): Promise<void>
}

export function textGeneration(runner: Runner, tokenizer: Tokenizer, endIds: readonly number[]): GenerationPipeline {
  if (!runner.model.vocabulary || !runner.model.shape.causal)
    throw new ModelError(`${runner.model.location} is not a causal language model: it cannot do text-generation`)

  const end = endOf(runner)
  const begin = (request: Request, texts: readonly string[], options: GenerationOptions) => {
    const prompts = texts.map(encodeWith(tokenizer, endIds))
    const counts = prompts.map(prompt => newTokens(prompt, options))
    const tokens = request.tokens(prompts, engineOptions(options, Math.max(1, ...counts), endIds))
    return { tokens, writers: counts.map(count => new Writer(tokenizer, options.stop, count)) }
  }

  const withReport: GenerationPipeline['withReport'] = async (prompts, given) => {
    const options = checkedOptions(givenOptions(given, NAMES))
    const texts = asList(prompts)
    const request = end.begin(options.signal)
    try {
      const { tokens, writers } = begin(request, texts, options)
      for await (const { sequence, id } of tokens) {
        writers[sequence]?.push(id)
        if (writers.every(w => w.stopped)) break
      }
      const output = texts.map((text, i) => ({
        generated_text: (options.return_full_text === false ? '' : text) + (writers[i] as Writer).text,
      }))
      return { output, report: request.report() }
    } catch (error) {
      throw end.reason(error)
    } finally {
      request.end()
    }
  }

  const stream: GenerationPipeline['stream'] = async function* (prompt, given, onReport) {
    const options = checkedOptions(givenOptions(given, NAMES))
    const request = end.begin(options.signal)
    try {
      const { tokens, writers } = begin(request, [prompt], options)
      const [writer] = writers as [Writer]
      for await (const { id } of tokens) {
        const piece = writer.push(id)
        if (piece) yield piece
        if (writer.stopped) break
      }
      const rest = writer.flush()
      if (rest) yield rest
      onReport?.({ output: writer.text, report: request.report() })
    } catch (error) {
      throw end.reason(error)
    } finally {
      request.end()
    }
  }

  return Object.assign(generationOf(withReport, stream), {
    withReport,
    stream,
    runner,
    dispose: end.dispose,
  })
}

/** The call of a generation pipeline, of its two ways: it begins one of them when it is first awaited, or iterated. */
export function generationOf(
  withReport: GenerationPipeline['withReport'],
  stream: GenerationPipeline['stream'],
): (prompts: string | readonly string[], options?: GenerationOptions) => Generation {
  return (prompts, options) => {
    let begun: Promise<Generated[]> | undefined
    const texts = () => {
      begun ??= withReport(prompts, options).then(r => r.output)
      return begun
    }
    return {
      // biome-ignore lint/suspicious/noThenProperty: a generation is awaited for its whole text
      then: (resolve, reject) => texts().then(resolve, reject),
      catch: reject => texts().catch(reject),
      finally: last => texts().finally(last),
      [Symbol.asyncIterator]: () => stream(asList(prompts)[0] as string, options)[Symbol.asyncIterator](),
    }
  }
}

/** An empty prompt starts with the end token, which separates documents in training. */
const encodeWith = (tokenizer: Tokenizer, endIds: readonly number[]) => (text: string) => {
  const part = tokenizer.encode(text)
  if (part.to > 0) return part
  const [start] = endIds
  if (start === undefined) throw new InputError('the prompt is empty, and the model has no token to start with')
  return { from: 0, to: 1, ids: Int32Array.of(start) }
}

/** Throws {@link InputError} for values that no generation can have, also where they would not be used. */
function checkedOptions(options: GenerationOptions): GenerationOptions {
  const { do_sample, return_full_text, temperature = 0, max_new_tokens, stop = [] } = options
  for (const [name, flag] of Object.entries({ do_sample, return_full_text }))
    if (flag !== undefined && typeof flag !== 'boolean') throw new InputError(`${name} is ${flag}, not true or false`)
  if (!(temperature >= 0 && Number.isFinite(temperature)))
    throw new InputError(`temperature is ${temperature}, not a number ≥ 0`)
  if (max_new_tokens !== undefined && !(Number.isSafeInteger(max_new_tokens) && max_new_tokens >= 1))
    throw new InputError(`max_new_tokens is ${max_new_tokens}, not a whole number ≥ 1`)
  for (const text of asList(stop))
    if (typeof text !== 'string') throw new InputError(`stop is a text or a list of them; ${kindOf(text)} was given`)
  return options
}

/** How many tokens a prompt gets. */
function newTokens(prompt: Part, { max_new_tokens, max_length }: GenerationOptions): number {
  if (max_new_tokens !== undefined || max_length === undefined) return max_new_tokens ?? 20
  if (!Number.isSafeInteger(max_length)) throw new InputError(`max_length is ${max_length}, not a whole number`)
  if (max_length > prompt.to) return max_length - prompt.to
  throw new InputError(
    `max_length is ${max_length}, and the prompt alone has ${prompt.to} tokens: raise it, or give max_new_tokens`,
  )
}

function engineOptions(options: GenerationOptions, maxNewTokens: number, endIds: readonly number[]): GenerateOptions {
  const samples = options.do_sample ?? (options.temperature !== undefined && options.temperature > 0)
  const sampling: SamplingOptions = {
    temperature: samples ? (options.temperature ?? 1) : 0,
    ...(options.top_k && { topK: options.top_k }),
    ...(options.top_p !== undefined && { topP: options.top_p }),
    ...(options.repetition_penalty !== undefined && { repetitionPenalty: options.repetition_penalty }),
    ...(options.seed !== undefined && { seed: options.seed }),
  }
  return { maxNewTokens, sampling, endIds }
}

/**
 * Turns ids into text piece by piece: holds back characters that are not complete and what may begin a stop text, and takes
 * no more tokens than it was said to.
 */
class Writer {
  readonly #tokenizer: Tokenizer
  readonly #stops: readonly string[]
  readonly #ids: number[] = []
  #given = 0
  readonly #most: number
  #stoppedAt: number | undefined

  constructor(tokenizer: Tokenizer, stop: string | readonly string[] = [], most: number) {
    this.#tokenizer = tokenizer
    this.#most = most
    this.#stops = asList(stop).filter(s => s.length > 0)
  }
  get stopped(): boolean {
    return this.#stoppedAt !== undefined
  }
  get text(): string {
    return this.#tokenizer.decode(this.#ids).slice(0, this.#stoppedAt)
  }

  /** The text that this id completes, possibly none. */
  push(id: number): string {
    if (this.stopped || this.#ids.length >= this.#most) return ''
    this.#ids.push(id)
    const text = this.#tokenizer.decode(this.#ids)
    // The one that was complete first, however the text was cut into tokens.
    const found = this.#stops.map(s => ({ at: text.indexOf(s), length: s.length })).filter(({ at }) => at >= 0)
    this.#stoppedAt = found.sort((a, b) => a.at + a.length - b.at - b.length || a.at - b.at)[0]?.at
    const complete = text.endsWith('\uFFFD') ? text.length - 1 : text.length
    const held = Math.max(0, ...this.#stops.map(s => overlap(text, s)))
    return this.#give(text, this.#stoppedAt ?? Math.min(complete, text.length - held))
  }
  /** What was held back, at the end. */
  flush(): string {
    const text = this.text
    return this.#give(text, text.length)
  }

  #give(text: string, to: number): string {
    if (to <= this.#given) return ''
    const piece = text.slice(this.#given, to)
    this.#given = to
    return piece
  }
}

/** Length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(text.length, stop.length - 1); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n
  return 0
}
