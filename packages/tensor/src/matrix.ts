/** Weight matrices, in the forms that they may be stored in, and the kernels that multiply by them. */
import { ACTIVATIONS, type Activation, PANEL, packedLength, paddedK, paddedN } from '@prismal/kernels/catalogue'
import { OperandError } from './errors.js'
import { describe, type Scope, type Tensor } from './tensor.js'

/**
 * How a matrix is stored: `f32`; `f16`, finite binary16 values; `q8`, 8-bit codes with one scale a column, multiplied by
 * 8-bit codes that each row of the left operand gets when it is used.
 */
export type Precision = 'f32' | 'f16' | 'q8'
/** From the most exact to the smallest. */
export const PRECISIONS: readonly Precision[] = ['f32', 'f16', 'q8']

/** A weight matrix B [k, n] packed once for the matrix kernels, with its optional bias [n]. */
export interface Matrix {
  readonly precision: Precision
  /** Panels [⌈n/8⌉][k][8] of f32 or f16; of q8 codes [⌈n/8⌉][⌈k/4⌉][8][4]. */
  readonly packed: Tensor
  /** q8: the scale of each column, [⌈n/8⌉·8]. */
  readonly scales?: Tensor
  /** q8: the sum of each column's codes, [⌈n/8⌉·8], i32. */
  readonly sums?: Tensor
  readonly k: number
  readonly n: number
  readonly bias?: Tensor | undefined
}

/** Products of codes up to 255 and 127 are summed in 32 bits. */
const MOST_Q8_K = Math.floor((2 ** 31 - 1) / (255 * 127))

/**
 * A matrix [k, n] whose values are undefined until it was packed. Nothing is written here. Throws `MemoryError`, and
 * {@link OperandError} for a bias of another length or a k that 8-bit sums cannot hold.
 */
export function emptyMatrix(scope: Scope, k: number, n: number, bias?: Tensor, precision: Precision = 'f32'): Matrix {
  if (bias && (bias.size !== n || bias.dtype !== 'f32'))
    throw new OperandError(`matrix: bias is ${describe(bias)} where f32 [${n}] is needed`)
  if (precision === 'q8') {
    if (k > MOST_Q8_K) throw new OperandError(`matrix: k is ${k}; sums of 8-bit codes hold up to ${MOST_Q8_K}`)
    const packed = scope.empty([paddedN(n) * paddedK(k)], 'i8')
    const [scales, sums] = [scope.empty([paddedN(n)]), scope.empty([paddedN(n)], 'i32')]
    return { precision, packed, scales, sums, k, n, bias }
  }
  return { precision, packed: scope.empty([packedLength(k, n)], precision), k, n, bias }
}

/** The tensors that hold a matrix. */
export const tensorsOf = ({ packed, scales, sums, bias }: Matrix): readonly Tensor[] =>
  [packed, scales, sums, bias].filter(x => x !== undefined)

/** Where a product goes and what ends it: addresses and strides in elements, 0 for what is absent. */
interface Target {
  readonly residual: Tensor | undefined
  readonly out: Tensor
  readonly activation: Activation
}

/** out [m, n] = activation(x [m, k] · B + bias) + residual. Operands have been checked. */
export function multiply(x: Tensor, matrix: Matrix, { residual, out, activation }: Target): void {
  const { packed, scales, sums, bias, k, n, precision } = matrix
  const { kernels, mostThreads, tileRows: tile } = x.engine
  const { scope, rows: m } = x
  const [z, zStride] = [residual?.address ?? 0, residual?.rowStride ?? 0]
  const [b, y, yStride, f] = [bias?.address ?? 0, out.address, out.rowStride, ACTIVATIONS.indexOf(activation)]
  if (precision === 'f32') {
    kernels.gemm(x.address, x.rowStride, packed.address, b, z, zStride, y, yStride, m, n, k, f, tile)
  } else if (precision === 'f16') {
    const scratch = scope.empty([mostThreads * PANEL * k])
    const s = scratch.address
    kernels.gemmF16(x.address, x.rowStride, packed.address, b, z, zStride, y, yStride, m, n, k, f, tile, s)
    scratch.dispose()
  } else {
    const codes = scope.empty([m, paddedK(k)], 'u8')
    const quanta = scope.empty([m, 2])
    kernels.quantiseOperand(x.address, x.rowStride, codes.address, quanta.address, m, k)
    const [a, q, c, t] = [codes.address, quanta.address, (scales as Tensor).address, (sums as Tensor).address]
    kernels.gemmQ8(a, q, packed.address, c, t, b, z, zStride, y, yStride, m, n, k, f)
    quanta.dispose()
    codes.dispose()
  }
}

/** out [m, k] = the columns of B named by `ids` (i32 [m]), as f32. Operands have been checked. */
export function gatherColumns({ packed, scales, k, n, precision }: Matrix, ids: Tensor, out: Tensor): void {
  const { kernels } = out.engine
  const [b, i, y, m] = [packed.address, ids.address, out.address, ids.size]
  if (precision === 'f32') kernels.gatherPacked(b, i, y, m, n, k)
  else if (precision === 'f16') kernels.gatherPackedF16(b, i, y, m, n, k)
  else kernels.gatherQ8(b, (scales as Tensor).address, i, y, m, n, k)
}
