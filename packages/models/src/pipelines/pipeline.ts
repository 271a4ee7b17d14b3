/** What pipelines share: a call owns one request, gives its memory back whatever happens, and can report its cost. */
import { DisposedError } from '@prismal/tensor'
import type { Report } from '../report.js'
import type { Request, Runner } from '../runner.js'
import { givenOptions } from './options.js'

export interface CallOptions {
  readonly signal?: AbortSignal
}

/** Output and cost of one call. */
export interface Reported<Output> {
  readonly output: Output
  readonly report: Report
}

export interface Pipeline<Input, Options, Output> {
  (input: Input, options?: Options & CallOptions): Promise<Output>
  /** The same call, with what it cost. */
  withReport(input: Input, options?: Options & CallOptions): Promise<Reported<Output>>
  readonly runner: Runner
  dispose(): Promise<void>
}

/** A pipeline's end: calls that it meets, and later ones, fail with one error, whatever they found to be gone. */
export function endOf(runner: Runner) {
  let ended: DisposedError | undefined
  return {
    /** Begins a request. Throws where the pipeline was disposed. */
    begin(signal?: AbortSignal): Request {
      if (ended) throw ended
      return runner.begin(signal)
    },
    /** What a call fails with that met `error`. */
    reason: (error: unknown): unknown => ended ?? error,
    dispose(): Promise<void> {
      ended ??= new DisposedError('this pipeline was disposed')
      return runner.dispose()
    },
  }
}

/** Makes a pipeline of what one request does; `known` are the names of its options. */
export function pipelineOf<Input, Options extends object, Output>(
  runner: Runner,
  known: readonly string[],
  work: (request: Request, input: Input, options: Options & CallOptions) => Promise<Output>,
): Pipeline<Input, Options, Output> {
  const end = endOf(runner)
  const withReport = async (input: Input, options?: Options & CallOptions): Promise<Reported<Output>> => {
    const given = givenOptions(options, known)
    const request = end.begin(given.signal)
    try {
      const output = await work(request, input, given)
      return { output, report: request.report() }
    } catch (error) {
      throw end.reason(error)
    } finally {
      request.end()
    }
  }
  const call = async (input: Input, options?: Options & CallOptions): Promise<Output> =>
    (await withReport(input, options)).output
  return Object.assign(call, { withReport, runner, dispose: end.dispose })
}

/** A pipeline of several inputs at once: one input gives one output, a list gives a list. */
export interface BatchPipeline<Item, Options, Output> {
  (inputs: readonly Item[], options?: Options & CallOptions): Promise<Output[]>
  (input: Item, options?: Options & CallOptions): Promise<Output>
  /** The same call, with what it cost. */
  withReport(inputs: readonly Item[], options?: Options & CallOptions): Promise<Reported<Output[]>>
  withReport(input: Item, options?: Options & CallOptions): Promise<Reported<Output>>
  readonly runner: Runner
  dispose(): Promise<void>
}

/** Makes a batch pipeline of what one request does with a list of inputs; `known` are the names of its options. */
export function batchPipeline<Item, Options extends object, Output>(
  runner: Runner,
  known: readonly string[],
  work: (request: Request, inputs: readonly Item[], options: Options & CallOptions) => Promise<Output[]>,
): BatchPipeline<Item, Options, Output> {
  return pipelineOf(runner, known, async (request, input: Item | readonly Item[], options: Options & CallOptions) => {
    const outputs = await work(request, asList(input), options)
    return Array.isArray(input) ? outputs : outputs[0]
  }) as BatchPipeline<Item, Options, Output>
}

/** e^x / Σ e^x in float64, for the few values that people see. */
export function probabilities(logits: Float32Array): number[] {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  const weights = Array.from(logits, v => Math.exp(v - largest))
  const sum = weights.reduce((a, b) => a + b, 0)
  return weights.map(w => w / sum)
}

/** Indices of the `count` largest values, largest first, ties in order. */
export function largest(values: readonly number[], count: number): number[] {
  const order = values.map((_, i) => i).sort((a, b) => (values[b] as number) - (values[a] as number) || a - b)
  return order.slice(0, count)
}

/** One or several inputs: the output has the same form. */
export const asList = <T>(input: T | readonly T[]): readonly T[] => (Array.isArray(input) ? input : [input as T])
