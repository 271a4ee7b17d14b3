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
 * method: the e-th from it has ⌊s·ρ^e⌋ rows, at least one, and rows left over go one each to the farthest. With a factor ρ, s is the
 * largest that n rows are enough for; without, s is 1, so that just the runs beside a cut have one row, and ρ the largest.
 * Without a cut, or where every run is beside one, sizes are even.
 */
export function splitGraded(rows: number, segments: number, { before, after }: Cuts, factor?: number): Run[] {
  const far = segments - 1
  const distances = Array.from({ length: segments }, (_, i) =>
    before && after ? Math.min(i, far - i) : before ? i : after ? far - i : 0,
  )
  const farthest = Math.max(...distances)
  if (farthest <= 0 || factor === 1) return splitEven(rows, segments)
  const sizesAt = (x: number): number[] => {
    const all = factor === undefined ? powers(1, x, farthest) : powers(x, factor, farthest)
    return distances.map(e => Math.max(1, all[e] as number))
  }
  const sizes = sizesAt(largest(x => total(sizesAt(x)) <= rows, rows + 1)).map(Math.floor)
  let left = rows - total(sizes)
  while (left > 0)
    for (const i of farthestFirst(distances)) {
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

const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)

/** The largest number below `most` for which something holds that holds from 0 up to it, by halving. */
function largest(holds: (x: number) => boolean, most: number): number {
  let low = 0
  let high = most
  for (let middle = (low + high) / 2; middle > low && middle < high; middle = (low + high) / 2)
    if (holds(middle)) low = middle
    else high = middle
  return low
}

/** s, s·ρ … s·ρ^most. Products of doubles are the same on every machine, which powers need not be. */
function powers(s: number, rho: number, most: number): number[] {
  const all = [s]
  for (let e = 1; e <= most; e++) all.push((all[e - 1] as number) * rho)
  return all
}

/** Numbers of the runs, the farthest from a cut first. */
const farthestFirst = (distances: readonly number[]): number[] =>
  distances.map((_, i) => i).sort((a, b) => (distances[b] as number) - (distances[a] as number) || a - b)

function cutBetween(rows: number, segments: number, cuts: Cuts, bounds: SegmentBounds): Run[] {
  if (segments === 0) return []
  // Which rows are alike is not known beforehand, only how many groups they make.
  if (bounds === 'uniform' || bounds === 'alike') return splitEven(rows, segments)
  return splitGraded(rows, segments, cuts, bounds === 'graded' ? undefined : bounds)
}

export interface Cutting {
  /** N. */
  readonly rows: number
  /** L, the most means that are sent. */
  readonly segments: number
  readonly sink?: number
  readonly tail?: number
  /** Exact rows beside each cut. */
  readonly near?: number
  /** Leading rows that are not sent. */
  readonly anchor?: number
  readonly bounds?: SegmentBounds
  readonly causal?: boolean
}

/**
 * The runs that the device with rows [from, to) of a sequence sends, counted from `from`: sink and tail rows and those near a cut one by one,
 * L segments of the others, nothing of anchored ones.
 */
export function sentRuns(run: Run, cutting: Cutting): Run[] {
  const { segments, bounds = 'uniform' } = cutting
  const [first, end] = keptRun(run, cutting)
  const [head, foot] = mergedRun(run, cutting)
  const L = Math.min(segments, foot - head)
  const moved = (runs: readonly Run[], by: number): Run[] => runs.map(([a, b]) => [a + by, b + by] as const)
  const single = (a: number, b: number): Run[] => moved(splitEven(b - a, b - a), a)
  return [
    ...single(first, head),
    ...moved(cutBetween(foot - head, L, cutsOf(run, cutting), bounds), head),
    ...single(foot, end),
  ]
}

/** The rows of which anything is sent, counted from the partition's start. */
const keptRun = ([from, to]: Run, { anchor = 0 }: Cutting): Run => [
  Math.min(to, Math.max(from, anchor)) - from,
  to - from,
]

/** The rows of which means are sent: those between exact ones, counted from the partition's start. */
export function mergedRun(run: Run, cutting: Cutting): Run {
  const { rows, sink = 0, tail = 0, near = 0 } = cutting
  const [from, to] = run
  const { before, after } = cutsOf(run, cutting)
  const head = Math.min(to, Math.max(from + keptRun(run, cutting)[0], sink, before ? from + near : from))
  const foot = Math.max(head, Math.min(to, rows - tail, after ? to - near : to))
  return [head - from, foot - from]
}

const cutsOf = ([from, to]: Run, { rows, causal = false }: Cutting): Cuts => ({
  before: !causal && from > 0,
  after: to < rows,
})
