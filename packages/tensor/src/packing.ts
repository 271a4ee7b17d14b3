/**
 * Packing a weight matrix piece by piece, as its values come from a file; `pack` does it at once. Values are packed as
 * f32, and panels of them stored in the matrix's own form.
 */
import { PANEL, paddedK } from '@prismal/kernels/catalogue'
import { OperandError, RangeOfFormatError } from './errors.js'
import type { Matrix } from './matrix.js'
import { describe, type Tensor } from './tensor.js'

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

/**
 * Stores f32 `panels` in a matrix of another form, from its panel number `first` on: whole panels, but for the last ones
 * of the matrix. Throws {@link RangeOfFormatError} for a value that the form cannot hold.
 */
export function storePanels(panels: Matrix, matrix: Matrix, first: number): void {
  const { k, n, packed, scales, sums, precision } = matrix
  const count = Math.ceil(panels.n / PANEL)
  const fits = panels.k === k && first * PANEL + panels.n <= n && panels.precision === 'f32' && precision !== 'f32'
  if (!fits || packed.engine !== panels.packed.engine)
    throw new OperandError(
      `storePanels: f32 [${panels.k},${panels.n}] from panel ${first} does not fit ${precision} [${k},${n}]`,
    )
  const { kernels } = packed.engine
  const from = panels.packed.address
  if (precision === 'f16') {
    const bad = kernels.f32ToF16(from, packed.address + first * PANEL * k * 2, count * PANEL * k)
    if (bad > 0)
      throw new RangeOfFormatError(
        'f16 holds finite values up to ±65504; a weight does not fit. Store the matrix as f32 or q8',
      )
    return
  }
  const at = packed.address + first * PANEL * paddedK(k)
  const [s, t] = [scales, sums].map(x => (x as Tensor).address + first * PANEL * 4) as [number, number]
  kernels.quantisePanels(from, at, s, t, k, count * PANEL)
}

/** Multiplies column j of a q8 matrix by `factors[j]`, of which there are n. Throws {@link OperandError} for any other. */
export function scaleColumns({ packed, scales, n, precision }: Matrix, factors: Float32Array): void {
  if (!scales || factors.length !== n)
    throw new OperandError(`scaleColumns: ${factors.length} factors do not fit a ${precision} matrix of ${n} columns`)
  const { engine } = packed
  if (engine.rehearses) return
  const own = new Float32Array(engine.memory.buffer, scales.address, n)
  for (let j = 0; j < n; j++) own[j] = (own[j] as number) * (factors[j] as number)
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
