/**
 * Operations on tensors: each validates its operands, then calls the backend's kernel. The result belongs to the scope
 * of the first operand, unless an `out` is given. Shapes as [rows, columns].
 */
import { ACTIVATIONS, type Activation, PANEL } from '@prismal/kernels/catalogue'
import type { Engine } from './engine.js'
import { OperandError, RangeOfFormatError } from './errors.js'
import { emptyMatrix, gatherColumns, type Matrix, multiply, type Precision } from './matrix.js'
import { storePanels } from './packing.js'
import { type Dtype, describe, type Scope, type Tensor } from './tensor.js'

export interface LinearOptions {
  readonly activation?: Activation
  /** Added after the activation, [m, n]. */
  readonly residual?: Tensor
  /** Where the result goes, [m, n]; may be `residual`, and must not lie in the memory of x. */
  readonly out?: Tensor
}

const fail = (operation: string, message: string): never => {
  throw new OperandError(`${operation}: ${message}`)
}
const expect = (operation: string, x: Tensor, dtype: Dtype): void => {
  if (x.dtype !== dtype) fail(operation, `${describe(x)} is given where ${dtype} is needed`)
  if (!x.contiguous) fail(operation, `${describe(x)} is a view of columns; copy it first`)
}
const expectShape = (operation: string, what: string, x: Tensor, rows: number, columns: number): void => {
  if (x.rows !== rows || x.columns !== columns || x.dtype !== 'f32')
    fail(operation, `${what} is ${describe(x)} where f32 [${rows},${columns}] is needed`)
}
/** Whether two f32 tensors have an element of memory in common. */
function overlap(x: Tensor, y: Tensor): boolean {
  if (x.size === 0 || y.size === 0) return false
  const end = (t: Tensor): number => t.address + ((t.rows - 1) * t.rowStride + t.columns) * 4
  if (x.address >= end(y) || y.address >= end(x)) return false
  if (x.rowStride !== y.rowStride) return true
  // Columns of the same rows, side by side.
  const [left, right] = x.address <= y.address ? [x, y] : [y, x]
  const apart = ((right.address - left.address) / 4) % left.rowStride
  return apart < left.columns || apart + right.columns > left.rowStride
}
/** Addresses mean something in one engine's memory only; a rehearsal's kernels look at none. */
const expectOneEngine = (operation: string, first: { engine: Engine }, ...others: (Tensor | undefined)[]): void => {
  for (const x of others)
    if (x && !first.engine.reaches(x.engine))
      fail(operation, `${describe(x)} belongs to another engine than the first operand`)
}

/**
 * Packs B for {@link linear}. `layout` says how `b` lies: `'in,out'` is [k, n] (Conv1D), `'out,in'` is [n, k] (Linear).
 * The result belongs to `scope`. Throws {@link RangeOfFormatError} for a value that `precision` cannot hold.
 */
export function pack(
  scope: Scope,
  b: Tensor,
  layout: 'in,out' | 'out,in',
  bias?: Tensor,
  precision: Precision = 'f32',
): Matrix {
  expect('pack', b, 'f32')
  const [k, n] = layout === 'in,out' ? [b.rows, b.columns] : [b.columns, b.rows]
  if (bias) expectShape('pack', 'bias', bias.reshape([1, bias.size]), 1, n)
  expectOneEngine('pack', scope, b, bias)
  const step = scope.child()
  try {
    const matrix = emptyMatrix(step, k, n, bias, precision)
    const panels = precision === 'f32' ? matrix : emptyMatrix(step, k, n)
    const [rowStride, columnStride] = layout === 'in,out' ? [n, 1] : [1, k]
    scope.engine.kernels.packPanels(b.address, panels.packed.address, k, n, rowStride, columnStride, PANEL * k)
    if (panels !== matrix) storePanels(panels, matrix, 0)
    for (const tensor of [matrix.packed, matrix.scales, matrix.sums]) tensor?.moveTo(scope)
    return matrix
  } finally {
    step.dispose()
  }
}

/** activation(x [m, k] · B [k, n] + bias) + residual → [m, n]. Counts 2·m·n·k operations. */
export function linear(x: Tensor, matrix: Matrix, options: LinearOptions = {}): Tensor {
  const { activation = 'none', residual } = options
  if (!ACTIVATIONS.includes(activation))
    fail('linear', `activation ${JSON.stringify(activation)} is not one of ${ACTIVATIONS.join(', ')}`)
  if (x.dtype !== 'f32') fail('linear', `${describe(x)} is given where f32 is needed`)
  if (x.columns !== matrix.k) fail('linear', `inner dimensions differ: [${x.shape}] × [${matrix.k},${matrix.n}]`)
  const m = x.rows
  if (residual) expectShape('linear', 'residual', residual, m, matrix.n)
  if (options.out) expectShape('linear', 'out', options.out, m, matrix.n)
  expectOneEngine('linear', x, matrix.packed, matrix.bias, residual, options.out)
  if (options.out && overlap(x, options.out)) fail('linear', `out ${describe(options.out)} overlaps x ${describe(x)}`)
  const out = options.out ?? x.scope.empty([m, matrix.n])
  multiply(x, matrix, { residual, out, activation })
  x.scope.meter?.count(2 * m * matrix.n * matrix.k)
  return out
}

/** a [m, k] · b [k, n] → [m, n], for a right-hand side that is not a weight: it is packed for this one product. */
export function matmul(a: Tensor, b: Tensor): Tensor {
  if (a.columns !== b.rows) fail('matmul', `inner dimensions differ: [${a.shape}] × [${b.shape}]`)
  if (a.dtype !== 'f32') fail('matmul', `${describe(a)} is given where f32 is needed`)
  const matrix = pack(a.scope, b, 'in,out')
  try {
    return linear(a, matrix)
  } finally {
    matrix.packed.dispose()
  }
}

/** The inner products of the rows of x [m, k] with each other, x·xᵀ → [m, m]. Counts 2·m·m·k operations. */
export function innerProducts(x: Tensor): Tensor {
  const matrix = pack(x.scope, x, 'out,in')
  try {
    return linear(x, matrix)
  } finally {
    matrix.packed.dispose()
  }
}

/** (x − mean) / √(variance + eps) · gain + bias, row by row. gain and bias have as many elements as x has columns. */
export function layerNorm(x: Tensor, gain: Tensor, bias: Tensor, eps: number): Tensor {
  expect('layerNorm', x, 'f32')
  for (const w of [gain, bias])
    if (w.size !== x.columns || w.dtype !== 'f32' || !w.contiguous)
      fail('layerNorm', `${describe(w)} does not fit the ${x.columns} columns of ${describe(x)}`)
  expectOneEngine('layerNorm', x, gain, bias)
  const out = x.scope.empty(x.shape)
  x.engine.kernels.layerNorm(x.address, gain.address, bias.address, out.address, x.rows, x.columns, eps)
  return out
}

/** exp(x − max) / sum, row by row. */
export function softmax(x: Tensor): Tensor {
  expect('softmax', x, 'f32')
  const out = x.scope.empty(x.shape)
  x.engine.kernels.softmax(x.address, out.address, x.rows, x.columns)
  return out
}

const elementwise =
  (name: 'gelu' | 'geluTanh' | 'tanh' | 'relu') =>
  (x: Tensor): Tensor => {
    expect(name, x, 'f32')
    const out = x.scope.empty(x.shape)
    x.engine.kernels[name](x.address, out.address, x.size)
    return out
  }
/** x·Φ(x), element by element: GELU in its erf form. */
export const gelu = elementwise('gelu')
/** GELU in its tanh form, element by element. */
export const geluTanh = elementwise('geluTanh')
/** tanh(x), element by element. */
export const tanh = elementwise('tanh')
/** max(x, 0), element by element. */
export const relu = elementwise('relu')

/** x + y, of the same shape. */
export function add(x: Tensor, y: Tensor): Tensor {
  expect('add', x, 'f32')
  expect('add', y, 'f32')
  expectShape('add', 'the second operand', y, x.rows, x.columns)
  expectOneEngine('add', x, y)
  const out = x.scope.empty(x.shape)
  x.engine.kernels.add(x.address, y.address, out.address, x.size)
  return out
}

/** x [m, n] → [n, m]. */
export function transpose(x: Tensor): Tensor {
  expect('transpose', x, 'f32')
  const out = x.scope.empty([x.columns, x.rows])
  x.engine.kernels.transpose(x.address, out.address, x.rows, x.columns)
  return out
}

/**
 * Rows of `table` [t, width], or columns of a packed matrix [width, t], at `ids` → [ids, width]. The result belongs to
 * `scope`. Throws {@link OperandError} naming the first id outside 0…t−1.
 */
export function gather(scope: Scope, table: Tensor | Matrix, ids: ArrayLike<number>): Tensor {
  const isMatrix = 'packed' in table
  const [count, width] = isMatrix ? [table.n, table.k] : [table.rows, table.columns]
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number
    if (!(Number.isInteger(id) && id >= 0 && id < count))
      fail('gather', `index ${id} (number ${i}) is outside the table's ${count} rows`)
  }
  if (!isMatrix) expect('gather', table, 'f32')
  expectOneEngine('gather', scope, isMatrix ? table.packed : table)
  const indices = scope.tensor(Int32Array.from(ids), [ids.length])
  const out = scope.empty([ids.length, width])
  const { kernels } = scope.engine
  if (isMatrix) gatherColumns(table, indices, out)
  else kernels.gather(table.address, indices.address, out.address, count, ids.length, width)
  indices.dispose()
  return out
}

/** A run of rows [from, to). */
export type Run = readonly [from: number, to: number]

/** The column means of each run of rows of x [m, D] → [runs, D] (PRISM's Z_p; a run of one row is that row). */
export function segmentMeans(x: Tensor, runs: readonly Run[]): Tensor {
  expect('segmentMeans', x, 'f32')
  for (const [from, to] of runs)
    if (!(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from < to && to <= x.rows))
      fail('segmentMeans', `run ${from}…${to} is empty or outside the ${x.rows} rows`)
  const bounds = x.scope.tensor(Int32Array.from(runs.flat()), [runs.length, 2])
  const out = x.scope.empty([runs.length, x.columns])
  x.engine.kernels.segmentMeans(x.address, bounds.address, out.address, x.rows, runs.length, x.columns)
  bounds.dispose()
  return out
}

/** f16 → f32, exactly, into `out` of the same size. Without it the result belongs to `scope`. */
export function fromF16(scope: Scope, x: Tensor, out = scope.empty(x.shape)): Tensor {
  expect('fromF16', x, 'f16')
  expect('fromF16', out, 'f32')
  if (out.size !== x.size) fail('fromF16', `${describe(out)} has not the size of ${describe(x)}`)
  expectOneEngine('fromF16', scope, x, out)
  scope.engine.kernels.f16ToF32(x.address, out.address, x.size)
  return out
}

/** bfloat16, given as the bits of a 16-bit tensor, → f32, exactly, into `out`. Without it the result belongs to `scope`. */
export function fromBf16(scope: Scope, x: Tensor, out = scope.empty(x.shape)): Tensor {
  expect('fromBf16', x, 'f16')
  expect('fromBf16', out, 'f32')
  if (out.size !== x.size) fail('fromBf16', `${describe(out)} has not the size of ${describe(x)}`)
  expectOneEngine('fromBf16', scope, x, out)
  scope.engine.kernels.bf16ToF32(x.address, out.address, x.size)
  return out
}

/** int8 codes → f32, exactly, into `out` of the same size. Without it the result belongs to `scope`. */
export function fromI8(scope: Scope, x: Tensor, out = scope.empty(x.shape)): Tensor {
  expect('fromI8', x, 'i8')
  expect('fromI8', out, 'f32')
  if (out.size !== x.size) fail('fromI8', `${describe(out)} has not the size of ${describe(x)}`)
  expectOneEngine('fromI8', scope, x, out)
  const one = scope.tensor([1], [1])
  scope.engine.kernels.dequantiseRows(x.address, one.address, out.address, 1, x.size)
  one.dispose()
  return out
}

/** f32 → f16, rounded to nearest even. Throws {@link RangeOfFormatError} naming the first value beyond ±65504. */
export function toF16(x: Tensor): Tensor {
  expect('toF16', x, 'f32')
  const out = x.scope.empty(x.shape, 'f16')
  const bad = x.engine.kernels.f32ToF16(x.address, out.address, x.size)
  if (bad > 0) {
    const value = x.floats()[bad - 1]
    const [row, column] = [Math.floor((bad - 1) / x.columns), (bad - 1) % x.columns]
    out.dispose()
    throw new RangeOfFormatError(
      `f16 holds finite values up to ±65504; ${value} at row ${row}, column ${column} does not fit`,
    )
  }
  return out
}

/** int8 codes [m, D] and one f32 scale a row [m], scale = max|row| / 127. Throws {@link RangeOfFormatError} at a row that is not finite. */
export function quantiseRows(x: Tensor): { codes: Tensor; scales: Tensor } {
  expect('quantiseRows', x, 'f32')
  const codes = x.scope.empty(x.shape, 'i8')
  const scales = x.scope.empty([x.rows])
  const bad = x.engine.kernels.quantiseRows(x.address, codes.address, scales.address, x.rows, x.columns)
  if (bad > 0) {
    codes.dispose()
    scales.dispose()
    throw new RangeOfFormatError(`int8 needs finite values; row ${bad - 1} of ${describe(x)} has others`)
  }
  return { codes, scales }
}

/** The inverse: codes · scale of the row → f32 [m, D]. */
export function dequantiseRows(codes: Tensor, scales: Tensor): Tensor {
  expect('dequantiseRows', codes, 'i8')
  expect('dequantiseRows', scales, 'f32')
  if (scales.size !== codes.rows) fail('dequantiseRows', `${scales.size} scales for the rows of ${describe(codes)}`)
  expectOneEngine('dequantiseRows', codes, scales)
  const out = codes.scope.empty(codes.shape)
  codes.engine.kernels.dequantiseRows(codes.address, scales.address, out.address, codes.rows, codes.columns)
  return out
}
