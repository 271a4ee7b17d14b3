/**
 * The two comparisons with the published method, never mixed. *Method*: the same rows in the same wire, so only where rows are spent
 * differs. *System*: any wire, at equal accuracy or at equal bytes. Bounds are one-sided 95 % ones of a paired bootstrap.
 */
import {
  bytesAtLoss,
  bytesRatio,
  combined,
  geometricMean,
  type Interval,
  interval,
  isBeyond,
  isNonInferior,
  loss,
  lossRatio,
  type Sampled,
} from 'prismal/evaluate'
import { isPublished, type Role } from './experiments.js'
import { isInPoints, type Result, type RoleCell } from './results.js'

/** What a comparison must reach. */
export const METHOD_BAR = 0.5
export const SYSTEM_BYTES_BAR = 0.22
export const SYSTEM_LOSS_BAR = 0.2
/** Points that non-inferiority allows, where the published method loses too little for ratios. */
export const MARGIN = 0.3
const ERRORS = 5

/** A ratio with its bounds. */
export type Ratio = Pick<Interval, 'value' | 'lower' | 'upper'>

/** One comparison: a number of devices and of published rows. */
export interface Compared {
  readonly devices: number
  readonly rows: number
  /** What isolation, the published method and ours lose, in the metric's unit. */
  readonly isolated: number
  readonly published: number
  readonly ours: number
  /** ours / published, where the published method loses more than 5 standard errors. */
  readonly ratio?: Ratio
  /** Where it does not: whether ours is no worse than it by more than the margin. */
  readonly isNonInferior?: boolean
  /** System only: bytes at the published method's accuracy, of its bytes. */
  readonly bytes?: Ratio
  /** Rows of the cell that stands for ours. */
  readonly ourRows: number
}

/** The sum of so many ratios' logarithms, and its standard error: those of one experiment vary together. */
export interface LogSum {
  readonly count: number
  readonly sum: number
  readonly error: number
}

/** One experiment's comparisons. */
export interface Comparison {
  readonly compared: readonly Compared[]
  /** Of those with a ratio; absent where there is none. */
  readonly ratio?: LogSum
  readonly bytes?: LogSum
}

const of = <K extends Role['kind']>(
  cells: readonly RoleCell[],
  kind: K,
): (RoleCell & { role: Extract<Role, { kind: K }> })[] =>
  cells.filter((c): c is RoleCell & { role: Extract<Role, { kind: K }> } => c.role.kind === kind)

/** Losses of a result's cells of P devices against one. */
interface Losses {
  readonly result: Result
  readonly devices: number
  of(cell: RoleCell): Sampled
}

function lossesOf(result: Result): Losses[] {
  return result.experiment.devices.map(devices => {
    const one = result.cells.find(c => c.role.kind === 'one' && c.cuts === devices) ?? result.cells[0]
    return { result, devices, of: cell => loss((one as RoleCell).sampled, cell.sampled, result.metric) }
  })
}

const here = ({ result, devices }: Losses): RoleCell[] => result.cells.filter(c => c.cell.devices === devices)
const published = (losses: Losses, rows: number): RoleCell | undefined =>
  here(losses).find(({ role }) => isPublished(role, losses.result.experiment, rows))

/** Whether isolation costs enough for the task to count. */
function counts(losses: Losses): boolean {
  const [isolated] = of(here(losses), 'isolated')
  return isolated !== undefined && !losses.result.experiment.isVariation && isBeyond(losses.of(isolated), ERRORS)
}

interface Kept {
  readonly compared: Compared
  readonly ratio?: Sampled
  readonly bytes?: Sampled
}

function compare(losses: Losses, rows: number, ours: RoleCell, more: { bytes?: Sampled } = {}): Kept | undefined {
  const theirs = published(losses, rows)
  const [isolated] = of(here(losses), 'isolated')
  if (!theirs || !isolated) return undefined
  const [a, b] = [losses.of(ours), losses.of(theirs)]
  const worse = combined([a, b], ([ours, theirs]) => (ours as number) - (theirs as number))
  const tells = isBeyond(b, ERRORS)
  const ratio = tells ? lossRatio(a, b) : undefined
  const role = ours.role as { rows: number }
  return {
    compared: {
      ...{ devices: losses.devices, rows, ourRows: role.rows },
      ...{ isolated: losses.of(isolated).value, published: b.value, ours: a.value },
      ...(ratio ? { ratio: bounds(ratio) } : { isNonInferior: isNonInferior(worse, marginOf(losses.result)) }),
      ...(tells && more.bytes && { bytes: bounds(more.bytes) }),
    },
    ...(ratio && { ratio }),
    ...(tells && more.bytes && { bytes: more.bytes }),
  }
}

const bounds = (sampled: Sampled): Ratio => {
  const { value, lower, upper } = interval(sampled)
  return { value, lower, upper }
}

/** 0.3 points; of bits per byte 0.3 % of one device's. */
function marginOf({ metric, cells }: Result): number {
  if (isInPoints(metric)) return MARGIN
  const one = cells.find(c => c.role.kind === 'one') as RoleCell
  return (MARGIN / 100) * one.sampled.value
}

/** Compares at each number of published rows, wherever isolation costs enough. */
function compareAll(result: Result, at: (losses: Losses, rows: number) => Kept | undefined): Comparison {
  const kept = lossesOf(result)
    .filter(counts)
    .flatMap(losses => result.experiment.rows.flatMap(rows => at(losses, rows) ?? []))
  const ratios = kept.flatMap(k => (k.ratio ? [k.ratio] : []))
  const bytes = kept.flatMap(k => (k.bytes ? [k.bytes] : []))
  return {
    compared: kept.map(k => k.compared),
    ...(ratios.length > 0 && { ratio: logSum(ratios) }),
    ...(bytes.length > 0 && { bytes: logSum(bytes, LEAST_BYTES) }),
  }
}

/** Ours with the published rows in f32 against the published method. */
export const methodComparison = (result: Result): Comparison =>
  compareAll(result, (losses, rows) => {
    const ours = of(here(losses), 'method').find(({ role }) => role.rows === rows)
    return ours && compare(losses, rows, ours)
  })

/** Ours in its own wire, with the most rows whose bytes are no more than the published ones. */
export const systemComparison = (result: Result): Comparison =>
  compareAll(result, (losses, rows) => {
    const theirs = published(losses, rows)
    const grid = of(here(losses), 'system')
    if (!theirs || grid.length === 0) return undefined
    const bytesOf = ({ cell }: RoleCell): number => cell.cost.bytesReceived
    const [ours] = grid.filter(c => bytesOf(c) <= bytesOf(theirs)).toSorted((a, b) => bytesOf(b) - bytesOf(a))
    const points = grid.map(c => ({ bytes: bytesOf(c), loss: losses.of(c) }))
    const at = bytesAtLoss(points, losses.of(theirs))
    const theirBytes = combined([at], () => bytesOf(theirs))
    return ours && compare(losses, rows, ours, { bytes: bytesRatio(at, theirBytes) })
  })

/** Bytes may be far fewer before one lucky cell makes a mean. */
const LEAST_BYTES = 0.001
/** Resamples without a finite ratio may be this share of all: a one-sided 95 % bound is beyond them otherwise. */
const INFINITE = 0.05

function logSum(ratios: readonly Sampled[], least?: number): LogSum {
  const { length: count } = ratios
  const sum = combined([geometricMean(ratios, least)], ([mean]) => count * Math.log(mean as number))
  const infinite = sum.replicates.filter(v => !Number.isFinite(v)).length
  const error = infinite > INFINITE * sum.replicates.length ? Number.POSITIVE_INFINITY : interval(sum).standardError
  return { count, sum: sum.value, error }
}

/** Of a normal distribution: one-sided 95 %. */
const Z_95 = 1.6449

/**
 * The geometric mean of several experiments' ratios; undefined where they have none. Experiments are resampled independently, so their
 * logarithms' variances add, and the sum of dozens of logarithms is taken for normal.
 */
export function meanRatio(sums: readonly (LogSum | undefined)[]): Ratio | undefined {
  const there = sums.filter(s => s !== undefined)
  const count = there.reduce((n, s) => n + s.count, 0)
  if (count === 0) return undefined
  const mean = there.reduce((sum, s) => sum + s.sum, 0) / count
  const error = Math.hypot(...there.map(s => s.error)) / count
  return { value: Math.exp(mean), lower: Math.exp(mean - Z_95 * error), upper: Math.exp(mean + Z_95 * error) }
}
