/**
 * The seam between a model and whoever holds its rows: a model asks its context for keys and knows nothing of devices,
 * caches or batches. One `forward` per model runs behind it, alone, from a cache, or shared.
 */
import { gather, isWorkerd, type KeyBlock, type Tensor } from '@prismal/tensor'
import type { KvCache, Projected } from './kv-cache.js'

/** Told which layer the operations that follow belong to. */
export interface StageMarker {
  enter(stage: string): void
}

/** How a layer makes keys of rows. */
export interface Projection {
  /** The norm before attention, [n, D] → [n, D]; a post-LN model returns the rows themselves. */
  norm(rows: Tensor): Tensor
  /** Normed rows → keys and values side by side, [n, 2·H·d]. */
  project(normed: Tensor): Tensor
}

/** A key block, and the query rows [from, to) that it is for. */
export interface QueriedBlock extends KeyBlock {
  readonly from: number
  readonly to: number
}

export interface LayerKeys {
  /** This device's rows after the norm, computed once and shared with the queries. */
  readonly normed: Tensor
  /** Blocks in the order in which they are folded, which is the same in every run. */
  readonly blocks: AsyncIterable<QueriedBlock>
}

export interface Context {
  /** The keys of a layer for block input x [n, D]. An exchange starts here. */
  keys(layer: number, x: Tensor, projection: Projection): LayerKeys
  /** The rows of x that the layer must compute: all of them, or in the last layer those that were asked for. */
  wanted(layer: number, x: Tensor): Tensor
}

/** The rows of one sequence among a device's rows x. */
export interface Placement {
  /** First row in x. */
  readonly start: number
  readonly rows: number
  /** Rows that are asked for, counted from `start`, ascending. */
  readonly wanted: readonly number[]
}

/** A ragged batch on one device: which rows are whose, and which of them the last layer computes. */
export class Layout {
  readonly placements: readonly Placement[]
  readonly causal: boolean
  readonly lastLayer: number

  constructor(placements: readonly Placement[], shape: { causal: boolean; layers: number }) {
    this.placements = placements
    this.causal = shape.causal
    this.lastLayer = shape.layers - 1
  }

  /** The rows of a sequence that are queries in a layer, counted from its start. */
  queries(layer: number, sequence: number): readonly number[] | 'all' {
    const { wanted, rows } = this.placements[sequence] as Placement
    return layer < this.lastLayer || wanted.length === rows ? 'all' : wanted
  }

  queryCount(layer: number, sequence: number): number {
    const queries = this.queries(layer, sequence)
    return queries === 'all' ? (this.placements[sequence] as Placement).rows : queries.length
  }

  /** Query rows [from, to) of a sequence among all query rows of the layer. */
  queryRange(layer: number, sequence: number): { from: number; to: number } {
    let from = 0
    for (let s = 0; s < sequence; s++) from += this.queryCount(layer, s)
    return { from, to: from + this.queryCount(layer, sequence) }
  }

  /** How many of the sequence's own keys each query sees, `past` of which lie before its first row here. */
  visible(layer: number, sequence: number, past = 0): Int32Array | undefined {
    if (!this.causal) return undefined
    const queries = this.queries(layer, sequence)
    const count = this.queryCount(layer, sequence)
    return Int32Array.from({ length: count }, (_, i) => past + (queries === 'all' ? i : (queries[i] as number)) + 1)
  }

  /** The query rows of x. */
  wanted(layer: number, x: Tensor): Tensor {
    if (this.placements.every((_, s) => this.queries(layer, s) === 'all')) return x
    const rows = this.placements.flatMap(({ start, rows }, s) => {
      const queries = this.queries(layer, s)
      return (queries === 'all' ? Array.from({ length: rows }, (_, i) => i) : queries).map(r => start + r)
    })
    const [first = 0] = rows
    if (rows.every((r, i) => r === first + i)) return x.slice(first, first + rows.length)
    return gather(x.scope, x, rows)
  }

  /**
   * This device's own keys as blocks: projected for runs of sequences that have queries in this layer, kept in the
   * caches where there are some.
   */
  *local(
    layer: number,
    normed: Tensor,
    projection: Projection,
    caches?: readonly (KvCache | undefined)[],
  ): Generator<OwnBlock> {
    for (const [first, end] of this.#queriedRuns(layer)) {
      const { start } = this.placements[first] as Placement
      const last = this.placements[end - 1] as Placement
      const projected = projection.project(normed.slice(start, last.start + last.rows))
      for (let s = first; s < end; s++) {
        const place = this.placements[s] as Placement
        const fresh = keysAndValues(projected.slice(place.start - start, place.start - start + place.rows))
        const cache = caches?.[s]
        const all = cache ? cache.append(layer, fresh) : fresh
        const visible = this.visible(layer, s, all.k.rows - place.rows)
        yield { sequence: s, ...this.queryRange(layer, s), ...all, visible }
      }
    }
  }

  /** Runs [first, end) of neighbouring sequences that have queries in the layer. */
  *#queriedRuns(layer: number): Generator<readonly [number, number]> {
    const count = this.placements.length
    for (let first = 0; first < count; first++) {
      let end = first
      while (end < count && this.queryCount(layer, end) > 0) end++
      if (end > first) yield [first, end]
      first = end
    }
  }
}

export interface OwnBlock extends QueriedBlock {
  readonly sequence: number
}

/** The two halves of projected rows [m, 2·H·d]. */
export function keysAndValues(projected: Tensor): Projected {
  const half = projected.columns / 2
  return { k: projected.slab(0, half), v: projected.slab(half, 2 * half) }
}

/**
 * The context of one device that holds all rows: one block a sequence. With caches (one a sequence) it adds to them:
 * the same context then serves prefill and decoding, also after a prefill that was shared.
 */
export function alone(layout: Layout, meter: StageMarker, caches?: readonly (KvCache | undefined)[]): Context {
  return {
    wanted: (layer, x) => layout.wanted(layer, x),
    keys(layer, x, projection) {
      meter.enter(String(layer))
      const normed = projection.norm(x)
      return { normed, blocks: ownThenKept(layout, layer, normed, projection, caches) }
    },
  }
}

async function* ownThenKept(
  layout: Layout,
  layer: number,
  normed: Tensor,
  projection: Projection,
  caches: readonly (KvCache | undefined)[] | undefined,
): AsyncGenerator<QueriedBlock> {
  for (const block of layout.local(layer, normed, projection, caches)) {
    yield block
    for (const kept of caches?.[block.sequence]?.kept(layer) ?? []) yield { ...kept, from: block.from, to: block.to }
  }
}

/** The layout of whole sequences that lie one after another. */
export function wholeLayout(
  sequences: readonly { readonly rows: number; readonly wanted: readonly number[] }[],
  shape: { causal: boolean; layers: number },
): Layout {
  let start = 0
  const placements = sequences.map(({ rows, wanted }) => {
    const placement = { start, rows, wanted }
    start += rows
    return placement
  })
  return new Layout(placements, shape)
}

/** When this thread last let events through, and last asked whether to: short requests one after another are as one long one. */
const turns = { taken: 0, asked: 0 }
/** Milliseconds of computing after which events have their turn. */
const TURN_MS = 16

/** Lets waiting events through when this thread has computed for 16 ms, and stops where `signal` says so. */
export function turnTaker(signal?: AbortSignal): () => Promise<void> {
  const begun = performance.now()
  // Nothing computed meanwhile.
  if (begun - turns.asked >= TURN_MS) turns.taken = begun
  return async () => {
    signal?.throwIfAborted()
    turns.asked = performance.now()
    if (turns.asked - turns.taken < TURN_MS) return
    await nextTurn()
    turns.taken = turns.asked = performance.now()
    signal?.throwIfAborted()
  }
}

const { setImmediate } = globalThis as { setImmediate?: (callback: () => void) => unknown }

/** Resolves once events that wait have had their turn: at once where none does, while a timer takes a millisecond or four. */
const nextTurn = (): Promise<void> =>
  new Promise(resume => {
    if (setImmediate) setImmediate(resume)
    // workerd waits for timers, while a message between two ports that nobody else holds may be lost.
    else if (typeof MessageChannel === 'undefined' || isWorkerd()) setTimeout(resume, 0)
    else {
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = () => {
        port1.close()
        resume()
      }
      port2.postMessage(undefined)
    }
  })
