/** The context of a device that holds some rows of each sequence and hears of the others by segment means or rows. */
import {
  type Context,
  type KvCache,
  keysAndValues,
  Layout,
  type Placement,
  type Projection,
  type QueriedBlock,
  type StageMeter,
} from '@prismal/models'
import { type Run, segmentMeans, type Tensor } from '@prismal/tensor'
import { countBytes, countsOf, encodeCounts, meansOf, type Pieces, pieces } from './alike.js'
import { sentRows } from './layer-work.js'
import {
  anchorQueries,
  extraRows,
  handedRun,
  handoffs,
  hearing,
  type Plan,
  type SequencePlan,
  sentBy,
  transfers,
  wantedHere,
} from './plan.js'
import { dataBytes, decodeRows, encodeRows, joined } from './wire.js'

/** How a device reaches the others during one request. */
export interface Exchange {
  post(kind: 'rows' | 'handoff', to: number, layer: number, data: Uint8Array): void
  take(kind: 'rows' | 'handoff', layer: number, from: number): Promise<Uint8Array>
}

/** The rows of every sequence that a device computes, one sequence after another, anchored ones and its halo before its own. */
export function layoutOf(plan: Plan, device: number): Layout {
  let start = 0
  const placements = plan.sequences.map(sequence => {
    const [from, to] = sequence.bounds[device] as Run
    const extra = extraRows(sequence, device)
    const rows = extra + to - from
    const placement = { start, rows, wanted: wantedHere(sequence, device).map(r => extra + r) }
    start += rows
    return placement
  })
  return new Layout(placements, plan)
}

export interface SharedContextOptions {
  readonly plan: Plan
  /** Number of this device. */
  readonly self: number
  readonly meter: StageMeter
  readonly exchange: Exchange
  /** One a sequence, where this device will decode it. */
  readonly caches?: readonly (KvCache | undefined)[]
}

/**
 * Means leave as soon as the block input (or its norm) exists, before anything local is projected or folded. Blocks are
 * folded in a fixed order: the sequence's own rows, then the other partitions by number. So an answer's bits do not
 * depend on what arrives when.
 */
export function shared(options: SharedContextOptions): Context {
  const layout = layoutOf(options.plan, options.self)
  return {
    wanted: (layer, x) => layout.wanted(layer, x),
    keys(layer, x, projection) {
      options.meter.enter(String(layer))
      const normed = projection.norm(x)
      send(options, layout, layer, x, normed)
      return { normed, blocks: blocks(options, layout, layer, normed, projection) }
    },
  }
}

function send(
  { plan, self, meter, exchange }: SharedContextOptions,
  layout: Layout,
  layer: number,
  x: Tensor,
  normed: Tensor,
): void {
  const stage = meter.at(String(layer))
  const source = plan.point === 'input' ? x : normed
  // Rows are merged once for all who hear of the same ones.
  const merged = new Map<string, Pieces>()
  const piecesOf = (s: number, to: number): Pieces => {
    const sequence = plan.sequences[s] as SequencePlan
    const key = hearing(plan, s, self, to)
    const start = ownStart(layout, sequence, s, self)
    const known = merged.get(key) ?? pieces(sequence, layer, { from: self, to }, source, start)
    merged.set(key, known)
    return known
  }
  const made = (sequences: readonly number[], to: number): { means: Tensor; counts: number[] } => {
    if (!plan.sequences.some(sequence => sequence.merged))
      return {
        means: segmentMeans(
          source,
          sequences.flatMap(s => shifted(plan, layout, layer, s, self, to)),
        ),
        counts: [],
      }
    const all = sequences.map(s => piecesOf(s, to))
    return { means: meansOf(source, all), counts: all.flatMap(({ counts }) => counts) }
  }
  // Receivers mostly get the same rows of the same sequences, so the same bytes.
  const encoded = new Map<string, Uint8Array>()
  for (let to = 0; to < plan.devices; to++) {
    const sequences = transfers(plan, layer, self, to)
    if (sequences.length === 0) continue
    const key = sequences.map(s => hearing(plan, s, self, to)).join()
    let data = encoded.get(key)
    if (!data) {
      const { means, counts } = made(sequences, to)
      data = joined([encodeRows(means, plan.wire), encodeCounts(counts)])
      encoded.set(key, data)
      means.dispose()
    }
    stage.bytesSent += dataBytes(data)
    exchange.post('rows', to, layer, data)
  }
  for (let to = 0; to < plan.devices; to++) {
    const sequences = handoffs(plan, self, to)
    if (sequences.length === 0) continue
    const parts = sequences.map(s => {
      const sequence = plan.sequences[s] as SequencePlan
      const start = ownStart(layout, sequence, s, self)
      const [from, to] = handedRun(sequence, self)
      return encodeRows(normed.slice(start + from, start + to), 'f32')
    })
    const data = joined(parts)
    stage.bytesSent += dataBytes(data)
    exchange.post('handoff', to, layer, data)
  }
}

/** The first row in x of a device's partition of a sequence. */
const ownStart = (layout: Layout, sequence: SequencePlan, s: number, device: number): number =>
  (layout.placements[s] as Placement).start + extraRows(sequence, device)

/** The runs that `from` sends `to` of a sequence, as rows of its x. */
function shifted(plan: Plan, layout: Layout, layer: number, s: number, from: number, to: number): Run[] {
  const sequence = plan.sequences[s] as SequencePlan
  const start = ownStart(layout, sequence, s, from)
  return sentBy(sequence, layer, from, to).map(([a, b]) => [start + a, start + b] as const)
}

/** The query rows of a sequence that see what other devices send: in a causal model anchored rows come before all of that. */
function queriesOf(plan: Plan, layout: Layout, layer: number, s: number, device: number): { from: number; to: number } {
  const { from, to } = layout.queryRange(layer, s)
  return { from: from + anchorQueries(plan, layer, plan.sequences[s] as SequencePlan, device), to }
}

async function* blocks(
  options: SharedContextOptions,
  layout: Layout,
  layer: number,
  normed: Tensor,
  projection: Projection,
): AsyncGenerator<QueriedBlock> {
  const { plan, self, meter, exchange, caches } = options
  const { scope, columns: D } = normed
  const stage = meter.at(String(layer))
  const gain = plan.gains[layer] as number
  yield* layout.local(layer, normed, projection, caches)

  for (let from = 0; from < plan.devices; from++) {
    const sequences = transfers(plan, layer, from, self)
    if (sequences.length === 0) continue
    const data = await exchange.take('rows', layer, from)
    stage.bytesReceived += dataBytes(data)
    const end = data.length - countBytes(plan, layer, sequences, from, self)
    const rows = decodeRows(
      scope,
      data.subarray(0, Math.max(0, end)),
      sentRows(plan, layer, sequences, from, self),
      D,
      plan.wire,
    )
    const counted = countsOf(plan, layer, sequences, from, self, data.subarray(end))
    const projected = projection.project(plan.point === 'input' ? projection.norm(rows) : rows)
    let at = 0
    for (const [i, s] of sequences.entries()) {
      const counts = counted[i] as number[]
      const block = {
        ...keysAndValues(projected.slice(at, at + counts.length)),
        ...(gain > 0 && counts.some(c => c > 1) && { logGain: counts.map(c => gain * Math.log(c)) }),
      }
      at += counts.length
      if (plan.handoff === 'means') caches?.[s]?.keep(layer, block)
      yield { ...block, ...queriesOf(plan, layout, layer, s, self) }
    }
  }

  for (let from = 0; from < plan.devices; from++) {
    const sequences = handoffs(plan, from, self)
    if (sequences.length === 0) continue
    const counts = sequences.map(s => {
      const [a, b] = handedRun(plan.sequences[s] as SequencePlan, from)
      return b - a
    })
    const data = await exchange.take('handoff', layer, from)
    stage.bytesReceived += dataBytes(data)
    const total = counts.reduce((a, b) => a + b, 0)
    const projected = projection.project(decodeRows(scope, data, total, D, 'f32'))
    let at = 0
    for (const [i, s] of sequences.entries()) {
      caches?.[s]?.keep(layer, keysAndValues(projected.slice(at, at + (counts[i] as number))))
      at += counts[i] as number
    }
  }
}
