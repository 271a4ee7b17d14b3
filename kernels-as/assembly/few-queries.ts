// Attention of one query row, as when decoding: keys and values are read row by row, as they lie, each once for all heads.
// The same sums in the same order as a tile of packed keys gives.
import { Lanes } from './lanes'
import { partLength, STORE } from './tile'

/** Keys that are met together: so many streams of memory. */
const KEYS = 8
/** Values that are met together, whose sums are in registers meanwhile. */
const VALUES = 4

export abstract class FewQueries {
  /** Whether heads of width d can be read so: in vectors, with no part of a sum beginning within one. */
  @inline static take(d: i32): bool {
    return (d & 3) == 0 && (partLength(STORE, d) & 3) == 0
  }

  /** f32 of scratch that a row needs: `chunk` scores and d sums a head, and its rescale. */
  @inline static scratch(heads: i32, d: i32, chunk: i32): i32 {
    return heads * (chunk + d + 1)
  }

  /** scores [heads, chunk] = q · keys, `kRow` bytes apart; what exceeds `seen` in a group repeats the last key. */
  static score(q: usize, keys: usize, kRow: usize, heads: i32, d: i32, chunk: i32, seen: i32, scores: usize): void {
    const head = (<usize>d) << 2
    const part = (<usize>partLength(STORE, d)) << 2
    const last = keys + <usize>(seen - 1) * kRow
    const rowOfScores = (<usize>chunk) << 2
    for (let j = 0; j < seen; j += KEYS) {
      let a0 = keys
      let a1 = min(a0 + kRow, last)
      let a2 = min(a1 + kRow, last)
      let a3 = min(a2 + kRow, last)
      let b0 = min(a3 + kRow, last)
      let b1 = min(b0 + kRow, last)
      let b2 = min(b1 + kRow, last)
      let b3 = min(b2 + kRow, last)
      keys = b3 + kRow
      let query = q
      let to = scores
      for (let h = 0; h < heads; h++) {
        let low = Lanes.zero()
        let high = Lanes.zero()
        for (let from: usize = 0; from < head; from += part) {
          const stop = min(from + part, head)
          let l = Lanes.zero()
          let r = Lanes.zero()
          for (let e = from; e < stop; e += 16) {
            const x = v128.load(query + e)
            l = FewQueries.four(x, v128.load(a0 + e), v128.load(a1 + e), v128.load(a2 + e), v128.load(a3 + e), l)
            r = FewQueries.four(x, v128.load(b0 + e), v128.load(b1 + e), v128.load(b2 + e), v128.load(b3 + e), r)
          }
          low = f32x4.add(low, l)
          high = f32x4.add(high, r)
        }
        v128.store(to, low)
        v128.store(to, high, 16)
        to += rowOfScores
        query += head
        a0 += head
        a1 += head
        a2 += head
        a3 += head
        b0 += head
        b1 += head
        b2 += head
        b3 += head
      }
      scores += 4 * KEYS
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

  /** sums [heads, d] = weights [heads, chunk] · values, `vRow` bytes apart. */
  static sum(weights: usize, values: usize, vRow: usize, heads: i32, d: i32, chunk: i32, seen: i32, sums: usize): void {
    const rowOfWeights = (<usize>chunk) << 2
    memory.fill(sums, 0, (<usize>(heads * d)) << 2)
    for (let j = 0; j < seen; j += VALUES) {
      const count = (<usize>min(VALUES, seen - j)) << 2
      let v = values
      let w = weights
      let to = sums
      for (let h = 0; h < heads; h++) {
        let e = 0
        for (; e + 32 <= d; e += 32) {
          FewQueries.eight(w, w + count, v, vRow, to)
          to += 128
          v += 128
        }
        for (; e < d; e += 4) {
          let s = v128.load(to)
          let row = v
          for (let x = w; x < w + count; x += 4) {
            s = Lanes.madd(v128.load32_splat(x), v128.load(row), s)
            row += vRow
          }
          v128.store(to, s)
          to += 16
          v += 16
        }
        w += rowOfWeights
      }
      weights += 4 * VALUES
      values += <usize>VALUES * vRow
    }
  }

  /** Adds the products of weights [from, end) with 32 columns of their values. */
  @inline static eight(from: usize, end: usize, v: usize, vRow: usize, to: usize): void {
    let s0 = v128.load(to)
    let s1 = v128.load(to, 16)
    let s2 = v128.load(to, 32)
    let s3 = v128.load(to, 48)
    let s4 = v128.load(to, 64)
    let s5 = v128.load(to, 80)
    let s6 = v128.load(to, 96)
    let s7 = v128.load(to, 112)
    for (; from < end; from += 4) {
      const x = v128.load32_splat(from)
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
    v128.store(to, s0)
    v128.store(to, s1, 16)
    v128.store(to, s2, 32)
    v128.store(to, s3, 48)
    v128.store(to, s4, 64)
    v128.store(to, s5, 80)
    v128.store(to, s6, 96)
    v128.store(to, s7, 112)
  }

  /** to [heads, d] = to · rescale of the head + sums. */
  static fold(to: usize, sums: usize, rescale: usize, heads: i32, d: i32): void {
    for (let h = 0; h < heads; h++) {
      const factor = v128.load32_splat(rescale)
      for (let e = 0; e < d; e += 4) {
        v128.store(to, Lanes.madd(v128.load(to), factor, v128.load(sums)))
        to += 16
        sums += 16
      }
      rescale += 4
    }
  }
}
