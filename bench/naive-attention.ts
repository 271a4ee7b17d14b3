/** Softmax attention as one would write it down: the baseline that the kernels are measured against. */

export interface AttentionShape {
  /** N, queries and keys. */
  readonly rows: number
  /** H. */
  readonly heads: number
  /** d. */
  readonly headWidth: number
  /** Query i sees keys 0…i only. */
  readonly causal: boolean
}

/**
 * q, k, v [N, H·d] → out [N, H·d], scores scaled by 1/√d. Sums are float64. Allocates nothing: `scores` takes N values
 * and `sums` d.
 */
export function naiveAttention(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  out: Float32Array,
  scores: Float64Array,
  sums: Float64Array,
  { rows: N, heads: H, headWidth: d, causal }: AttentionShape,
): void {
  const D = H * d
  const scale = 1 / Math.sqrt(d)
  for (let h = 0; h < H; h++)
    for (let i = 0; i < N; i++) {
      const seen = causal ? i + 1 : N
      const query = i * D + h * d
      let largest = Number.NEGATIVE_INFINITY
      for (let j = 0; j < seen; j++) {
        const key = j * D + h * d
        let dot = 0
        for (let c = 0; c < d; c++) dot += q[query + c]! * k[key + c]!
        const score = dot * scale
        scores[j] = score
        if (score > largest) largest = score
      }
      let total = 0
      sums.fill(0)
      for (let j = 0; j < seen; j++) {
        const weight = Math.exp(scores[j]! - largest)
        const value = j * D + h * d
        total += weight
        for (let c = 0; c < d; c++) sums[c]! += weight * v[value + c]!
      }
      for (let c = 0; c < d; c++) out[query + c] = sums[c]! / total
    }
}
