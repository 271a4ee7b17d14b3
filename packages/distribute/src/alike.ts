/**
 * Segments of rows that are alike, wherever they lie: a mean stands for its rows the better the less they differ, and who attends
 * to it needs to know how many they are, not which.
 */
import { gather, innerProducts, type Run, segmentMeans, type Tensor } from '@prismal/tensor'
import { ConnectionError } from './errors.js'
import { mergedBy, type Plan, type SequencePlan, sentBy } from './plan.js'
import { splitEven } from './runs.js'

/** Bytes of a mean's count. */
const COUNT_BYTES = 2

/** Rows that are compared with each other at most, or those of one segment: what comparing takes grows with their square. */
const WINDOW_ROWS = 512

/**
 * Which of n rows go together in `groups` groups, by their inner products with each other [n, n]: the first row is a centre, then again
 * and again the row farthest from all centres; each row joins its nearest centre, centres become means, each row joins its
 * nearest again. A group that nobody joins takes the row that is farthest from its own. The first of several counts. Rows that
 * are unlike all others stay alone so. Groups in the order of their centres, rows ascending.
 */
export function alike(products: Float32Array | Float64Array, n: number, groups: number): number[][] {
  if (groups === 0) return []
  if (groups >= n) return Array.from({ length: n }, (_, i) => [i])
  const product = (a: number, b: number): number => products[a * n + b] as number
  const joined = new Int32Array(n)
  const off = new Float64Array(n).fill(Number.POSITIVE_INFINITY)
  /** Lets the rows join g that are nearer to it than to what they are with; `off` is how far, squared. */
  const join = (g: number, distance: (row: number) => number): void => {
    for (let row = 0; row < n; row++) {
      const far = distance(row)
      if (far >= (off[row] as number)) continue
      off[row] = far
      joined[row] = g
    }
  }
  for (let g = 0; g < groups; g++) {
    const centre = g === 0 ? 0 : farthest(off)
    join(g, row => product(row, row) + product(centre, centre) - 2 * product(centre, row))
  }
  const first = membersOf(joined, groups)
  off.fill(Number.POSITIVE_INFINITY)
  for (const [g, rows] of first.entries()) {
    if (rows.length === 0) continue
    // |x − mean|² = x·x − 2·x·mean + mean·mean, of sums of products.
    const toMean = Float64Array.from(
      { length: n },
      (_, row) => rows.reduce((sum, other) => sum + product(other, row), 0) / rows.length,
    )
    const own = rows.reduce((sum, row) => sum + (toMean[row] as number), 0) / rows.length
    join(g, row => product(row, row) - 2 * (toMean[row] as number) + own)
  }
  fillEmpty(groups, joined, off)
  return membersOf(joined, groups)
}

function membersOf(joined: Int32Array, groups: number): number[][] {
  const members = Array.from({ length: groups }, (): number[] => [])
  for (const [row, g] of joined.entries()) members[g]?.push(row)
  return members
}

/** Number of the largest value, the first of several. */
const farthest = (off: Float64Array): number =>
  off.reduce((best, value, i) => (value > (off[best] as number) ? i : best), 0)

/** Gives each group without rows the row that is farthest from its centre among those of groups with several. */
function fillEmpty(groups: number, joined: Int32Array, off: Float64Array): void {
  const counts = new Int32Array(groups)
  for (const g of joined) counts[g] = (counts[g] as number) + 1
  for (let g = 0; g < groups; g++) {
    if ((counts[g] as number) > 0) continue
    const free = Array.from(joined.keys()).filter(row => (counts[joined[row] as number] as number) > 1)
    const row = free.reduce((best, row) => ((off[row] as number) > (off[best] as number) ? row : best))
    counts[joined[row] as number] = (counts[joined[row] as number] as number) - 1
    counts[g] = 1
    joined[row] = g
    off[row] = 0
  }
}

/** Runs in place of the groups that `from` makes for `to` in a layer, as many and of as many rows; none where it sends means of runs. */
function runsMerged(sequence: SequencePlan, layer: number, from: number, to: number): readonly Run[] {
  const among = mergedBy(sequence, from, to)
  return among ? sentBy(sequence, layer, from, to).filter(([a, b]) => a >= among[0] && b <= among[1]) : []
}

const groupsIn = (sequence: SequencePlan, layer: number, from: number, to: number): number =>
  runsMerged(sequence, layer, from, to).length

const rowsIn = ([a, b]: Run, by: number): number[] => Array.from({ length: b - a }, (_, i) => by + a + i)

/** Counts of groups that may be, for a rehearsal. */
export const plannedCounts = (
  plan: Plan,
  layer: number,
  sequences: readonly number[],
  from: number,
  to: number,
): number[] =>
  sequences.flatMap(s => runsMerged(plan.sequences[s] as SequencePlan, layer, from, to).map(([a, b]) => b - a))

/** Runs whose rows are compared with each other: as many at a time as have {@link WINDOW_ROWS} rows between them. */
function windowsOf(runs: readonly Run[]): (readonly Run[])[] {
  const rows = (runs.at(-1)?.[1] ?? 0) - (runs[0]?.[0] ?? 0)
  const count = Math.min(runs.length, Math.ceil(rows / WINDOW_ROWS))
  return splitEven(runs.length, count).map(([from, to]) => runs.slice(from, to))
}

/** Whether there is something to choose: neither one group of all rows nor a group for each. */
const isGrouped = (window: readonly Run[]): boolean => window.length > 1 && window.some(([a, b]) => b - a > 1)
const spanOf = (window: readonly Run[]): Run => [(window[0] as Run)[0], (window.at(-1) as Run)[1]]

/** Operations of finding the groups that `from` sends `to`: inner products of rows, each with each of its window. */
export function alikeFlops(sequence: SequencePlan, layer: number, from: number, to: number, width: number): number {
  const windows = windowsOf(runsMerged(sequence, layer, from, to)).filter(isGrouped)
  return windows.reduce((sum, window) => {
    const [first, end] = spanOf(window)
    return sum + 2 * (end - first) ** 2 * width
  }, 0)
}

/** Means of a sequence's runs, of groups where rows are merged by likeness; and how many rows each of those stands for. */
export interface Pieces {
  /** Rows of x, group after group. */
  readonly rows: readonly number[]
  /** Each mean's rows among those. */
  readonly runs: readonly Run[]
  /** Rows of each group. */
  readonly counts: readonly number[]
}

/** What `from` sends `to` of a sequence in a layer; `start` is the first row of its partition in x. */
export function pieces(
  sequence: SequencePlan,
  layer: number,
  { from, to }: { readonly from: number; readonly to: number },
  source: Tensor,
  start: number,
): Pieces {
  const among = mergedBy(sequence, from, to) as Run
  const sent = sentBy(sequence, layer, from, to)
  const single = (side: (run: Run) => boolean): number[][] => sent.filter(side).map(([a]) => [start + a])
  const found = windowsOf(runsMerged(sequence, layer, from, to)).flatMap(window => groupsOf(window, source, start))
  const groups = [...single(([, b]) => b <= among[0]), ...found, ...single(([a]) => a >= among[1])]
  let at = 0
  const runs = groups.map((group): Run => {
    const run = [at, at + group.length] as const
    at += group.length
    return run
  })
  return { rows: groups.flat(), runs, counts: found.map(group => group.length) }
}

/** The groups of a window, as rows of x. A rehearsal, which has no values, groups what follows each other. */
function groupsOf(window: readonly Run[], source: Tensor, start: number): number[][] {
  const asTheyLie = (): number[][] => window.map(run => rowsIn(run, start))
  if (!isGrouped(window)) return asTheyLie()
  const [from, to] = spanOf(window)
  const products = innerProducts(source.slice(start + from, start + to))
  const groups = source.engine.rehearses ? undefined : alike(products.floats(), to - from, window.length)
  products.dispose()
  return groups?.map(rows => rows.map(row => start + from + row)) ?? asTheyLie()
}

/** The means of pieces, one after another → [means, D]. */
export function meansOf(source: Tensor, all: readonly Pieces[]): Tensor {
  const gathered = gather(
    source.scope,
    source,
    all.flatMap(({ rows }) => rows),
  )
  let at = 0
  const runs = all.flatMap(({ rows, runs }) => {
    const start = at
    at += rows.length
    return runs.map(([a, b]): Run => [start + a, start + b])
  })
  const means = segmentMeans(gathered, runs)
  gathered.dispose()
  return means
}

/** Counts as they travel behind rows: u16 each. */
export function encodeCounts(counts: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(counts.length * COUNT_BYTES)
  const view = new DataView(bytes.buffer)
  for (const [i, count] of counts.entries()) view.setUint16(i * COUNT_BYTES, count, true)
  return bytes
}

/** Bytes of the counts that `from` sends `to` of these sequences in a layer. */
export const countBytes = (plan: Plan, layer: number, sequences: readonly number[], from: number, to: number): number =>
  sequences.reduce((sum, s) => sum + groupsIn(plan.sequences[s] as SequencePlan, layer, from, to), 0) * COUNT_BYTES

/**
 * How many rows each mean that `to` gets of each sequence stands for; `bytes` are the counts that came, as many as are due. Throws {@link ConnectionError} where they are
 * not those of the rows that are merged.
 */
export function countsOf(
  plan: Plan,
  layer: number,
  sequences: readonly number[],
  from: number,
  to: number,
  bytes: Uint8Array,
): number[][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let at = 0
  return sequences.map(s => {
    const sequence = plan.sequences[s] as SequencePlan
    const runs = sentBy(sequence, layer, from, to)
    const groups = groupsIn(sequence, layer, from, to)
    if (groups === 0) return runs.map(([a, b]) => b - a)
    const [first, end] = mergedBy(sequence, from, to) as Run
    const counts = Array.from({ length: groups }, (_, i) => view.getUint16((at + i) * COUNT_BYTES, true))
    at += groups
    const sum = counts.reduce((a, b) => a + b, 0)
    if (sum !== end - first || counts.includes(0))
      throw new ConnectionError(`device ${from} sent means of ${sum} rows (${groups} counts); it has ${end - first}`)
    const before = runs.filter(([, b]) => b <= first).length
    return [...runs.slice(0, before).map(() => 1), ...counts, ...runs.slice(before + groups).map(() => 1)]
  })
}
