/** The reference kernels over matrices stored in 16 and 8 bits, as `reference.ts` has those in f32. */
import { ACTIVATIONS, type Kernels, PANEL, paddedK, paddedN } from '@prismal/kernels/catalogue'
import type { LinearMemory } from './backend.js'
import { activations, f32BitsOfF16, nearestEven, packedIndex, spanned } from './reference-numbers.js'

type StoredKernels = Pick<
  Kernels,
  'gemmF16' | 'gemmQ8' | 'quantiseOperand' | 'quantisePanels' | 'gatherPackedF16' | 'gatherQ8'
>

export function storedKernels(memory: LinearMemory): StoredKernels {
  const f32 = (address: number, length: number) => new Float32Array(memory.buffer, address, length)
  const i32 = (address: number, length: number) => new Int32Array(memory.buffer, address, length)
  const u8 = (address: number, length: number) => new Uint8Array(memory.buffer, address, length)
  const i8 = (address: number, length: number) => new Int8Array(memory.buffer, address, length)
  const half = (address: number, length: number) => {
    const bits = new Uint16Array(memory.buffer, address, length)
    const values = new Float32Array(length)
    new Uint32Array(values.buffer).set(bits.length === 0 ? [] : Array.from(bits, f32BitsOfF16))
    return values
  }

  /** C = activation(product + bias) + residual, whatever gives the product of row i and column j. */
  const finish = (
    product: (i: number, j: number) => number,
    ...[bias, residual, residualStride, c, cStride, m, n, activation]: readonly number[]
  ): number => {
    const C = f32(c!, spanned(m!, cStride!, n!))
    const added = bias === 0 ? undefined : f32(bias!, n!)
    const kept = residual === 0 ? undefined : f32(residual!, spanned(m!, residualStride!, n!))
    const activate = activations[ACTIVATIONS[activation!]!]
    for (let i = 0; i < m!; i++)
      for (let j = 0; j < n!; j++)
        C[i * cStride! + j] = activate(product(i, j) + (added?.[j] ?? 0)) + (kept?.[i * residualStride! + j] ?? 0)
    return 0
  }

  return {
    gemmF16(a, aStride, packed, bias, residual, residualStride, c, cStride, m, n, k, activation) {
      const A = f32(a, spanned(m, aStride, k))
      const B = half(packed, paddedN(n) * k)
      const product = (i: number, j: number): number => {
        let sum = 0
        for (let p = 0; p < k; p++) sum += A[i * aStride + p]! * B[packedIndex(p, j, k)]!
        return sum
      }
      return finish(product, bias, residual, residualStride, c, cStride, m, n, activation)
    },

    gemmQ8(a, quanta, packed, scales, sums, bias, residual, residualStride, c, cStride, m, n, k, activation) {
      const K = paddedK(k)
      const A = u8(a, m * K)
      const B = i8(packed, paddedN(n) * K)
      const [rows, columns, totals] = [f32(quanta, m * 2), f32(scales, paddedN(n)), i32(sums, paddedN(n))]
      const product = (i: number, j: number): number => {
        let sum = -rows[2 * i + 1]! * totals[j]!
        for (let p = 0; p < K; p++) sum += A[i * K + p]! * B[codeIndex(p, j, K)]!
        return sum * columns[j]! * rows[2 * i]!
      }
      return finish(product, bias, residual, residualStride, c, cStride, m, n, activation)
    },

    quantiseOperand(x, xStride, codes, quanta, m, k) {
      const K = paddedK(k)
      const X = f32(x, spanned(m, xStride, k))
      const to = u8(codes, m * K)
      const steps = f32(quanta, m * 2)
      for (let i = 0; i < m; i++) {
        const row = [...X.subarray(i * xStride, i * xStride + k)]
        const least = row.reduce((a, b) => Math.min(a, b), 0)
        const range = Math.fround(row.reduce((a, b) => Math.max(a, b), 0) - least)
        const inverse = range > LEAST_RANGE && range < Number.POSITIVE_INFINITY ? Math.fround(255 / range) : 0
        const zero = rounded(-least, inverse)
        steps.set([range < Number.POSITIVE_INFINITY ? range / 255 : Number.NaN, zero], i * 2)
        for (let p = 0; p < K; p++) to[i * K + p] = Math.max(0, Math.min(255, rounded(row[p] ?? 0, inverse) + zero))
      }
      return 0
    },

    quantisePanels(panels, packed, scales, sums, k, n) {
      const [N, K] = [paddedN(n), paddedK(k)]
      const from = f32(panels, N * k).slice()
      const to = i8(packed, N * K).fill(0)
      const [steps, totals] = [f32(scales, N), i32(sums, N)]
      for (let j = 0; j < N; j++) {
        const column = Array.from({ length: k }, (_, p) => from[packedIndex(p, j, k)]!)
        const most = largest(column)
        const inverse = inverseOf(most)
        steps[j] = most / 127
        const codes = column.map(value => rounded(value, inverse))
        for (const [p, code] of codes.entries()) to[codeIndex(p, j, K)] = code
        totals[j] = codes.reduce((a, b) => a + b, 0)
      }
      return 0
    },

    gatherPackedF16(packed, ids, out, m, n, k) {
      const B = half(packed, paddedN(n) * k)
      const [columns, to] = [i32(ids, m), f32(out, m * k)]
      for (let i = 0; i < m; i++) for (let p = 0; p < k; p++) to[i * k + p] = B[packedIndex(p, columns[i]!, k)]!
      return 0
    },

    gatherQ8(packed, scales, ids, out, m, n, k) {
      const K = paddedK(k)
      const [B, steps] = [i8(packed, paddedN(n) * K), f32(scales, paddedN(n))]
      const [columns, to] = [i32(ids, m), f32(out, m * k)]
      for (let i = 0; i < m; i++)
        for (let p = 0; p < k; p++) to[i * k + p] = B[codeIndex(p, columns[i]!, K)]! * steps[columns[i]!]!
      return 0
    },
  }
}

/** Where code (p, j) lies in panels [⌈n/8⌉][K/4][8][4], K being k padded. */
const codeIndex = (p: number, j: number, K: number): number =>
  Math.floor(j / PANEL) * PANEL * K + Math.floor(p / 4) * 4 * PANEL + (j % PANEL) * 4 + (p % 4)

/** max|x|, NaN where one is NaN. */
const largest = (x: ArrayLike<number>): number => {
  let most = 0
  for (let i = 0; i < x.length; i++) most = Math.max(most, Math.abs(x[i]!))
  return most
}

/** Ranges below it are taken for 0: the factor to codes would not be finite. */
const LEAST_RANGE = Math.fround(1e-36)

/** 127 / most in f32; 0 for what no code can stand for. */
const inverseOf = (most: number): number =>
  most > LEAST_RANGE && most < Number.POSITIVE_INFINITY ? Math.fround(127 / most) : 0

/** rint(value · inverse), the product rounded to f32. */
const rounded = (value: number, inverse: number): number =>
  inverse === 0 ? 0 : nearestEven(Math.fround(value * inverse)) + 0 // never −0
