/** What one device does for one request: its share of the prefill, and decoding. */
import {
  cacheFor,
  type Emitted,
  firstSteps,
  generate,
  type KvCache,
  type Model,
  nextPosition,
  type Part,
  type Prefilled,
  StageMeter,
  sequenceMeans,
  withTurns,
} from '@prismal/models'
import type { Scope, Tensor } from '@prismal/tensor'
import { encodeCounts, plannedCounts } from './alike.js'
import { handedRows, sentRows } from './layer-work.js'
import type { Share } from './messages.js'
import { placedPart } from './parts.js'
import { decoderOf, handoffs, type Plan, type SequencePlan, transfers, wantedHere } from './plan.js'
import { type Exchange, shared } from './shared-context.js'
import { joined, rowBytes } from './wire.js'

/** What one device does for one request. */
export class Work {
  readonly #model: Model
  readonly #scope: Scope
  readonly #meter: StageMeter
  readonly #share: Share
  readonly #parts: readonly Part[]
  readonly #signal: AbortSignal
  readonly #caches: readonly (KvCache | undefined)[]

  constructor(
    model: Model,
    scope: Scope,
    meter: StageMeter,
    share: Share,
    parts: readonly Part[],
    signal: AbortSignal,
  ) {
    this.#model = model
    this.#scope = scope
    this.#meter = meter
    this.#share = share
    this.#signal = signal
    const { plan, self, generate } = share
    this.#parts = parts.map((part, s) => placedPart(plan.sequences[s] as SequencePlan, self, part))
    this.#caches = plan.sequences.map((sequence, s) => {
      const part = parts[s] as Part
      if (!generate || decoderOf(sequence) !== self) return undefined
      return cacheFor(scope, model, part.to - part.from, generate.maxNewTokens)
    })
  }

  /** This device's wanted rows, finished; or the means of its rows, one for each sequence that it has rows of. */
  async prefill(exchange: Exchange): Promise<Tensor> {
    const { plan, self, output } = this.#share
    const model = this.#model
    const meter = this.#meter
    const context = withTurns(shared({ plan, self, meter, exchange, caches: this.#caches }), this.#signal)
    const rows = await this.#scope.step(model.embed(this.#scope, this.#parts), async x => {
      const wanted = await model.forward(x, context)
      meter.enter('head')
      return model.finish(wanted)
    })
    const own = plan.sequences.map(sequence => ({ rows: wantedHere(sequence, self).length }))
    return output === 'mean' ? sequenceMeans(rows, own) : rows
  }

  /** Tokens of the sequences that this device decodes, from its caches alone: nothing is sent to other devices. */
  async *decode(last: Tensor): AsyncGenerator<Emitted> {
    const { plan, self, generate: options, seen } = this.#share
    const mine = plan.sequences.flatMap((sequence: SequencePlan, s) => (decoderOf(sequence) === self ? [s] : []))
    if (mine.length === 0 || !options) return
    const prefilled = mine.map((sequence): Prefilled => {
      const part = this.#parts[sequence] as Part
      const cache = this.#caches[sequence] as KvCache
      return { sequence, cache, position: nextPosition(part), ids: seen?.[sequence] ?? (part.ids as Int32Array) }
    })
    yield* generate(this.#model, this.#meter, last, prefilled, options, this.#signal)
  }
}

/**
 * Does a device's work on a rehearsal of its engine, hearing zeros of the other devices. Gives the largest use of memory
 * meanwhile, in bytes.
 */
export async function rehearseWork(rehearsed: Model, share: Share, parts: readonly Part[]): Promise<number> {
  const { plan, self } = share
  const meter = new StageMeter()
  const scope = rehearsed.engine.scope(meter)
  const peak = rehearsed.engine.arena.watch()
  const options = share.generate && { maxNewTokens: share.generate.maxNewTokens }
  const greedy: Share = { plan, self, output: share.output, ...(options && { generate: options }) }
  try {
    const work = new Work(rehearsed, scope, meter, greedy, parts, new AbortController().signal)
    const rows = await work.prefill(silentExchange(plan, self, rehearsed.shape.width))
    if (share.output === 'tokens') await firstSteps(work.decode(rows))
    return peak.bytes
  } finally {
    peak.end()
    scope.dispose()
  }
}

/** The others as a rehearsal hears them: zeros, as many bytes as are due. */
function silentExchange(plan: Plan, self: number, width: number): Exchange {
  const rows = (layer: number, from: number): Uint8Array => {
    const sequences = transfers(plan, layer, from, self)
    const silent = new Uint8Array(rowBytes(sentRows(plan, layer, sequences, from, self), width, plan.wire))
    return joined([silent, encodeCounts(plannedCounts(plan, layer, sequences, from, self))])
  }
  const handed = (from: number): Uint8Array =>
    new Uint8Array(rowBytes(handedRows(plan, handoffs(plan, from, self), from), width, 'f32'))
  return {
    post: () => {},
    take: async (kind, layer, from) => (kind === 'rows' ? rows(layer, from) : handed(from)),
  }
}
