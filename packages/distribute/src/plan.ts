/**
 * Who holds which rows, and what each device sends of them: pure functions of a plan, so that every device derives the
 * same from the same numbers. A row's *place* is where it lies in the order in which the rows of its sequence are dealt.
 * Letters: P devices, N rows of a sequence, L segments.
 */
import { type StackShape, type Want, wantedRows } from '@prismal/models'
import type { Run } from '@prismal/tensor'
import { PlanError } from './errors.js'
import { checkSharing, eachLayer, type Point, type SharingOptions, type Strategy, type WireFormat } from './options.js'
import { withDefaults } from './recommended.js'
import { fillsGrid, type RowShape, rowOrder } from './row-order.js'
import { mergedRun, sentRuns, splitEven, splitWeighted } from './runs.js'

/** One sequence's part in a plan. */
export interface SequencePlan {
  /** N. */
  readonly rows: number
  /** Each device's partition, places [from, to) of the sequence; together they cover it once, in order. */
  readonly bounds: readonly Run[]
  /** For each layer, the runs that each device sends the means of, counted from its partition's start. A run of one row is exact. */
  readonly sent: readonly (readonly (readonly Run[])[])[]
  /** Places of the rows that are asked for, ascending. */
  readonly wanted: readonly number[]
  /** The row at each place; absent: every row is at its own. */
  readonly order?: readonly number[]
  /** Leading places that every device with later rows computes too. */
  readonly anchor: number
  /** For each device, how many of the last rows of the one with rows before it it computes too; absent: none. */
  readonly halo?: readonly number[]
  /** As `sent`, to the next device with rows: without those that it computes itself. Absent: as to all. */
  readonly sentNext?: SequencePlan['sent']
  /** For each device, the rows that are merged by likeness, counted from its partition's start; absent: `sent` says all. */
  readonly merged?: readonly Run[]
  /** As `merged`, for the next device with rows where that has a halo. */
  readonly mergedNext?: readonly Run[]
}

export interface Plan {
  readonly strategy: Strategy
  /** P. */
  readonly devices: number
  readonly layers: number
  readonly causal: boolean
  readonly point: Point
  readonly wire: WireFormat
  /** For each layer, α in α·ln c, by which the logits of a mean of c rows are raised. */
  readonly gains: readonly number[]
  readonly sequences: readonly SequencePlan[]
  readonly lost?: readonly [device: number, layer: number]
  /** Decoding follows, from the caches of the devices that hold the last rows. */
  readonly decodes: boolean
  readonly handoff: 'means' | 'full'
}

export interface PlanRequest {
  readonly shape: Pick<StackShape, 'layers' | 'causal'> & RowShape
  /** Rows of each sequence of the batch. */
  readonly rows: readonly number[]
  readonly want: Want
  readonly devices: number
  readonly decodes?: boolean
}

/** The plan of one request, with defaults for what the options leave open. Throws {@link PlanError} naming the option that cannot be. */
export function createPlan(
  { shape, rows, want, devices, decodes = false }: PlanRequest,
  asked: SharingOptions = {},
): Plan {
  checkSharing(devices, shape.layers, asked)
  if (asked.halo && !shape.causal)
    throw new PlanError(`plan: halo is ${asked.halo}, but the model is not causal: it takes 0`)
  const options = withDefaults(shape, devices, asked)
  const { strategy = 'means', wire = 'f32', gain = 1, lost, handoff = 'means' } = options
  const owners = strategy === 'whole' ? dealt(rows, options.weights ?? new Array<number>(devices).fill(1)) : []
  // Sequences of one length are dealt alike.
  const known = new Map<string, Dealt>()
  const dealtAs = (n: number, owner: number | undefined): Dealt => {
    const key = `${n} ${owner}`
    const found = known.get(key)
    if (found) return found
    const bounds = owner === undefined ? dealtRows(n, devices, options) : onOne(n, devices, owner)
    const order = asked.order ?? (fillsGrid(n, shape) ? options.order : undefined)
    const made = dealtSequence(n, bounds, shape, { ...options, strategy, order: order ?? 'raster' })
    known.set(key, made)
    return made
  }
  const sequences = rows.map((n, b): SequencePlan => {
    const found = dealtAs(n, owners[b])
    const wanted = wantedRows(want, b, n)
    return { ...found, wanted: found.order ? places(wanted, found.order) : wanted }
  })
  return {
    strategy,
    devices,
    layers: shape.layers,
    causal: shape.causal,
    point: options.point ?? (strategy === 'full' ? 'input' : 'normed'),
    wire,
    gains: eachLayer(gain, shape.layers),
    sequences,
    ...(lost && { lost }),
    decodes,
    handoff,
  }
}

/** A sequence's part in a plan, but for what is asked for. */
type Dealt = Omit<SequencePlan, 'wanted'>

function dealtSequence(
  rows: number,
  bounds: readonly Run[],
  shape: PlanRequest['shape'],
  options: SharingOptions,
): Dealt {
  const { strategy, order: asked = 'raster', sink = 0, tail = 0, turn = 1 } = options
  const holders = bounds.filter(([from, to]) => to > from)
  const anchor = strategy === 'means' && holders[0] ? Math.min(options.anchor ?? 0, holders[0][1]) : 0
  const ordering = { order: asked, bounds, head: Math.max(sink, anchor), tail, causal: shape.causal, turn }
  const order = rowOrder(rows, ordering, shape)
  const sent = sentInLayers(rows, bounds, anchor, shape, options)
  const halo = strategy === 'means' ? halos(bounds, anchor, options.halo ?? 0) : []
  const isMerged = strategy === 'means' && options.bounds === 'alike'
  const mergedIn = (of: readonly Run[]): Run[] => mergedRuns(rows, of, anchor, shape.causal, options)
  const forNext = halo.some(h => h > 0) ? without(bounds, halo) : undefined
  return {
    ...{ rows, bounds, sent, anchor },
    ...(isMerged && { merged: mergedIn(bounds) }),
    ...(forNext && { halo, sentNext: sentInLayers(rows, forNext, anchor, shape, options) }),
    ...(forNext && isMerged && { mergedNext: mergedIn(forNext) }),
    ...(order && holders.length > 1 && { order }),
  }
}

/** For each device, the rows that it computes of the partition before its own: those asked for, or as many as are sent of it. */
function halos(bounds: readonly Run[], anchor: number, asked: number): number[] {
  let before = 0
  return bounds.map(([from, to]) => {
    if (to === from) return 0
    const most = asked < 1 ? Math.floor(asked * (to - from)) : asked
    const halo = Math.min(most, before)
    before = to - Math.max(from, anchor)
    return halo
  })
}

/** Partitions without the rows that the next device with rows computes too. */
const without = (bounds: readonly Run[], halo: readonly number[]): Run[] =>
  bounds.map(([from, to], p) => {
    const next = bounds.findIndex(([a, b], q) => q > p && b > a)
    return [from, to > from ? to - (halo[next] ?? 0) : to] as const
  })

/** Partitions of a sequence that several devices share. */
function dealtRows(rows: number, devices: number, { weights, padTo = 0 }: SharingOptions): Run[] {
  const dealt = Math.max(rows, padTo)
  const runs = weights ? splitWeighted(dealt, weights) : splitEven(dealt, devices)
  return runs.map(([from, to]) => [Math.min(rows, from), Math.min(rows, to)] as const)
}

/** What each device sends, layer by layer; layers of as many segments share it. */
function sentInLayers(
  rows: number,
  bounds: readonly Run[],
  anchor: number,
  { layers, causal }: PlanRequest['shape'],
  options: SharingOptions,
): SequencePlan['sent'] {
  const { strategy, sink = 0, tail = 0, near = 0, padTo = 0, compressionRate = 1 } = options
  if (strategy === 'full')
    return eachSame(
      bounds.map(([from, to]) => splitEven(to - from, to - from)),
      layers,
    )
  if (strategy !== 'means')
    return eachSame(
      bounds.map(() => []),
      layers,
    )
  const even = Math.ceil(Math.max(rows, padTo) / bounds.length)
  const segments = options.rows ?? options.segments ?? Math.max(1, Math.round(even / compressionRate))
  const cutting = { rows, sink, tail, near, anchor, causal, bounds: options.bounds ?? 'uniform' }
  // Without means only exact rows are left.
  const exact = (run: Run): number =>
    options.rows === undefined ? 0 : sentRuns(run, { ...cutting, segments: 0 }).length
  const known = new Map<number, Run[][]>()
  return eachLayer(segments, layers).map(L => {
    const sent = known.get(L) ?? bounds.map(run => sentRuns(run, { ...cutting, segments: Math.max(0, L - exact(run)) }))
    known.set(L, sent)
    return sent
  })
}

/** Most rows of a partition that are merged by likeness: counts travel in 16 bits. */
const MOST_MERGED = 65_535

/** The rows that each device merges by likeness. */
function mergedRuns(
  rows: number,
  bounds: readonly Run[],
  anchor: number,
  causal: boolean,
  options: SharingOptions,
): Run[] {
  const { sink = 0, tail = 0, near = 0 } = options
  return bounds.map((run, device) => {
    const merged = mergedRun(run, { rows, segments: 0, sink, tail, near, anchor, causal })
    const count = merged[1] - merged[0]
    if (count > MOST_MERGED)
      throw new PlanError(
        `plan: bounds is "alike", but device ${device} would merge ${count} rows; it takes ${MOST_MERGED}`,
      )
    return merged
  })
}

const eachSame = <T>(value: T, layers: number): T[] => new Array<T>(layers).fill(value)

/** The places of rows, ascending. */
function places(rows: readonly number[], order: readonly number[]): number[] {
  const wanted = new Set(rows)
  return order.flatMap((row, place) => (wanted.has(row) ? [place] : []))
}

/** Whole sequences to devices: each to the one that has the least to do for its weight. */
function dealt(rows: readonly number[], weights: readonly number[]): number[] {
  const load = weights.map(() => 0)
  return rows.map(n => {
    const after = weights.map((w, p) => (w > 0 ? ((load[p] as number) + n) / w : Number.POSITIVE_INFINITY))
    const owner = after.indexOf(Math.min(...after))
    load[owner] = (load[owner] as number) + n
    return owner
  })
}

const onOne = (rows: number, devices: number, owner: number): Run[] =>
  Array.from({ length: devices }, (_, p) => [p > owner ? rows : 0, p < owner ? 0 : rows] as const)

/** Places asked for of a sequence on a device, counted from its partition's start. */
export function wantedHere(sequence: SequencePlan, device: number): number[] {
  const [from, to] = sequence.bounds[device] as Run
  return sequence.wanted.filter(r => r >= from && r < to).map(r => r - from)
}

/** How many leading rows of a sequence a device computes besides its own. */
export function anchorRows({ bounds, anchor }: SequencePlan, device: number): number {
  const [from, to] = bounds[device] as Run
  return to > from && from >= anchor ? anchor : 0
}

/** How many of a layer's query rows on a device see its own rows only, being earlier than all that is sent. */
export const anchorQueries = (
  { causal, layers }: Plan,
  layer: number,
  sequence: SequencePlan,
  device: number,
): number => (causal && layer < layers - 1 ? anchorRows(sequence, device) : 0)

/** How many rows of the partition before its own a device computes. */
export const haloRows = ({ halo }: SequencePlan, device: number): number => halo?.[device] ?? 0

/** How many rows of a sequence a device computes before its own: anchored ones, then those of its halo. */
export const extraRows = (sequence: SequencePlan, device: number): number =>
  anchorRows(sequence, device) + haloRows(sequence, device)

/** How many of the last rows of `from` the device `to` computes too. */
export function overlap(sequence: SequencePlan, from: number, to: number): number {
  const [first, end] = sequence.bounds[from] as Run
  const isNext = end > first && end === (sequence.bounds[to] as Run)[0]
  return isNext ? haloRows(sequence, to) : 0
}

/** The rows of a sequence that a device computes, anchored ones first, then its halo. */
export function rowsOf(sequence: SequencePlan, device: number): number[] {
  const [from, to] = sequence.bounds[device] as Run
  const anchors = anchorRows(sequence, device)
  const first = from - haloRows(sequence, device)
  const place = (i: number): number => (i < anchors ? i : first + i - anchors)
  return Array.from({ length: anchors + to - first }, (_, i) => sequence.order?.[place(i)] ?? place(i))
}

/** What a device sends another of a sequence in a layer: runs that are counted from its partition's start. */
export function sentBy(sequence: SequencePlan, layer: number, from: number, to: number): readonly Run[] {
  const { sent, sentNext = sent } = sequence
  return (overlap(sequence, from, to) > 0 ? sentNext : sent)[layer]?.[from] as readonly Run[]
}

/** The rows that a device merges by likeness for another, counted from its partition's start; undefined where `sentBy` says all. */
export function mergedBy(sequence: SequencePlan, from: number, to: number): Run | undefined {
  const { merged, mergedNext = merged } = sequence
  return (overlap(sequence, from, to) > 0 ? mergedNext : merged)?.[from]
}

/** The same for all who hear of the same rows of a sequence from a device. */
export const hearing = (plan: Plan, s: number, from: number, to: number): string =>
  `${s}-${overlap(plan.sequences[s] as SequencePlan, from, to)}`

/** Whether a device computes query rows of a sequence in a layer: the last one only computes what is asked for. */
export function hasQueries(plan: Plan, layer: number, sequence: SequencePlan, device: number): boolean {
  const [from, to] = sequence.bounds[device] as Run
  return to > from && (layer < plan.layers - 1 || wantedHere(sequence, device).length > 0)
}

/** Numbers of the sequences whose rows or means `from` sends `to` in a layer; a causal model only sends onwards. */
export function transfers(plan: Plan, layer: number, from: number, to: number): number[] {
  if (from === to || (plan.causal && to < from)) return []
  if (plan.lost && from === plan.lost[0] && layer >= plan.lost[1]) return []
  return plan.sequences.flatMap((sequence, s) =>
    sentBy(sequence, layer, from, to).length > 0 && hasQueries(plan, layer, sequence, to) ? [s] : [],
  )
}

/** The device that decodes a sequence: the last one that holds rows of it. */
export function decoderOf(sequence: SequencePlan): number {
  return sequence.bounds.findLastIndex(([from, to]) => to > from)
}

/** Numbers of the sequences whose exact rows `from` hands to `to` in every layer, for decoding there. */
export function handoffs(plan: Plan, from: number, to: number): number[] {
  if (!plan.decodes || plan.handoff !== 'full' || from === to) return []
  return plan.sequences.flatMap((sequence, s) => {
    const [a, b] = handedRun(sequence, from)
    return b > a && decoderOf(sequence) === to ? [s] : []
  })
}

/** The rows that a device hands over, counted from its partition's start: all but those that whoever decodes computes itself. */
export function handedRun(sequence: SequencePlan, device: number): Run {
  const [from, to] = sequence.bounds[device] as Run
  const end = to - overlap(sequence, device, decoderOf(sequence))
  return [Math.min(end, Math.max(from, sequence.anchor)) - from, end - from]
}
