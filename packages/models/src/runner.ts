/** Runs a model on sequences: here on one device; `@prismal/distribute` has a runner that shares the work. */
import { type PeakWatch, type Run, type Scope, segmentMeans, type Tensor } from '@prismal/tensor'
import { alone, type Context, turnTaker, wholeLayout } from './context.js'
import { checkOptions, type Emitted, type GenerateOptions, generate } from './generate.js'
import { nextPosition, type Part, type Want, wantedRows } from './input.js'
import { KvCache } from './kv-cache.js'
import type { Model } from './model.js'
import { expectRoom, firstSteps } from './rehearse.js'
import { type Report, StageMeter, totals } from './report.js'

/** One request: it owns memory until `end()`, whatever happens in between. */
export interface Request {
  /** Memory of the request, on the engine of the device that was asked. */
  readonly scope: Scope
  readonly meter: StageMeter
  /** The rows asked for, finished (final norm), sequence after sequence: [wanted, D]; with `mean` one a sequence. */
  rows(sequences: readonly Part[], want: Want): Promise<Tensor>
  /** Prefill and decoding of several prompts at once, as tokens come. */
  tokens(prompts: readonly Part[], options: GenerateOptions): AsyncIterable<Emitted>
  /** What it cost so far. */
  report(): Report
  /** Gives the memory back. Twice is harmless. */
  end(): void
}

export interface Runner {
  readonly model: Model
  begin(signal?: AbortSignal): Request
  dispose(): Promise<void>
}

/** A runner on this device alone. */
export function aloneRunner(model: Model): Runner {
  return {
    model,
    begin: signal => new AloneRequest(model, signal),
    dispose: async () => model.dispose(),
  }
}

class AloneRequest implements Request {
  readonly meter = new StageMeter()
  readonly scope: Scope
  readonly #model: Model
  readonly #signal: AbortSignal | undefined
  readonly #started = performance.now()
  readonly #peak: PeakWatch
  #rows = 0

  constructor(model: Model, signal: AbortSignal | undefined) {
    this.#model = model
    this.#signal = signal
    this.scope = model.engine.scope(this.meter)
    this.#peak = model.engine.arena.watch()
  }

  async rows(sequences: readonly Part[], want: Want): Promise<Tensor> {
    const model = this.#model
    for (const sequence of sequences) model.check(sequence)
    await this.#expectRoom(request => request.rows(sequences, want))
    const placed = sequences.map((s, b) => ({ rows: s.to, wanted: wantedRows(want, b, s.to) }))
    const context = withTurns(alone(wholeLayout(placed, model.shape), this.meter), this.#signal)
    const rows = await this.#forward(sequences, context)
    return want === 'mean' ? sequenceMeans(rows, placed) : rows
  }

  async *tokens(prompts: readonly Part[], options: GenerateOptions): AsyncGenerator<Emitted> {
    const model = this.#model
    checkOptions(options)
    for (const prompt of prompts) model.check(prompt)
    const { maxNewTokens } = options
    await this.#expectRoom(request => firstSteps(request.tokens(prompts, { maxNewTokens })))
    const caches = prompts.map(p => cacheFor(this.scope, model, p.to, options.maxNewTokens))
    const placed = prompts.map(p => ({ rows: p.to, wanted: [p.to - 1] }))
    const context = withTurns(alone(wholeLayout(placed, model.shape), this.meter, caches), this.#signal)
    const last = await this.#forward(prompts, context)
    const prefilled = prompts.map((p, sequence) => ({
      sequence,
      cache: caches[sequence] as KvCache,
      position: nextPosition(p),
      ids: p.ids as Int32Array,
    }))
    yield* generate(model, this.meter, last, prefilled, options, this.#signal)
  }

  /** Throws `MemoryError` where a rehearsal of the same shows that it cannot fit. */
  async #expectRoom(work: (request: AloneRequest) => Promise<unknown>): Promise<void> {
    await expectRoom(this.#model, async rehearsed => {
      const request = new AloneRequest(rehearsed, undefined)
      await work(request)
      return request.#peak.bytes
    })
  }

  async #forward(parts: readonly Part[], context: Context): Promise<Tensor> {
    const model = this.#model
    this.#rows += parts.reduce((sum, p) => sum + p.to - p.from, 0)
    return this.scope.step(model.embed(this.scope, parts), async x => {
      const rows = await model.forward(x, context)
      this.meter.enter('head')
      return model.finish(rows)
    })
  }

  report(): Report {
    const milliseconds = performance.now() - this.#started
    const stages = this.meter.stages
    const peakBytes = this.#peak.bytes
    const device = { device: 'local', rows: this.#rows, stages, ...totals(stages), inputBytes: 0, outputBytes: 0 }
    return {
      strategy: 'alone',
      devices: [{ ...device, peakBytes, milliseconds }],
      milliseconds,
      deviations: [],
    }
  }

  end(): void {
    this.#peak.end()
    this.scope.dispose()
  }
}

/** A cache for a prompt's rows on this device and those to come, within the model's positions. */
export function cacheFor(scope: Scope, model: Model, rows: number, newTokens: number): KvCache {
  const { layers, heads, headWidth, positions } = model.shape
  return new KvCache(scope, layers, heads * headWidth, Math.min(rows + newTokens, positions))
}

/** The mean of each sequence's rows → [sequences that have rows, D]. */
export function sequenceMeans(rows: Tensor, placed: readonly { readonly rows: number }[]): Tensor {
  const runs: Run[] = []
  let start = 0
  for (const { rows: count } of placed) {
    if (count > 0) runs.push([start, start + count])
    start += count
  }
  return segmentMeans(rows, runs)
}

/** The same context, letting events through before each layer's first block is folded. */
export function withTurns(context: Context, signal?: AbortSignal): Context {
  const turn = turnTaker(signal)
  return {
    wanted: (layer, x) => context.wanted(layer, x),
    keys(layer, x, projection) {
      const { normed, blocks } = context.keys(layer, x, projection)
      return { normed, blocks: afterTurn(turn, blocks) }
    },
  }
}

async function* afterTurn<T>(turn: () => Promise<void>, blocks: AsyncIterable<T>): AsyncGenerator<T> {
  await turn()
  yield* blocks
}
