/** Runs of rows: how a sequence is cut into partitions, and a partition into what is sent of it. */
import type { Run } from '@prismal/tensor'
import type { SegmentBounds } from './options.js'

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

/** Where the rows of other devices that attend to a partition's segments lie. */
export interface Cuts {
  readonly before: boolean
  readonly after: boolean
}

/**
 * n rows in L ≤ n runs whose sizes grow geometrically with the distance from the nearest cut, as in a fast multipole
 * method: a run beside a cut is one row, the e-th from it ⌊ρ^e⌋ for the largest ρ that n rows are enough for, and rows left over go
 * one each to the farthest. Without a cut, or where every run is beside one, sizes are even.
 */
export function splitGraded(rows: number, segments: number, { before, after }: Cuts): Run[] {
  const far = segments - 1
  const distances = Array.from({ length: segments }, (_, i) =>
    before && after ? Math.min(i, far - i) : before ? i : after ? far - i : 0,
  )
  const farthest = Math.max(...distances)
  if (farthest <= 0) return splitEven(rows, segments)
  const sizesAt = powers(growth(rows, distances, farthest), farthest).map(Math.floor)
  const sizes = distances.map(e => sizesAt[e] as number)
  let left = rows - sizes.reduce((a, b) => a + b, 0)
  for (const i of nearestLast(distances)) {
    if (left === 0) break
    sizes[i] = (sizes[i] as number) + 1
    left--
  }
  let from = 0
  return sizes.map(size => {
    const run = [from, from + size] as const
    from += size
    return run
  })
}

/** The largest ρ ≥ 1 with Σ ρ^e ≤ rows, by halving. Products of doubles are the same on every machine, which powers need not be. */
function growth(rows: number, distances: readonly number[], farthest: number): number {
  const isEnough = (rho: number): boolean => {
    const sizes = powers(rho, farthest)
    return distances.reduce((sum, e) => sum + (sizes[e] as number), 0) <= rows
  }
  let low = 1
  let high = rows + 1
  for (let middle = (low + high) / 2; middle > low && middle < high; middle = (low + high) / 2)
    if (isEnough(middle)) low = middle
    else high = middle
  return low
}

/** 1, ρ … ρ^most. */
function powers(rho: number, most: number): number[] {
  const all = [1]
  for (let e = 1; e <= most; e++) all.push((all[e - 1] as number) * rho)
  return all
}

/** Numbers of the runs, the farthest from a cut first. */
const nearestLast = (distances: readonly number[]): number[] =>
  distances.map((_, i) => i).sort((a, b) => (distances[b] as number) - (distances[a] as number) || a - b)

export interface Cutting {
  /** N. */
  readonly rows: number
  /** L, the most means that are sent. */
  readonly segments: number
  readonly sink?: number
  readonly tail?: number
  /** Leading rows that are not sent. */
  readonly anchor?: number
  readonly bounds?: SegmentBounds
  readonly causal?: boolean
}

/**
 * The runs that the device with rows [from, to) of a sequence sends, counted from `from`: sink and tail rows one by one, L segments of
 * the others, nothing of anchored ones.
 */
export function sentRuns([from, to]: Run, cutting: Cutting): Run[] {
  const { rows, segments, sink = 0, tail = 0, anchor = 0, bounds = 'uniform', causal = false } = cutting
  const first = Math.min(to, Math.max(from, anchor))
  const head = Math.min(to, Math.max(first, sink))
  const foot = Math.max(head, Math.min(to, rows - tail))
  const L = Math.min(segments, foot - head)
  const cuts: Cuts = { before: !causal && from > 0, after: to < rows }
  const means = L === 0 ? [] : bounds === 'graded' ? splitGraded(foot - head, L, cuts) : splitEven(foot - head, L)
  const moved = (runs: readonly Run[], by: number): Run[] => runs.map(([a, b]) => [a + by, b + by] as const)
  const single = (a: number, b: number): Run[] => moved(splitEven(b - a, b - a), a - from)
  return [...single(first, head), ...moved(means, head - from), ...single(foot, to)]
}
