/**
 * The operations and messages of one device in one layer, in the order in which they happen: its own rows first, then
 * what it hears, then what comes after attention. `cost()` adds them up; a prediction plays them through.
 *
 * Letters: D width, A = H·d attention width, F inner width.
 */
import type { StackShape } from '@prismal/models'
import type { Run } from '@prismal/tensor'
import { alikeFlops, countBytes } from './alike.js'
import {
  anchorQueries,
  extraRows,
  handedRun,
  handoffs,
  hasQueries,
  hearing,
  type Plan,
  type SequencePlan,
  sentBy,
  transfers,
  wantedHere,
} from './plan.js'
import { dataBytes, rowBytes } from './wire.js'

/** What travels between two devices in a layer. */
export interface Message {
  /** The other device. */
  readonly device: number
  /** Frame included. */
  readonly bytes: number
}
/** What is heard, and the operations that it takes: its keys and values, and the attention of the device's rows to them. */
export interface Heard extends Message {
  readonly flops: number
}

export interface LayerWork {
  /** Query rows: those that go on to the next layer, or that are asked for. */
  readonly queries: number
  /** Operations that need nothing of the others: queries, the own keys and values, attention to the own rows. */
  readonly own: number
  /** In the order in which they are folded. */
  readonly heard: readonly Heard[]
  /** Operations behind attention: its output and the feed-forward part. */
  readonly after: number
  /** In the order in which they leave. */
  readonly sent: readonly Message[]
}

/** Device p's work in a layer. */
export function layerWork(plan: Plan, shape: StackShape, p: number, layer: number): LayerWork {
  const { width: D, inner: F } = shape
  const A = shape.heads * shape.headWidth
  let queries = 0
  let keys = 0
  let pairs = 0
  const asked = plan.sequences.map(sequence => {
    if (!hasQueries(plan, layer, sequence, p)) return 0
    const rows = rowsHere(sequence, p)
    const extra = extraRows(sequence, p)
    const wanted = layer < plan.layers - 1 ? undefined : wantedHere(sequence, p)
    const count = wanted?.length ?? rows
    queries += count
    keys += rows
    if (!plan.causal) pairs += count * rows
    else pairs += wanted ? wanted.reduce((sum, r) => sum + extra + r + 1, 0) : (rows * (rows + 1)) / 2
    return count
  })
  const seeing = (s: number): number =>
    (asked[s] as number) - anchorQueries(plan, layer, plan.sequences[s] as SequencePlan, p)
  const devices = Array.from({ length: plan.devices }, (_, other) => other)
  const heard = devices.flatMap((from): Heard[] => {
    const sequences = transfers(plan, layer, from, p)
    if (sequences.length === 0) return []
    const rows = sentRows(plan, layer, sequences, from, p)
    const seen = sequences.reduce((sum, s) => sum + seeing(s) * sentRows(plan, layer, [s], from, p), 0)
    return [
      {
        device: from,
        bytes: dataBytes(exchangedBytes(plan, layer, sequences, from, p, D)),
        flops: 4 * rows * D * A + 4 * seen * A,
      },
    ]
  })
  const handed = devices.flatMap((from): Heard[] => {
    const sequences = handoffs(plan, from, p)
    if (sequences.length === 0) return []
    const rows = handedRows(plan, sequences, from)
    return [{ device: from, bytes: dataBytes(rows * D * 4), flops: 4 * rows * D * A }]
  })
  const sentMeans = devices.flatMap((to): Message[] => {
    const sequences = transfers(plan, layer, p, to)
    const bytes = (): number => dataBytes(exchangedBytes(plan, layer, sequences, p, to, D))
    return sequences.length > 0 ? [{ device: to, bytes: bytes() }] : []
  })
  const sentHandoffs = devices.flatMap((to): Message[] => {
    const sequences = handoffs(plan, p, to)
    return sequences.length > 0 ? [{ device: to, bytes: dataBytes(handedRows(plan, sequences, p) * D * 4) }] : []
  })
  // Those that hear of the same rows get the same groups.
  const told = new Map(
    devices.flatMap(to => transfers(plan, layer, p, to).map(s => [hearing(plan, s, p, to), { s, to }] as const)),
  )
  const merging = [...told.values()].reduce(
    (sum, { s, to }) => sum + alikeFlops(plan.sequences[s] as SequencePlan, layer, p, to, D),
    0,
  )
  return {
    queries,
    own: merging + 2 * queries * D * A + 4 * keys * D * A + 4 * pairs * A,
    heard: [...heard, ...handed],
    after: 2 * queries * D * A + 4 * queries * D * F,
    sent: [...sentMeans, ...sentHandoffs],
  }
}

/** Rows of a sequence that device p computes. */
export const rowsHere = (sequence: SequencePlan, p: number): number => {
  const [from, to] = sequence.bounds[p] as Run
  return extraRows(sequence, p) + to - from
}

/** How many rows or means `from` sends `to` of these sequences in a layer. */
export const sentRows = (plan: Plan, layer: number, sequences: readonly number[], from: number, to: number): number =>
  sequences.reduce((sum, s) => sum + sentBy(plan.sequences[s] as SequencePlan, layer, from, to).length, 0)

/** Bytes of what `from` sends `to` of these sequences in a layer: rows or means, and the counts of those that are of like rows. */
export const exchangedBytes = (
  plan: Plan,
  layer: number,
  sequences: readonly number[],
  from: number,
  to: number,
  width: number,
): number =>
  rowBytes(sentRows(plan, layer, sequences, from, to), width, plan.wire) + countBytes(plan, layer, sequences, from, to)

/** How many exact rows `from` hands over of these sequences. */
export const handedRows = (plan: Plan, sequences: readonly number[], from: number): number =>
  sequences.reduce((sum, s) => {
    const [a, b] = handedRun(plan.sequences[s] as SequencePlan, from)
    return sum + b - a
  }, 0)
