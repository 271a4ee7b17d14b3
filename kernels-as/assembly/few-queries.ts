// Attention of one query row, as when decoding: keys and values are read where they lie, each once. The same sums in the
// same order as a tile of packed keys gives.
import { Lanes } from './lanes'
import { partLength, STORE } from './tile'

export abstract class FewQueries {
  /** Whether heads of width d can be read so: in vectors, with no part of a sum beginning within one. */
  @inline static take(d: i32): bool {
    return (d & 3) == 0 && (partLength(STORE, d) & 3) == 0
  }

  /** scores [⌈seen/4⌉·4] = q [d] · keys, `kRow` bytes apart; what exceeds `seen` repeats the last key. */
  static score(q: usize, keys: usize, kRow: usize, d: i32, scores: usize, seen: i32): void {
    const end = (<usize>d) << 2
    const part = (<usize>partLength(STORE, d)) << 2
    const last = keys + <usize>(seen - 1) * kRow
    for (let j = 0; j < seen; j += 8) {
      // Two groups of four keys: two chains, and eight streams of memory.
      const a0 = keys
      const a1 = min(a0 + kRow, last)
      const a2 = min(a1 + kRow, last)
      const a3 = min(a2 + kRow, last)
      const b0 = min(a3 + kRow, last)
      const b1 = min(b0 + kRow, last)
      const b2 = min(b1 + kRow, last)
      const b3 = min(b2 + kRow, last)
      let low = Lanes.zero()
      let high = Lanes.zero()
      for (let from: usize = 0; from < end; from += part) {
        const stop = min(from + part, end)
        let l = Lanes.zero()
        let h = Lanes.zero()
        for (let e = from; e < stop; e += 16) {
          const x = v128.load(q + e)
          l = FewQueries.four(x, v128.load(a0 + e), v128.load(a1 + e), v128.load(a2 + e), v128.load(a3 + e), l)
          h = FewQueries.four(x, v128.load(b0 + e), v128.load(b1 + e), v128.load(b2 + e), v128.load(b3 + e), h)
        }
        low = f32x4.add(low, l)
        high = f32x4.add(high, h)
      }
      v128.store(scores, low)
      v128.store(scores, high, 16)
      scores += 32
      keys = b3 + kRow
    }
  }

  /** sums of four keys, one a lane, + their next four products with x, one after another. */
  @inline static four(x: v128, a: v128, b: v128, c: v128, d: v128, sums: v128): v128 {
    const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5)
    const cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5)
    const AB = v128.shuffle<f32>(a, b, 2, 6, 3, 7)
    const CD = v128.shuffle<f32>(c, d, 2, 6, 3, 7)
    sums = Lanes.madd(v128.shuffle<f32>(x, x, 0, 0, 0, 0), v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), sums)
    sums = Lanes.madd(v128.shuffle<f32>(x, x, 1, 1, 1, 1), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7), sums)
    sums = Lanes.madd(v128.shuffle<f32>(x, x, 2, 2, 2, 2), v128.shuffle<f32>(AB, CD, 0, 1, 4, 5), sums)
    return Lanes.madd(v128.shuffle<f32>(x, x, 3, 3, 3, 3), v128.shuffle<f32>(AB, CD, 2, 3, 6, 7), sums)
  }

  /** to [d] = to · rescale + weights [seen] · values, `vRow` bytes apart. */
  static sum(weights: usize, values: usize, vRow: usize, seen: i32, d: i32, to: usize, rescale: f32): void {
    const factor = f32x4.splat(rescale)
    const end = weights + ((<usize>seen) << 2)
    let e = 0
    for (; e + 32 <= d; e += 32) {
      let s0 = Lanes.zero()
      let s1 = Lanes.zero()
      let s2 = Lanes.zero()
      let s3 = Lanes.zero()
      let s4 = Lanes.zero()
      let s5 = Lanes.zero()
      let s6 = Lanes.zero()
      let s7 = Lanes.zero()
      let v = values
      for (let w = weights; w < end; w += 4) {
        const x = v128.load32_splat(w)
        s0 = Lanes.madd(x, v128.load(v), s0)
        s1 = Lanes.madd(x, v128.load(v, 16), s1)
        s2 = Lanes.madd(x, v128.load(v, 32), s2)
        s3 = Lanes.madd(x, v128.load(v, 48), s3)
        s4 = Lanes.madd(x, v128.load(v, 64), s4)
        s5 = Lanes.madd(x, v128.load(v, 80), s5)
        s6 = Lanes.madd(x, v128.load(v, 96), s6)
        s7 = Lanes.madd(x, v128.load(v, 112), s7)
        v += vRow
      }
      v128.store(to, Lanes.madd(v128.load(to), factor, s0))
      v128.store(to, Lanes.madd(v128.load(to, 16), factor, s1), 16)
      v128.store(to, Lanes.madd(v128.load(to, 32), factor, s2), 32)
      v128.store(to, Lanes.madd(v128.load(to, 48), factor, s3), 48)
      v128.store(to, Lanes.madd(v128.load(to, 64), factor, s4), 64)
      v128.store(to, Lanes.madd(v128.load(to, 80), factor, s5), 80)
      v128.store(to, Lanes.madd(v128.load(to, 96), factor, s6), 96)
      v128.store(to, Lanes.madd(v128.load(to, 112), factor, s7), 112)
      to += 128
      values += 128
    }
    for (; e < d; e += 4) {
      let sums = Lanes.zero()
      let v = values
      for (let w = weights; w < end; w += 4) {
        sums = Lanes.madd(v128.load32_splat(w), v128.load(v), sums)
        v += vRow
      }
      v128.store(to, Lanes.madd(v128.load(to), factor, sums))
      to += 16
      values += 16
    }
  }
}
