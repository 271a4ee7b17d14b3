/**
 * Bounds of what is lost on all inputs, from a sample of them: each holds with probability 1 − α or more. Formulas rather than
 * resampling, since a bootstrap of a sample without a single difference would say that there are none.
 */

/** A loss in percent (points, where the metric is in percent itself) and its one-sided bounds. */
export interface Bound {
  readonly estimate: number
  readonly lower: number
  /** Infinite where the inputs are too few to tell anything. */
  readonly upper: number
  /** What further inputs bring down, where that is less: they would be told from otherwise. */
  readonly upperOfMore?: number
  /** How many inputs there must be at least, where the upper bound is infinite. */
  readonly leastInputs?: number
}

/** The normal distribution's p-quantile (Acklam; relative error below 1.2e−9), for p of 1e−9 to 1 − 1e−9. */
export function normalQuantile(p: number): number {
  const tail = Math.min(p, 1 - p)
  const sign = p < 0.5 ? -1 : 1
  if (tail > 0.02425) {
    const q = p - 0.5
    const r = q * q
    const above =
      ((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r + 138.357751867269) * r -
        30.66479806614716) *
        r +
      2.506628277459239
    const below =
      ((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r + 66.80131188771972) * r -
        13.28068155288572) *
        r +
      1
    return (q * above) / below
  }
  const q = Math.sqrt(-2 * Math.log(tail))
  const above =
    ((((-0.007784894002430293 * q - 0.3223964580411365) * q - 2.400758277161838) * q - 2.549732539343734) * q +
      4.374664141464968) *
      q +
    2.938163982698783
  const below =
    (((0.007784695709041462 * q + 0.3224671290700398) * q + 2.445134137142996) * q + 3.754408661907416) * q + 1
  return (-sign * above) / below
}

/** Student's t with ν degrees of freedom, by its expansion around the normal one (error below 1 % for ν ≥ 5, p ≤ 0.995). */
export function studentQuantile(p: number, degrees: number): number {
  const z = normalQuantile(p)
  const first = (z ** 3 + z) / 4
  const second = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96
  const third = (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384
  return z + first / degrees + second / degrees ** 2 + third / degrees ** 3
}

/** The gamma distribution's p-quantile with this shape ≥ 1 and scale 1 (Wilson and Hilferty; within 1.5 % for p ≥ 0.9). */
export function gammaQuantile(p: number, shape: number): number {
  const z = normalQuantile(p)
  return shape * (1 - 1 / (9 * shape) + z / (3 * Math.sqrt(shape))) ** 3
}

/**
 * Of the mean of n values within [0, 1], most of which are 0, given the sum and the sum of squares of the others: the bound of
 * Fay and Feuer (1997) for weighted rates, which is exact for a rate and hardly ever short of its confidence otherwise. Without
 * any difference it is −ln α / n.
 */
export function severityBound(n: number, sum: number, squares: number, alpha: number): Bound {
  // As though one more input had differed as far as any can.
  const scale = (squares + 1) / (sum + 1)
  const upper = scale * gammaQuantile(1 - alpha, (sum + 1) / scale)
  const lower = sum - normalQuantile(1 - alpha) * Math.sqrt(squares)
  return { estimate: (100 * sum) / n, lower: Math.max(0, 100 * lower) / n, upper: (100 * Math.min(upper, n)) / n }
}

/** Of Σ more / Σ base over independent units, by its linearisation and Student's t. Infinite with fewer than `leastUnits`. */
export function ratioBound(more: readonly number[], base: readonly number[], alpha: number, leastUnits = 8): Bound {
  const n = more.length
  const total = base.reduce((a, b) => a + b, 0)
  const ratio = more.reduce((a, b) => a + b, 0) / total
  if (n < leastUnits) return { estimate: 100 * ratio, lower: -Infinity, upper: Infinity, leastInputs: leastUnits }
  const squares = more.reduce((sum, d, i) => sum + (d - ratio * (base[i] as number)) ** 2, 0)
  const error = Math.sqrt((squares * n) / (n - 1)) / total
  const reach = studentQuantile(1 - alpha, n - 1) * error
  return { estimate: 100 * ratio, lower: 100 * (ratio - reach), upper: 100 * (ratio + reach) }
}

/** Fewer pairs tell no upper bound, or no lower one, of what rank agreement loses. */
const LEAST_PAIRS = 10
const LEAST_PAIRS_BELOW = 30

/**
 * Of 1 − a rank correlation r of n pairs: Fisher's z with the variance of Bonett and Wright (2000), as though two neighbours more had
 * changed places, or two less: few pairs keep their order by chance, and at r = 1 an interval has no width.
 */
export function correlationLossBound(r: number, n: number, alpha: number): Bound {
  const estimate = 100 * (1 - r)
  if (n < LEAST_PAIRS) return { estimate, lower: 0, upper: Infinity, leastInputs: LEAST_PAIRS }
  const error = Math.sqrt((1 + (r * r) / 2) / (n - 3))
  const reach = normalQuantile(1 - alpha) * error
  // What two neighbours that change places take from r.
  const step = 12 / (n * (n * n - 1))
  const lower = n < LEAST_PAIRS_BELOW ? 0 : turned(Math.min(1, r + step), reach)
  return { estimate, lower, upper: turned(Math.max(-1, r - step), -reach) }
}

/** 100·(1 − tanh(atanh r + by)), which stays exact where r is almost 1. */
function turned(r: number, by: number): number {
  const odds = ((1 + r) / (1 - r)) * Math.exp(2 * by)
  return Number.isFinite(odds) ? 200 / (1 + odds) : 0
}
