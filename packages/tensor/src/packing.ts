/** Packing a weight matrix piece by piece, as its values come from a file. `pack` does it at once. */
import { PANEL, packedLength } from '@prismal/kernels/catalogue'
import { OperandError } from './errors.js'
import type { Matrix } from './operations.js'
import { describe, type Scope, type Tensor } from './tensor.js'

/**
 * A matrix [k, n] whose values are undefined until {@link padPanels} and {@link packColumns} or {@link packLines} have
 * given all of them. Nothing is written here. Throws `MemoryError`.
 */
export function emptyMatrix(scope: Scope, k: number, n: number, bias?: Tensor): Matrix {
  if (bias && (bias.size !== n || bias.dtype !== 'f32'))
    throw new OperandError(`emptyMatrix: bias is ${describe(bias)} where f32 [${n}] is needed`)
  return { packed: scope.empty([packedLength(k, n)]), k, n, bias }
}

/** Fills what the last panel has beyond column n with zeros, as the matrix kernel needs it. */
export function padPanels({ packed, k, n }: Matrix): void {
  if (n % PANEL === 0 || packed.engine.rehearses) return
  const panel = Math.floor(n / PANEL) * PANEL * k
  new Float32Array(packed.engine.memory.buffer, packed.address + panel * 4, PANEL * k).fill(0)
}

/**
 * Columns [first, first + count) of a matrix, given as rows: `columns` is [count, k], as a weight stored [out, in] has
 * them. Panels of 8 columns are fast; columns that fill no panel are written one by one.
 */
export function packColumns(matrix: Matrix, columns: Tensor, first: number): void {
  const { packed, k, n } = matrix
  const count = columns.rows
  expectFit('packColumns', columns, packed, columns.columns === k && columns.contiguous, first, count, n)
  const alone = Math.min(count, (PANEL - (first % PANEL)) % PANEL)
  const whole = Math.floor((count - alone) / PANEL) * PANEL
  packSingly(matrix, columns, 0, alone, first)
  if (whole > 0)
    packed.engine.kernels.packPanels(
      columns.address + alone * k * 4,
      packed.address + (first + alone) * k * 4,
      k,
      whole,
      1,
      k,
      PANEL * k,
    )
  packSingly(matrix, columns, alone + whole, count, first)
}

/** Rows [from, to) of `columns`, whose row 0 is column `first`, into panels that other columns share. */
function packSingly({ packed, k }: Matrix, columns: Tensor, from: number, to: number, first: number): void {
  if (packed.engine.rehearses) return
  const buffer = packed.engine.memory.buffer
  for (let row = from; row < to; row++) {
    const lane = (first + row) % PANEL
    const source = new Float32Array(buffer, columns.address + row * k * 4, k)
    const panel = new Float32Array(buffer, packed.address + (first + row - lane) * k * 4, k * PANEL)
    for (let p = 0; p < k; p++) panel[p * PANEL + lane] = source[p] as number
  }
}

/**
 * Lines [first, first + count) of a matrix: `lines` is [count, n], as a weight stored [in, out] has them, or a view of
 * some columns of wider lines.
 */
export function packLines(matrix: Matrix, lines: Tensor, first: number): void {
  const { packed, k, n } = matrix
  const count = lines.rows
  expectFit('packLines', lines, packed, lines.columns === n, first, count, k)
  if (count === 0) return
  const at = packed.address + first * PANEL * 4
  packed.engine.kernels.packPanels(lines.address, at, count, n, lines.rowStride, 1, PANEL * k)
}

/** Overwrites the elements of `to` from `first` on with all of `from`, both f32 and contiguous, within the memory. */
export function copyValues(to: Tensor, from: Tensor, first: number): void {
  expectFit('copyValues', from, to, from.contiguous && to.contiguous, first, from.size, to.size)
  if (to.engine.rehearses) return
  const at = to.address + first * 4
  new Uint8Array(to.engine.memory.buffer).copyWithin(at, from.address, from.address + from.size * 4)
}

function expectFit(
  operation: string,
  x: Tensor,
  target: Tensor,
  fits: boolean,
  first: number,
  count: number,
  of: number,
): void {
  if (x.engine !== target.engine)
    throw new OperandError(`${operation}: ${describe(x)} belongs to another engine than where it goes`)
  if (!fits || x.dtype !== 'f32' || !(Number.isInteger(first) && first >= 0 && first + count <= of))
    throw new OperandError(`${operation}: ${describe(x)} from ${first} does not fit the ${of} there are`)
}
