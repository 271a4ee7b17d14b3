/**
 * The reference backend: what every kernel of the catalogue means, in plain TypeScript that accumulates in float64 and
 * rounds once when it stores. Other backends are tested against it; it also runs where WebAssembly SIMD is missing.
 */
import { ACTIVATIONS, type Kernels, PANEL } from '@prismal/kernels/catalogue'
import type { LinearMemory } from './backend.js'
import { activations, f16BitsOf, f32BitsOfF16, nearestEven, packedIndex, spanned } from './reference-numbers.js'
import { storedKernels } from './reference-stored.js'

/** The largest finite f32, negated: the running maximum of a query row that has seen no key. */
const LOWEST = -3.4028234663852886e38

/**
 * The catalogue's kernels over `memory`. Addresses are byte offsets into `memory.buffer`, aligned to their element;
 * address 0 stands for an optional buffer that is absent. Views are made per call, so memory may grow between calls.
 */
export function referenceKernels(memory: LinearMemory): Kernels {
  const f32 = (address: number, length: number) => new Float32Array(memory.buffer, address, length)
  const i32 = (address: number, length: number) => new Int32Array(memory.buffer, address, length)
  const u32 = (address: number, length: number) => new Uint32Array(memory.buffer, address, length)
  const u16 = (address: number, length: number) => new Uint16Array(memory.buffer, address, length)
  const i8 = (address: number, length: number) => new Int8Array(memory.buffer, address, length)
  const optionalF32 = (address: number, length: number) => (address === 0 ? undefined : f32(address, length))
  const optionalI32 = (address: number, length: number) => (address === 0 ? undefined : i32(address, length))

  const each = (f: (x: number) => number) => (x: number, out: number, count: number) => {
    const from = f32(x, count)
    const to = f32(out, count)
    for (let i = 0; i < count; i++) to[i] = f(from[i]!)
    return 0
  }

  return {
    ...storedKernels(memory),

    packPanels(b, packed, k, n, rowStride, columnStride, panelStride) {
      const panels = Math.ceil(n / PANEL)
      const from = f32(b, spanned(k, rowStride, spanned(n, columnStride, 1)))
      const to = f32(packed, spanned(panels, panelStride, k * PANEL))
      for (let p = 0; p < k; p++) {
        for (let j = 0; j < panels * PANEL; j++) {
          const at = Math.floor(j / PANEL) * panelStride + p * PANEL + (j % PANEL)
          to[at] = j < n ? from[p * rowStride + j * columnStride]! : 0
        }
      }
      return 0
    },

    gemm(a, aStride, packed, bias, residual, residualStride, c, cStride, m, n, k, activation) {
      const A = f32(a, spanned(m, aStride, k))
      const B = f32(packed, Math.ceil(n / PANEL) * PANEL * k)
      const C = f32(c, spanned(m, cStride, n))
      const added = optionalF32(bias, n)
      const kept = optionalF32(residual, spanned(m, residualStride, n))
      const activate = activations[ACTIVATIONS[activation]!]
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0
          for (let p = 0; p < k; p++) sum += A[i * aStride + p]! * B[packedIndex(p, j, k)]!
          C[i * cStride + j] = activate(sum + (added?.[j] ?? 0)) + (kept?.[i * residualStride + j] ?? 0)
        }
      }
      return 0
    },

    attentionBegin(state, weighted, n, H, d) {
      const running = f32(state, n * H * 2)
      for (let i = 0; i < n * H; i++) running.set([LOWEST, 0], i * 2)
      f32(weighted, n * H * d).fill(0)
      return 0
    },

    attentionFold(
      q,
      qStride,
      keys,
      kStride,
      values,
      vStride,
      logGain,
      visible,
      state,
      weighted,
      _scratch,
      n,
      m,
      H,
      d,
      scale,
      headFrom,
      headTo,
    ) {
      const Q = f32(q, spanned(n, qStride, H * d))
      const K = f32(keys, spanned(m, kStride, H * d))
      const V = f32(values, spanned(m, vStride, H * d))
      const gains = optionalF32(logGain, m)
      const seen = optionalI32(visible, n)
      const running = f32(state, n * H * 2) // [n, H, (maximum, sum)]
      const W = f32(weighted, n * H * d)
      const scores = new Float64Array(m)
      for (let i = 0; i < n; i++) {
        const mine = Math.min(seen?.[i] ?? m, m)
        for (let h = headFrom; h < headTo; h++) {
          const row = i * H + h
          const before = running[row * 2]!
          let maximum = before
          for (let j = 0; j < mine; j++) {
            let dot = 0
            for (let e = 0; e < d; e++) dot += Q[i * qStride + h * d + e]! * K[j * kStride + h * d + e]!
            scores[j] = dot * scale + (gains?.[j] ?? 0)
            maximum = Math.max(maximum, Math.fround(scores[j]!))
          }
          const rescale = Math.exp(before - maximum)
          for (let j = 0; j < mine; j++) scores[j] = Math.exp(scores[j]! - maximum)
          let sum = running[row * 2 + 1]! * rescale
          for (let j = 0; j < mine; j++) sum += scores[j]!
          running[row * 2] = maximum
          running[row * 2 + 1] = sum
          for (let e = 0; e < d; e++) {
            let total = W[row * d + e]! * rescale
            for (let j = 0; j < mine; j++) total += scores[j]! * V[j * vStride + h * d + e]!
            W[row * d + e] = total
          }
        }
      }
      return 0
    },

    attentionEnd(state, weighted, out, n, H, d) {
      const running = f32(state, n * H * 2)
      const W = f32(weighted, n * H * d)
      const to = f32(out, n * H * d)
      for (let row = 0; row < n * H; row++) {
        const sum = running[row * 2 + 1]!
        for (let e = 0; e < d; e++) to[row * d + e] = sum > 0 ? W[row * d + e]! / sum : 0
      }
      return 0
    },

    segmentMeans(x, runs, out, m, r, width) {
      const X = f32(x, m * width)
      const bounds = i32(runs, r * 2) // [r, (from, to)]
      const to = f32(out, r * width)
      for (let s = 0; s < r; s++) {
        const first = bounds[s * 2]!
        const end = bounds[s * 2 + 1]!
        for (let e = 0; e < width; e++) {
          let sum = 0
          for (let i = first; i < end; i++) sum += X[i * width + e]!
          to[s * width + e] = sum / (end - first)
        }
      }
      return 0
    },

    layerNorm(x, gain, bias, out, m, width, eps) {
      const X = f32(x, m * width)
      const G = f32(gain, width)
      const B = f32(bias, width)
      const to = f32(out, m * width)
      for (let i = 0; i < m; i++) {
        const row = X.subarray(i * width, (i + 1) * width)
        const mean = row.reduce((sum, value) => sum + value, 0) / width
        const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width
        const inverse = 1 / Math.sqrt(variance + eps)
        for (let e = 0; e < width; e++) to[i * width + e] = (X[i * width + e]! - mean) * inverse * G[e]! + B[e]!
      }
      return 0
    },

    softmax(x, out, m, width) {
      const X = f32(x, m * width)
      const to = f32(out, m * width)
      for (let i = 0; i < m; i++) {
        const row = X.subarray(i * width, (i + 1) * width)
        const maximum = row.reduce((a, b) => Math.max(a, b), -Infinity)
        const weights = Float64Array.from(row, value => Math.exp(value - maximum))
        const sum = weights.reduce((a, b) => a + b, 0)
        for (let e = 0; e < width; e++) to[i * width + e] = weights[e]! / sum
      }
      return 0
    },

    gelu: each(activations.gelu),
    geluTanh: each(activations['gelu-tanh']),
    tanh: each(activations.tanh),
    relu: each(activations.relu),

    add(x, y, out, count) {
      const X = f32(x, count)
      const Y = f32(y, count)
      const to = f32(out, count)
      for (let i = 0; i < count; i++) to[i] = X[i]! + Y[i]!
      return 0
    },

    gather(table, ids, out, _t, m, width) {
      const rows = i32(ids, m)
      const to = f32(out, m * width)
      for (let i = 0; i < m; i++) to.set(f32(table + rows[i]! * width * 4, width), i * width)
      return 0
    },

    gatherPacked(packed, ids, out, m, n, k) {
      const B = f32(packed, Math.ceil(n / PANEL) * PANEL * k)
      const columns = i32(ids, m)
      const to = f32(out, m * k)
      for (let i = 0; i < m; i++) {
        for (let p = 0; p < k; p++) to[i * k + p] = B[packedIndex(p, columns[i]!, k)]!
      }
      return 0
    },

    transpose(x, out, m, n) {
      const X = f32(x, m * n)
      const to = f32(out, n * m)
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) to[j * m + i] = X[i * n + j]!
      }
      return 0
    },

    f16ToF32(x, out, count) {
      const from = u16(x, count)
      const to = u32(out, count) // as bits, so that a NaN keeps its payload
      for (let i = 0; i < count; i++) to[i] = f32BitsOfF16(from[i]!)
      return 0
    },

    bf16ToF32(x, out, count) {
      const from = u16(x, count)
      const to = u32(out, count)
      for (let i = 0; i < count; i++) to[i] = from[i]! << 16
      return 0
    },

    f32ToF16(x, out, count) {
      const from = f32(x, count)
      const to = u16(out, count)
      let first = 0
      for (let i = 0; i < count; i++) {
        to[i] = f16BitsOf(from[i]!)
        if (first === 0 && (to[i]! & 0x7c00) === 0x7c00) first = i + 1
      }
      return first
    },

    quantiseRows(x, codes, scales, m, width) {
      const X = f32(x, m * width)
      const q = i8(codes, m * width)
      const steps = f32(scales, m)
      let first = 0
      for (let i = 0; i < m; i++) {
        const row = X.subarray(i * width, (i + 1) * width)
        const largest = row.reduce((a, b) => Math.max(a, Math.abs(b)), 0)
        const finite = Number.isFinite(largest)
        const step = finite ? Math.fround(largest / 127) || 1 : 1
        steps[i] = step
        for (let e = 0; e < width; e++) {
          q[i * width + e] = finite ? Math.max(-127, Math.min(127, nearestEven(row[e]! / step))) : 0
        }
        if (!finite && first === 0) first = i + 1
      }
      return first
    },

    dequantiseRows(codes, scales, out, m, width) {
      const q = i8(codes, m * width)
      const steps = f32(scales, m)
      const to = f32(out, m * width)
      for (let i = 0; i < m * width; i++) to[i] = q[i]! * steps[Math.floor(i / width)]!
      return 0
    },
  }
}
