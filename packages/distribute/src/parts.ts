/** What a device is given of a whole sequence: the rows that it computes, as one part. */
import { cut, type Part } from '@prismal/models'
import type { Run } from '@prismal/tensor'
import { anchorRows, extraRows, haloRows, rowsOf, type SequencePlan } from './plan.js'
import type { RowShape } from './row-order.js'

/** A device's rows of a whole sequence. Where they do not follow each other in it, the part lacks what says which they are. */
export function partFor(sequence: SequencePlan, device: number, whole: Part, shape: RowShape): Part {
  const { from, to } = placesOf(sequence, device)
  if (!isGathered(sequence, device)) return cut(whole, from, to, shape.prefixRows, shape.patchWidth)
  return { ...pickRows(whole, rowsOf(sequence, device), shape), from, to }
}

/** The places of a device's part: anchored rows and those behind them count as if they followed each other. */
export function placesOf(sequence: SequencePlan, device: number): { readonly from: number; readonly to: number } {
  const [from, to] = sequence.bounds[device] as Run
  return anchorRows(sequence, device) > 0
    ? { from: 0, to: extraRows(sequence, device) + to - from }
    : { from: from - haloRows(sequence, device), to }
}

/** The part with the positions of its rows, which follow from the plan. */
export function placedPart(sequence: SequencePlan, device: number, part: Part): Part {
  if (part.positions || !isGathered(sequence, device)) return part
  return { ...part, positions: Int32Array.from(rowsOf(sequence, device)) }
}

const isGathered = (sequence: SequencePlan, device: number): boolean =>
  sequence.order !== undefined || anchorRows(sequence, device) > 0

function pickRows(
  whole: Part,
  rows: readonly number[],
  { prefixRows = 0, patchWidth = 0 }: RowShape,
): Omit<Part, 'from' | 'to'> {
  const pick = (values: Int32Array): Int32Array => Int32Array.from(rows, r => values[r] as number)
  const { ids, types, positions, patches } = whole
  return {
    ...(ids && { ids: pick(ids) }),
    ...(types && { types: pick(types) }),
    ...(positions && { positions: pick(positions) }),
    ...(patches && { patches: pickPatches(patches, rows, prefixRows, patchWidth) }),
  }
}

function pickPatches(
  patches: Float32Array,
  rows: readonly number[],
  prefixRows: number,
  patchWidth: number,
): Float32Array {
  const numbers = rows.filter(r => r >= prefixRows).map(r => r - prefixRows)
  const picked = new Float32Array(numbers.length * patchWidth)
  for (const [i, n] of numbers.entries())
    picked.set(patches.subarray(n * patchWidth, (n + 1) * patchWidth), i * patchWidth)
  return picked
}
