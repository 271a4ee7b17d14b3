/**
 * Whether one way of sharing is better than the published one, as a claim that is held to its one-sided bounds: at the same bytes, at
 * equal loss, and not worse where there is hardly anything to lose.
 */
import { type BootstrapOptions, type Interval, interval, type Resampled, type Sampled, sample } from './bootstrap.js'
import type { CellCost, Metric } from './cell.js'
import { bytesAtLoss, bytesRatio, geometricMean, isBeyond, loss, lossRatio } from './compare.js'
import { EvaluationError } from './errors.js'

/** A cell, as far as a comparison needs it. */
export interface Compared extends Resampled {
  readonly cost: Pick<CellCost, 'bytesReceived'>
}

/** One device, the published method and ours, on the same data. */
export interface Trio {
  /** As reports name it: `STS-B, P=2, L=3`. */
  readonly name: string
  readonly metric: Metric
  readonly one: Compared
  readonly published: Compared
  readonly ours: Compared
  /** Nothing exchanged, where it was run: the trio counts only where that costs more than 5 standard errors. */
  readonly isolated?: Compared
}

export interface BarOptions extends BootstrapOptions {
  /** Default 0.95. */
  readonly confidence?: number
  /**
   * What may be lost where the published method loses too little to compare with, in points; of metrics that are no percentage that
   * many percent of one device's figure. Default 0.3.
   */
  readonly margin?: number
}

/** A figure, and whether its upper bound keeps to what is claimed. */
export interface Bar {
  readonly name: string
  readonly figure: Interval
  readonly most: number
  readonly holds: boolean
}

/** How a method does over several trios. */
export interface MethodBar {
  /** Our losses over the published ones, geometric mean over the trios where the published method loses beyond 5 standard errors. */
  readonly ratio: Bar | undefined
  readonly ratios: readonly { readonly name: string; readonly ratio: Interval }[]
  /** The others: what ours loses. */
  readonly elsewhere: readonly Bar[]
  /** Names of those where isolation costs nothing, which show nothing. */
  readonly left: readonly string[]
}

interface Losses {
  readonly trio: Trio
  readonly one: Sampled
  readonly published: Sampled
  readonly ours: Sampled
}

const bar = (name: string, figure: Interval, most: number): Bar => ({
  ...{ name, figure, most },
  holds: figure.upper <= most,
})

/** Whether our losses are at most `most` (default 0.5) of the published ones. Throws {@link EvaluationError} for cells that cannot be paired. */
export function methodBar(trios: readonly Trio[], most = 0.5, options: BarOptions = {}): MethodBar {
  const { confidence = 0.95, margin = 0.3 } = options
  const left: string[] = []
  const counted: (Losses & { ratio: Sampled })[] = []
  const elsewhere: Bar[] = []
  for (const trio of trios) {
    const { name, metric } = trio
    const losses = lossesOf(trio, options)
    if (losses === undefined) left.push(name)
    else if (isBeyond(losses.published)) counted.push({ ...losses, ratio: lossRatio(losses.ours, losses.published) })
    else elsewhere.push(bar(name, interval(losses.ours, confidence), marginOf(metric, losses.one, margin)))
  }
  return {
    ratio:
      counted.length === 0
        ? undefined
        : bar('geometric mean', interval(geometricMean(counted.map(c => c.ratio)), confidence), most),
    ratios: counted.map(({ trio, ratio }) => ({ name: trio.name, ratio: interval(ratio, confidence) })),
    elsewhere,
    left,
  }
}

/** Undefined where isolation costs no more than 5 standard errors. */
function lossesOf(trio: Trio, options: BootstrapOptions): Losses | undefined {
  const { metric, isolated } = trio
  const cells = [trio.one, trio.published, trio.ours, ...(isolated ? [isolated] : [])]
  const [one, published, ours, alone] = sample(cells, metric, options) as [Sampled, Sampled, Sampled, Sampled?]
  if (alone && !isBeyond(loss(one, alone, metric))) return undefined
  return { trio, one, published: loss(one, published, metric), ours: loss(one, ours, metric) }
}

const marginOf = ({ unit }: Metric, one: Sampled, margin: number): number =>
  unit === '%' || unit === 'points' ? margin : (margin / 100) * one.value

/** How a system does against one published cell. */
export interface SystemBar {
  /** Our bytes over the published ones, at the published loss. */
  readonly bytes: Bar
  /** Our loss over the published one, of the cell of ours with most bytes that are no more than the published ones. */
  readonly loss: Bar | undefined
}

/**
 * Whether our grid (any wire, any number of rows) gets to the published loss with at most `mostBytes` (default 0.22) of its bytes, and at
 * its bytes loses at most `mostLoss` (default 0.2) of what it loses. Meant for where the published method loses beyond 5 standard errors;
 * undefined elsewhere.
 */
export function systemBar(
  { metric, one, published }: Pick<Trio, 'metric' | 'one' | 'published'>,
  grid: readonly Compared[],
  options: BarOptions & { readonly mostBytes?: number; readonly mostLoss?: number } = {},
): SystemBar | undefined {
  if (grid.length === 0) throw new EvaluationError('a system was to be compared that has no cells')
  const { confidence = 0.95, mostBytes = 0.22, mostLoss = 0.2 } = options
  const [alone, theirs, ...ours] = sample([one, published, ...grid], metric, options) as [
    Sampled,
    Sampled,
    ...Sampled[],
  ]
  const target = loss(alone, theirs, metric)
  if (!isBeyond(target)) return undefined
  const points = grid.map((cell, i) => ({
    bytes: cell.cost.bytesReceived,
    loss: loss(alone, ours[i] as Sampled, metric),
  }))
  const most = published.cost.bytesReceived
  const theirBytes = { value: most, replicates: new Float64Array(target.replicates.length).fill(most) }
  const [best] = points.filter(p => p.bytes <= most).sort((a, b) => b.bytes - a.bytes)
  return {
    bytes: bar('bytes', interval(bytesRatio(bytesAtLoss(points, target), theirBytes), confidence), mostBytes),
    loss: best && bar('loss', interval(lossRatio(best.loss, target), confidence), mostLoss),
  }
}
