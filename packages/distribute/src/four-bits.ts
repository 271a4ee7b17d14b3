/**
 * Rows in four bits a value: columns in groups of 64, each group as one f16 scale and the codes of 16 levels.
 *
 * The scale is the value of largest magnitude with its sign turned, so that one value is always −1, and outliers spoil their own
 * group only. The levels are those of least squared error for normally distributed values (Lloyd–Max), which normed rows
 * nearly are: at 4¼ bits a value the error is that of 16 even steps in groups of 32, at 4½ bits, and two thirds of that of one scale a
 * row (less than half on BERT's rows, with their outliers).
 */
import { fromF16, RangeOfFormatError, type Scope, type Tensor, toF16 } from '@prismal/tensor'

/** Columns that share a scale. */
const GROUP = 64
/** What a code stands for, times the group's scale. */
export const FOUR_BIT_LEVELS: readonly number[] = [
  ...[-1, -0.7803, -0.621, -0.4913, -0.3789, -0.2766, -0.181, -0.0895],
  ...[0, 0.0954, 0.1928, 0.2952, 0.4055, 0.5296, 0.6745, 0.8604],
]
/** Half way between neighbouring levels: a value on it takes the lower one. */
const BETWEEN = Float64Array.from(FOUR_BIT_LEVELS.slice(1), (level, i) => (level + (FOUR_BIT_LEVELS[i] as number)) / 2)
/** The lowest code of ratios from −1 + i/64 on. */
const FIRST = Uint8Array.from({ length: 128 }, (_, i) => BETWEEN.filter(limit => i / 64 - 1 > limit).length)
const ZERO = FOUR_BIT_LEVELS.indexOf(0)
const LARGEST_HALF = 65504
/** From here on values round to what f16 does not hold. */
const TOO_LARGE = 65520

const groupsOf = (width: number): number => Math.ceil(width / GROUP)

/** Bytes of `rows` rows of `width` values. */
export const fourBitBytes = (rows: number, width: number): number => rows * (groupsOf(width) * 2 + Math.ceil(width / 2))

/**
 * Rows [r, D] → r·⌈D/64⌉ scales (f16), then ⌈D/2⌉ bytes a row, the lower half of a byte first. Throws `RangeOfFormatError` where a
 * value is beyond ±65504 or not a number.
 */
export function packFourBits(x: Tensor): Uint8Array {
  const { rows, columns: D } = x
  const groups = groupsOf(D)
  const values = x.floats()
  const half = halves(x.scope, extremes(values, rows, D), [rows, groups])
  const bytes = new Uint8Array(fourBitBytes(rows, D))
  bytes.set(new Uint8Array(half.bits.buffer, half.bits.byteOffset, half.bits.byteLength))
  const stride = Math.ceil(D / 2)
  const codes = bytes.subarray(rows * groups * 2)
  for (let group = 0; group < rows * groups; group++) {
    const r = Math.floor(group / groups)
    const first = (group % groups) * GROUP
    const end = Math.min(D, first + GROUP)
    const scale = half.values[group] as number
    for (let c = first; c < end; c++) {
      const code = scale === 0 ? ZERO : codeOf((values[r * D + c] as number) / scale)
      const at = r * stride + (c >> 1)
      codes[at] = (codes[at] as number) | (code << (4 * (c & 1)))
    }
  }
  return bytes
}

/** The inverse, of as many bytes as that takes: f32 [rows, width], owned by `scope`. */
export function unpackFourBits(scope: Scope, bytes: Uint8Array, rows: number, width: number): Tensor {
  const groups = groupsOf(width)
  const half = scope.tensor(new Uint16Array(bytes.slice(0, rows * groups * 2).buffer), [rows, groups])
  const scales = fromF16(scope, half)
  const factors = scales.floats()
  scales.dispose()
  half.dispose()
  const stride = Math.ceil(width / 2)
  const codes = bytes.subarray(rows * groups * 2)
  const values = new Float32Array(rows * width)
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < width; c++) {
      const pair = codes[r * stride + (c >> 1)] as number
      const level = FOUR_BIT_LEVELS[c % 2 === 0 ? pair & 15 : pair >> 4] as number
      values[r * width + c] = level * (factors[r * groups + Math.floor(c / GROUP)] as number)
    }
  return scope.tensor(values, [rows, width])
}

/** The value of largest magnitude of each group, the first of several, with its sign turned. */
function extremes(values: Float32Array, rows: number, width: number): Float32Array {
  const groups = groupsOf(width)
  const scales = new Float32Array(rows * groups)
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < width; c++) {
      const value = values[r * width + c] as number
      if (!(Math.abs(value) < TOO_LARGE))
        throw new RangeOfFormatError(
          `int4 holds finite values up to ±${LARGEST_HALF}; ${value} at row ${r}, column ${c} does not fit`,
        )
      const group = r * groups + Math.floor(c / GROUP)
      if (Math.abs(value) > Math.abs(scales[group] as number)) scales[group] = -value
    }
  return scales
}

/** Scales as f16, and the values that those stand for. */
function halves(
  scope: Scope,
  scales: Float32Array,
  shape: readonly number[],
): { bits: Uint16Array; values: Float32Array } {
  const exact = scope.tensor(scales, shape)
  const half = toF16(exact)
  const rounded = fromF16(scope, half, exact)
  const found = { bits: half.data() as Uint16Array, values: rounded.floats() }
  half.dispose()
  exact.dispose()
  return found
}

/** The nearest level's number: the first that a sixty-fourth of the range may have, or one of the next. */
function codeOf(ratio: number): number {
  let code = FIRST[Math.max(0, Math.min(127, (ratio + 1) * 64)) | 0] as number
  while (code < 15 && ratio > (BETWEEN[code] as number)) code++
  return code
}
