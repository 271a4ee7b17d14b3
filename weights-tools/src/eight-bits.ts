/**
 * 8-bit codes of a stored matrix, one scale a column, rounded as the kernel `quantisePanels` rounds: in f32, each step
 * once, to nearest even. A column is a row of what is stored [out, in], and a column of what is stored [in, out].
 */

/** The largest code. */
const MOST = 127
/** Columns of smaller values have no codes but zeros: the factor to codes would not be finite. */
const LEAST = Math.fround(1e-36)
/** 1.5 · 2²³: adding it in f32 leaves no fraction. */
const TO_WHOLE = 12582912

/** Gathers max|column| over rows, the first of which is row `first` of the matrix; NaN where a value is. */
export function widen(most: Float32Array, values: Float32Array, width: number, first: number, isColumn: boolean): void {
  for (let at = 0, row = first; at < values.length; at += width, row++)
    for (let i = 0; i < width; i++) {
      const column = isColumn ? row : i
      const size = Math.abs(values[at + i] as number)
      if (size > (most[column] as number) || Number.isNaN(size)) most[column] = size
    }
}

/** The scale of a column whose largest value is `most`. */
export const scaleOf = (most: number): number => Math.fround(most / MOST)

/** The codes of rows, given each column's largest value. */
export function codesOf(
  values: Float32Array,
  width: number,
  first: number,
  most: Float32Array,
  isColumn: boolean,
): Int8Array {
  const factors = most.map(value => (value > LEAST ? MOST / value : 0))
  const codes = new Int8Array(values.length)
  for (let at = 0, row = first; at < values.length; at += width, row++)
    for (let i = 0; i < width; i++) {
      const factor = factors[isColumn ? row : i] as number
      const scaled = Math.fround((values[at + i] as number) * factor)
      codes[at + i] = Math.fround(scaled + TO_WHOLE) - TO_WHOLE
    }
  return codes
}

/** codes · scale of the column, rounded to f32. */
export function valuesOf(
  codes: Int8Array,
  width: number,
  first: number,
  scales: Float32Array,
  isColumn: boolean,
): Float32Array {
  const values = new Float32Array(codes.length)
  for (let at = 0, row = first; at < codes.length; at += width, row++)
    for (let i = 0; i < width; i++) values[at + i] = (codes[at + i] as number) * (scales[isColumn ? row : i] as number)
  return values
}
