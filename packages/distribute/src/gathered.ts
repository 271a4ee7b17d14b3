/** What the coordinator makes of the rows that devices give it. */
import type { Run, Scope, Tensor } from '@prismal/tensor'
import { type Plan, type SequencePlan, wantedHere } from './plan.js'

/**
 * The rows asked for [wanted, width], sequence after sequence, or the mean of each sequence's rows [sequences, width],
 * of what each device gave: its wanted rows, or the means of its rows of every sequence that it has rows of.
 */
export function gathered(
  scope: Scope,
  plan: Plan,
  pieces: readonly Float32Array[],
  width: number,
  output: 'rows' | 'mean',
): Tensor {
  return output === 'mean' ? weightedMeans(scope, plan, pieces, width) : allRows(scope, plan, pieces, width)
}

/** A sequence's rows are those of the devices in their order, each at its number among the rows asked for. */
function allRows(scope: Scope, plan: Plan, pieces: readonly Float32Array[], width: number): Tensor {
  const all = scope.empty([plan.sequences.reduce((sum, { wanted }) => sum + wanted.length, 0), width])
  const taken = pieces.map(() => 0)
  let start = 0
  for (const sequence of plan.sequences) {
    const at = ranks(sequence)
    let row = 0
    for (const [device, values] of pieces.entries()) {
      const count = wantedHere(sequence, device).length
      const from = taken[device] as number
      const piece = (first: number, end: number): Float32Array =>
        values.subarray((from + first) * width, (from + end) * width)
      if (!at) all.write(piece(0, count), start + row)
      else for (let i = 0; i < count; i++) all.write(piece(i, i + 1), start + (at[row + i] as number))
      taken[device] = from + count
      row += count
    }
    start += row
  }
  return all
}

/** The number of each place's row among the rows asked for; undefined where they lie in order. */
function ranks({ wanted, order }: SequencePlan): number[] | undefined {
  if (!order) return undefined
  const rows = wanted.map(place => order[place] as number)
  const rank = new Map(rows.toSorted((a, b) => a - b).map((row, i) => [row, i]))
  return rows.map(row => rank.get(row) as number)
}

/** Weighted by how many rows each device has of a sequence. */
function weightedMeans(scope: Scope, plan: Plan, pieces: readonly Float32Array[], width: number): Tensor {
  const sums = plan.sequences.map(() => new Float64Array(width))
  for (const [device, means] of pieces.entries()) {
    let at = 0
    for (const [s, { rows, bounds }] of plan.sequences.entries()) {
      const [from, to] = bounds[device] as Run
      if (to === from) continue
      const sum = sums[s] as Float64Array
      for (let i = 0; i < width; i++) sum[i] = (sum[i] as number) + ((means[at + i] as number) * (to - from)) / rows
      at += width
    }
  }
  return scope.tensor(Float32Array.from(sums.flatMap(s => [...s])), [sums.length, width])
}
