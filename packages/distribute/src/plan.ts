/**
 * Who holds which rows, and what each device sends of them: pure functions of a plan, so that every device derives the
 * same from the same numbers. Letters: P devices, N rows of a sequence, L segments.
 */
import { type StackShape, type Want, wantedRows } from '@prismal/models'
import type { Run } from '@prismal/tensor'
import { PlanError } from './errors.js'

/**
 * `whole` deals whole sequences out and exchanges nothing; `full` sends every row to everyone (exact: Voltage); `means`
 * sends segment means (PRISM); `isolated` sends nothing: the baseline that shows what exchange is worth.
 */
export type Strategy = 'whole' | 'full' | 'means' | 'isolated'
/** Where means are taken: of the normed rows, or of the block input, which the receiver norms. */
export type Point = 'normed' | 'input'
export type WireFormat = 'f32' | 'f16' | 'int8' | 'int4'

export const STRATEGIES: readonly Strategy[] = ['whole', 'full', 'means', 'isolated']
export const POINTS: readonly Point[] = ['normed', 'input']
export const WIRE_FORMATS: readonly WireFormat[] = ['f32', 'f16', 'int8', 'int4']

export interface SharingOptions {
  /** Default `means`. */
  readonly strategy?: Strategy
  /** L, segments a device makes of its rows of a sequence, ≥ 1. Default: by `compressionRate`. */
  readonly segments?: number
  /** ⌈N/P⌉ / L where `segments` is not given; default 10. */
  readonly compressionRate?: number
  /** Leading rows of each sequence that are sent exactly, besides the means; default 1. */
  readonly sink?: number
  /** Default `normed` for means, `input` for `full`. */
  readonly point?: Point
  /** How rows travel: 4, 2, 1 or (int4, by groups of 64 columns) 0.53 bytes a value; default `f32`. */
  readonly wire?: WireFormat
  /** Shares of the rows, one a device, e.g. their speeds; default: even. */
  readonly weights?: readonly number[]
  /** Nothing arrives from this device from this layer on: what a missed deadline will look like. */
  readonly lost?: readonly [device: number, layer: number]
  /** What decoding attends to of earlier partitions: their means (default), or `full`: their exact rows, sent at prefill. */
  readonly handoff?: 'means' | 'full'
}

/** One sequence's part in a plan. */
export interface SequencePlan {
  /** N. */
  readonly rows: number
  /** Each device's partition, rows [from, to) of the sequence; together they cover it once, in order. */
  readonly bounds: readonly Run[]
  /** The runs that each device sends the means of, counted from its partition's start. A run of one row is exact. */
  readonly sent: readonly (readonly Run[])[]
  /** Rows of the sequence that are asked for, ascending. */
  readonly wanted: readonly number[]
}

export interface Plan {
  readonly strategy: Strategy
  /** P. */
  readonly devices: number
  readonly layers: number
  readonly causal: boolean
  readonly point: Point
  readonly wire: WireFormat
  readonly sequences: readonly SequencePlan[]
  readonly lost?: readonly [device: number, layer: number]
  /** Decoding follows, from the caches of the devices that hold the last rows. */
  readonly decodes: boolean
  readonly handoff: 'means' | 'full'
}

/** N rows in P consecutive runs whose sizes differ by at most one, longer ones first. */
export function splitEven(rows: number, parts: number): Run[] {
  const size = Math.floor(rows / parts)
  const longer = rows % parts
  return Array.from({ length: parts }, (_, i) => {
    const from = i * size + Math.min(i, longer)
    return [from, from + size + (i < longer ? 1 : 0)] as const
  })
}

/** N rows in proportion to weights: cumulative shares rounded half up. */
export function splitWeighted(rows: number, weights: readonly number[]): Run[] {
  const total = weights.reduce((a, b) => a + b, 0)
  let sum = 0
  let from = 0
  return weights.map((weight, i) => {
    sum += weight
    // The last share is the whole: its rounding must not depend on how the sum was rounded.
    const to = i === weights.length - 1 ? rows : Math.min(rows, Math.floor((rows * sum) / total + 0.5))
    const run = [from, to] as const
    from = to
    return run
  })
}

/** The runs that the device with rows [from, to) sends: sink rows one by one, then L segments of the others. */
export function sentRuns([from, to]: Run, sink: number, segments: number): Run[] {
  const exact = from < sink ? Math.min(sink, to) - from : 0
  const others = to - from - exact
  const runs: Run[] = Array.from({ length: exact }, (_, i) => [i, i + 1] as const)
  if (others === 0 || segments === 0) return runs
  const cuts = splitEven(others, Math.min(segments, others))
  return [...runs, ...cuts.map(([a, b]) => [exact + a, exact + b] as const)]
}

export interface PlanRequest {
  readonly shape: Pick<StackShape, 'layers' | 'causal'>
  /** Rows of each sequence of the batch. */
  readonly rows: readonly number[]
  readonly want: Want
  readonly devices: number
  readonly decodes?: boolean
}

/** The plan of one request. Throws {@link PlanError} naming the option that cannot be. */
export function createPlan(
  { shape, rows, want, devices, decodes = false }: PlanRequest,
  options: SharingOptions = {},
): Plan {
  const { strategy = 'means', wire = 'f32', lost, handoff = 'means' } = options
  const point = options.point ?? (strategy === 'full' ? 'input' : 'normed')
  checkOptions(devices, { ...options, strategy, point, wire })
  const split = (n: number): Run[] => (options.weights ? splitWeighted(n, options.weights) : splitEven(n, devices))
  const owners = strategy === 'whole' ? dealt(rows, options.weights ?? new Array<number>(devices).fill(1)) : []
  const sequences = rows.map((n, b): SequencePlan => {
    const bounds = strategy === 'whole' ? onOne(n, devices, owners[b] as number) : split(n)
    const sent = bounds.map(run => runsOf(run, n, devices, strategy, options))
    return { rows: n, bounds, sent, wanted: wantedRows(want, b, n) }
  })
  return {
    strategy,
    devices,
    layers: shape.layers,
    causal: shape.causal,
    point,
    wire,
    sequences,
    ...(lost && { lost }),
    decodes,
    handoff,
  }
}

function runsOf(run: Run, rows: number, devices: number, strategy: Strategy, options: SharingOptions): Run[] {
  const count = run[1] - run[0]
  if (strategy === 'full') return Array.from({ length: count }, (_, i) => [i, i + 1] as const)
  if (strategy !== 'means') return []
  const { compressionRate = 10, sink = 1 } = options
  const segments = options.segments ?? Math.max(1, Math.round(Math.ceil(rows / devices) / compressionRate))
  return sentRuns(run, sink, segments)
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

/** Larger than any speed in operations a second, and its multiples by rows stay finite. */
const MOST_WEIGHT = 1e100

function checkOptions(devices: number, options: SharingOptions): void {
  const { segments, compressionRate, sink, weights, lost } = options
  const whole = (n: unknown, least: number): boolean => Number.isSafeInteger(n) && (n as number) >= least
  const named = (name: string, value: unknown, known: readonly string[]): [boolean, string] => [
    known.includes(value as string),
    `${name} is ${JSON.stringify(value)}, not one of ${known.join(', ')}`,
  ]
  const rules: [boolean, string][] = [
    [whole(devices, 1), `devices is ${devices}, not a whole number ≥ 1`],
    named('strategy', options.strategy, STRATEGIES),
    named('point', options.point, POINTS),
    named('wire', options.wire, WIRE_FORMATS),
    named('handoff', options.handoff ?? 'means', ['means', 'full']),
    [segments === undefined || whole(segments, 1), `segments is ${segments}, not a whole number ≥ 1`],
    [
      compressionRate === undefined || (Number.isFinite(compressionRate) && compressionRate >= 1),
      `compressionRate is ${compressionRate}, not a number ≥ 1`,
    ],
    [sink === undefined || whole(sink, 0), `sink is ${sink}, not a whole number ≥ 0`],
    [
      weights === undefined || weights.length === devices,
      `${weights?.length} weights were given for ${devices} devices`,
    ],
    [
      weights === undefined || (weights.every(w => w >= 0 && w <= MOST_WEIGHT) && weights.some(w => w > 0)),
      `weights are [${weights}]; they are numbers from 0 to ${MOST_WEIGHT}, not all 0`,
    ],
    [
      lost === undefined || (whole(lost[0], 0) && lost[0] < devices && whole(lost[1], 0)),
      `lost is ${JSON.stringify(lost)}, not [device, layer]`,
    ],
  ]
  for (const [holds, message] of rules) if (!holds) throw new PlanError(`plan: ${message}`)
}

/** Wanted rows of a sequence on a device, counted from its partition's start. */
export function wantedHere(sequence: SequencePlan, device: number): number[] {
  const [from, to] = sequence.bounds[device] as Run
  return sequence.wanted.filter(r => r >= from && r < to).map(r => r - from)
}

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
    (sequence.sent[from] as readonly Run[]).length > 0 && hasQueries(plan, layer, sequence, to) ? [s] : [],
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
    const [a, b] = sequence.bounds[from] as Run
    return b > a && decoderOf(sequence) === to ? [s] : []
  })
}
