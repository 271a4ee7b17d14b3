/**
 * Segments of rows that are alike, wherever they lie: a mean stands for its rows the better the less they differ, and who attends
 * to it needs to know how many they are, not which.
 */
import { gather, type Run, segmentMeans, type Tensor } from '@prismal/tensor'
import { ConnectionError } from './errors.js'
import { type Plan, type SequencePlan, sentBy } from './plan.js'

/** Bytes of a mean's count. */
const COUNT_BYTES = 2

/**
 * Which of n rows go together in `clusters` groups, by Ward's agglomeration: again and again those two are merged that
 * Σ |row − mean|² grows least by, the first of several. Groups by their first rows, rows ascending. Takes about n²·width operations.
 */
export function alike(rows: Float32Array, width: number, clusters: number): number[][] {
  const n = rows.length / width
  const groups = Array.from({ length: n }, (_, i) => [i])
  if (clusters >= n) return groups
  const costs = mergeCosts(rows, width)
  const cost = (a: number, b: number): number => costs[a * n + b] as number
  const size = new Float64Array(n).fill(1)
  const alive = Array.from({ length: n }, (_, i) => i)
  const cheapest = (i: number): number =>
    alive.reduce((best, j) => (j !== i && (best < 0 || cost(i, j) < cost(i, best)) ? j : best), -1)
  const partner = alive.map(cheapest)
  while (alive.length > clusters) {
    const i = alive.reduce((best, i) =>
      cost(i, partner[i] as number) < cost(best, partner[best] as number) ? i : best,
    )
    const [a, b] = [Math.min(i, partner[i] as number), Math.max(i, partner[i] as number)]
    const [sizeA, sizeB, between] = [size[a] as number, size[b] as number, cost(a, b)]
    alive.splice(alive.indexOf(b), 1)
    for (const k of alive) {
      if (k === a) continue
      const sizeK = size[k] as number
      const merged =
        ((sizeK + sizeA) * cost(k, a) + (sizeK + sizeB) * cost(k, b) - sizeK * between) / (sizeK + sizeA + sizeB)
      costs[k * n + a] = merged
      costs[a * n + k] = merged
    }
    size[a] = sizeA + sizeB
    ;(groups[a] as number[]).push(...(groups[b] as number[]))
    for (const k of alive)
      if (k === a || partner[k] === a || partner[k] === b) partner[k] = cheapest(k)
      else if (cost(k, a) < cost(k, partner[k] as number)) partner[k] = a
  }
  return alive.map(i => (groups[i] as number[]).sort((a, b) => a - b))
}

/** [n, n]: by how much Σ |row − mean|² grows where two single rows are merged. */
function mergeCosts(rows: Float32Array, width: number): Float64Array {
  const n = rows.length / width
  const costs = new Float64Array(n * n)
  for (let a = 0; a < n; a++)
    for (let b = a + 1; b < n; b++) {
      let sum = 0
      for (let c = 0; c < width; c++) {
        const difference = (rows[a * width + c] as number) - (rows[b * width + c] as number)
        sum += difference * difference
      }
      costs[a * n + b] = sum / 2
      costs[b * n + a] = sum / 2
    }
  return costs
}

/** Runs in place of the groups that a device makes in a layer, as many and of as many rows; none where it sends means of runs. */
function runsMerged(sequence: SequencePlan, layer: number, device: number): readonly Run[] {
  const among = sequence.merged?.[device]
  return among ? sentBy(sequence, layer, device).filter(([a, b]) => a >= among[0] && b <= among[1]) : []
}

const groupsIn = (sequence: SequencePlan, layer: number, device: number): number =>
  runsMerged(sequence, layer, device).length

/** Counts of groups that may be, for a rehearsal. */
export const plannedCounts = (plan: Plan, layer: number, sequences: readonly number[], from: number): number[] =>
  sequences.flatMap(s => runsMerged(plan.sequences[s] as SequencePlan, layer, from).map(([a, b]) => b - a))

/** Operations of finding groups: 3 for each value of each two rows. */
export function alikeFlops(sequence: SequencePlan, layer: number, device: number, width: number): number {
  const groups = groupsIn(sequence, layer, device)
  const [from, to] = sequence.merged?.[device] ?? [0, 0]
  const n = to - from
  return groups === 0 || groups === n ? 0 : (n * (n - 1) * 3 * width) / 2
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

/** What a device sends of a sequence in a layer; `start` is its partition's first row in x. */
export function pieces(sequence: SequencePlan, layer: number, device: number, source: Tensor, start: number): Pieces {
  const among = (sequence.merged as readonly Run[])[device] as Run
  const [from, to] = [start + among[0], start + among[1]]
  const sent = sentBy(sequence, layer, device)
  const single = (side: (run: Run) => boolean): number[][] => sent.filter(side).map(([a]) => [start + a])
  const count = groupsIn(sequence, layer, device)
  const found = count > 0 ? alike(source.slice(from, to).floats(), source.columns, count) : []
  const groups = [
    ...single(([, b]) => b <= among[0]),
    ...found.map(group => group.map(row => from + row)),
    ...single(([a]) => a >= among[1]),
  ]
  let at = 0
  const runs = groups.map((group): Run => {
    const run = [at, at + group.length] as const
    at += group.length
    return run
  })
  return { rows: groups.flat(), runs, counts: found.map(group => group.length) }
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

/** Bytes of the counts that `from` sends of these sequences in a layer. */
export const countBytes = (plan: Plan, layer: number, sequences: readonly number[], from: number): number =>
  sequences.reduce((sum, s) => sum + groupsIn(plan.sequences[s] as SequencePlan, layer, from), 0) * COUNT_BYTES

/**
 * How many rows each mean of each sequence stands for; `bytes` are the counts that came, as many as are due. Throws {@link ConnectionError} where they are
 * not those of the rows that are merged.
 */
export function countsOf(
  plan: Plan,
  layer: number,
  sequences: readonly number[],
  from: number,
  bytes: Uint8Array,
): number[][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let at = 0
  return sequences.map(s => {
    const sequence = plan.sequences[s] as SequencePlan
    const runs = sentBy(sequence, layer, from)
    const groups = groupsIn(sequence, layer, from)
    if (groups === 0) return runs.map(([a, b]) => b - a)
    const [first, end] = (sequence.merged as readonly Run[])[from] as Run
    const counts = Array.from({ length: groups }, (_, i) => view.getUint16((at + i) * COUNT_BYTES, true))
    at += groups
    const sum = counts.reduce((a, b) => a + b, 0)
    if (sum !== end - first || counts.includes(0))
      throw new ConnectionError(`device ${from} sent means of ${sum} rows (${groups} counts); it has ${end - first}`)
    const before = runs.filter(([, b]) => b <= first).length
    return [...runs.slice(0, before).map(() => 1), ...counts, ...runs.slice(before + groups).map(() => 1)]
  })
}
