/** What methods lose, beside one device and beside each other: figures with their resamples (bootstrap.ts). */
import { combined, interval, quantile, type Sampled, standardError } from './bootstrap.js'
import type { Metric } from './cell.js'
import { EvaluationError } from './errors.js'

/** What a method loses against one device, in the metric's unit: positive where it is worse. */
export function loss(one: Sampled, method: Sampled, { better }: Pick<Metric, 'better'>): Sampled {
  return combined([one, method], ([a, b]) => {
    const gain = (b as number) - (a as number)
    // Not −0, which prints as such.
    return better === 'higher' ? 0 - gain : gain
  })
}

/**
 * ours / published, of losses. Where the published method loses nothing, in the data or in a resample, no share of it can be claimed: the
 * ratio is infinite. It is meant for losses of several standard errors, where that does not happen.
 */
export function lossRatio(ours: Sampled, published: Sampled): Sampled {
  return combined([ours, published], ([a, b]) => ((b as number) > 0 ? (a as number) / (b as number) : Infinity))
}

/** Below this share of the published loss a method's loss counts as this much: one lucky cell must not make a mean. */
const LEAST_RATIO = 0.05

/** The geometric mean of ratios of losses. A ratio below `least` (default 0.05), a gain too, counts as `least`. */
export function geometricMean(ratios: readonly Sampled[], least = LEAST_RATIO): Sampled {
  if (ratios.length === 0) throw new EvaluationError('a mean of no ratios was asked for')
  return combined(ratios, values => {
    const logs = values.reduce((sum, v) => sum + Math.log(Math.max(v, least)), 0)
    return Math.exp(logs / values.length)
  })
}

/** The share that a method recovers of what isolation costs: (method − isolated) / (one − isolated). NaN where isolation costs nothing. */
export function shareRecovered(one: Sampled, isolated: Sampled, method: Sampled): Sampled {
  return combined([one, isolated, method], ([a, b, m]) => {
    const whole = (a as number) - (b as number)
    return whole === 0 ? Number.NaN : ((m as number) - (b as number)) / whole
  })
}

/** Whether a loss is larger than so many standard errors (default 5). */
export const isBeyond = (loss: Sampled, errors = 5): boolean => loss.value > errors * standardError(loss.replicates)

/** Whether a loss is below `margin`, by its one-sided upper bound. */
export const isNonInferior = (loss: Sampled, margin: number, confidence = 0.95): boolean =>
  interval(loss, confidence).upper < margin

/** Whether a figure is at most `most`, by its one-sided upper bound. */
export const isAtMost = (figure: Sampled, most: number, confidence = 0.95): boolean =>
  quantile(figure.replicates.slice().sort(), confidence) <= most

/** A method with some option: what it sends and what it loses. */
export interface GridPoint {
  /** Positive. */
  readonly bytes: number
  readonly loss: Sampled
}

/**
 * Bytes at which a method loses no more than `target`: between two cells of its grid by the logarithm of their bytes. A cell with
 * more bytes that loses more counts as the better one before it (the envelope falls). Where the cheapest cell does, its
 * bytes; where none does, infinity.
 */
export function bytesAtLoss(grid: readonly GridPoint[], target: Sampled): Sampled {
  if (grid.length === 0) throw new EvaluationError('bytes at a loss were asked for of a method without cells')
  const points = [...grid].sort((a, b) => a.bytes - b.bytes)
  const logs = points.map(p => Math.log(p.bytes))
  return combined([target, ...points.map(p => p.loss)], ([goal, ...losses]) => bytesAt(logs, losses, goal as number))
}

function bytesAt(logs: readonly number[], losses: readonly number[], goal: number): number {
  let best = Infinity
  let bestLog = 0
  for (const [i, lost] of losses.entries()) {
    const log = logs[i] as number
    if (lost >= best) {
      bestLog = log
      continue
    }
    if (lost <= goal) {
      // The first cell has none before it to go back towards.
      const share = Number.isFinite(best) ? (best - goal) / (best - lost) : 1
      return Math.exp(Number.isFinite(best) ? bestLog + share * (log - bestLog) : log)
    }
    best = lost
    bestLog = log
  }
  return Infinity
}

/** a / b, of bytes; infinite where a never gets there, and infinite where only b does not (nothing was compared). */
export const bytesRatio = (a: Sampled, b: Sampled): Sampled =>
  combined([a, b], ([x, y]) => (Number.isFinite(x) && Number.isFinite(y) ? (x as number) / (y as number) : Infinity))
