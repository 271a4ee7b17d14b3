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
  type Metric,
  type Sampled,
} from 'prismal/evaluate'
import type { Role } from './experiments.js'
import { isInPoints, publishedCell, type Result, type RoleCell } from './results.js'

/** What a comparison must reach. */
export const METHOD_BAR = 0.5
export const SYSTEM_BYTES_BAR = 0.22
export const SYSTEM_LOSS_BAR = 0.2
/** Points that non-inferiority allows, where the published method loses too little for ratios. */
export const MARGIN = 0.3
const ERRORS = 5

/** One comparison: an experiment, a number of devices and of published rows. */
export interface Compared {
  readonly name: string
  readonly devices: number
  readonly rows: number
  readonly unit: Metric['unit']
  /** What isolation, the published method and ours lose, in the metric's unit. */
  readonly isolated: Interval
  readonly published: Interval
  readonly ours: Interval
  /** ours / published, where the published method loses more than 5 standard errors. */
  readonly ratio?: Interval
  /** Where it does not: whether ours is no worse than it by more than the margin. */
  readonly isNonInferior?: boolean
  /** System only: bytes at the published method's accuracy, of its bytes. */
  readonly bytes?: Interval
  /** Rows of the cell that stands for ours. */
  readonly ourRows: number
}

export interface Comparison {
  readonly compared: readonly Compared[]
  /** Geometric means over those with a ratio; absent where there is none. */
  readonly ratio?: Interval
  readonly bytes?: Interval
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
  readonly metric: Metric
  of(cell: RoleCell): Sampled
}

function lossesOf(result: Result): Losses[] {
  return result.experiment.devices.map(devices => {
    const one = result.cells.find(c => c.role.kind === 'one' && c.cuts === devices) ?? result.cells[0]
    return {
      ...{ result, devices, metric: result.metric },
      of: cell => loss((one as RoleCell).sampled, cell.sampled, result.metric),
    }
  })
}

const published = (losses: Losses, rows: number): RoleCell | undefined =>
  publishedCell(here(losses), losses.result.experiment, rows)
const here = ({ result, devices }: Losses): RoleCell[] => result.cells.filter(c => c.cell.devices === devices)

/** Whether isolation costs enough for the task to count. */
export function counts(losses: Losses): boolean {
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
  const { unit } = losses.metric
  const role = ours.role as { rows: number }
  return {
    compared: {
      ...{ name: losses.result.experiment.name, devices: losses.devices, rows, unit, ourRows: role.rows },
      ...{ isolated: interval(losses.of(isolated)), published: interval(b), ours: interval(a) },
      ...(ratio ? { ratio: interval(ratio) } : { isNonInferior: isNonInferior(worse, marginOf(losses)) }),
      ...(tells && more.bytes && { bytes: interval(more.bytes) }),
    },
    ...(ratio && { ratio }),
    ...(tells && more.bytes && { bytes: more.bytes }),
  }
}

/** 0.3 points; of bits per byte 0.3 % of one device's. */
function marginOf({ result, metric }: Losses): number {
  if (isInPoints(metric)) return MARGIN
  const one = result.cells.find(c => c.role.kind === 'one') as RoleCell
  return (MARGIN / 100) * one.sampled.value
}

function summed(kept: readonly Kept[]): Comparison {
  const ratios = kept.flatMap(k => (k.ratio ? [k.ratio] : []))
  const bytes = kept.flatMap(k => (k.bytes ? [k.bytes] : []))
  return {
    compared: kept.map(k => k.compared),
    ...(ratios.length > 0 && { ratio: interval(geometricMean(ratios)) }),
    ...(bytes.length > 0 && { bytes: interval(geometricMean(bytes, 0.001)) }),
  }
}

/** Compares at each number of published rows, wherever isolation costs enough. */
const compareAll = (results: readonly Result[], at: (losses: Losses, rows: number) => Kept | undefined): Comparison =>
  summed(
    results
      .flatMap(lossesOf)
      .filter(counts)
      .flatMap(losses => losses.result.experiment.rows.flatMap(rows => at(losses, rows) ?? [])),
  )

/** Ours with the published rows in f32 against the published method. */
export const methodComparison = (results: readonly Result[]): Comparison =>
  compareAll(results, (losses, rows) => {
    const ours = of(here(losses), 'method').find(({ role }) => role.rows === rows)
    return ours && compare(losses, rows, ours)
  })

/** Ours in its own wire, with the most rows whose bytes are no more than the published ones. */
export const systemComparison = (results: readonly Result[]): Comparison =>
  compareAll(results, (losses, rows) => {
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
