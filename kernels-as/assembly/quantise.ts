// 8-bit codes for the matrix product: of activations, one scale a row; of weights, one scale a column.
import { Dot } from './dot'
import { Lanes } from './lanes'

abstract class Codes {
  /** rint(x · inverse) as 32-bit integers, for |x · inverse| < 2^22: adding 1.5·2^23 rounds, and leaves the integer in the low bits. */
  @inline static of(x: v128, inverse: v128): v128 {
    const magic = f32x4.splat(12582912)
    return i32x4.sub(f32x4.add(f32x4.mul(x, inverse), magic), magic)
  }

  /** The factor that takes values up to `most` to codes up to 127; 0 where all are 0, or one is not finite. */
  @inline static inverse(most: v128): v128 {
    const least = f32x4.splat(1e-36)
    const usable = v128.and(f32x4.gt(most, least), f32x4.lt(most, f32x4.splat(Infinity)))
    return v128.and(f32x4.div(f32x4.splat(127), most), usable)
  }
}

/**
 * codes [m, ⌈k/4⌉·4] = rint(x · 255 / range) + zero, from 0 to 255, where a row's range reaches from its least value to its
 * largest, 0 included, and `zero` is the code of 0. quanta [m, 2] = (range / 255, zero), NaN for a row that is not finite:
 * what it is multiplied with is then NaN, as it were without codes. Codes are stored as {@link Dot} has them.
 */
export function quantiseOperand(x: usize, xStride: i32, codes: usize, quanta: usize, m: i32, k: i32): void {
  const row = (<usize>xStride) << 2
  const part = k & 3
  const edge = (<usize>(k & ~3)) << 2
  const four = edge & ~63
  const shift = i8x16.splat(<i8>Dot.shift(Dot.mode()))
  for (let i = 0; i < m; i++) {
    let low = Lanes.zero()
    let high = Lanes.zero()
    let nan = Lanes.zero()
    for (let at: usize = 0; at < edge; at += 16) {
      const values = v128.load(x + at)
      low = f32x4.pmin(low, values)
      high = f32x4.pmax(high, values)
      nan = v128.or(nan, f32x4.ne(values, values))
    }
    if (part) {
      const values = Lanes.loadPart(x + edge, part)
      low = f32x4.pmin(low, values)
      high = f32x4.pmax(high, values)
      nan = v128.or(nan, f32x4.ne(values, values))
    }
    const least = -Lanes.max(f32x4.neg(low))
    const range: f32 = v128.any_true(nan) ? NaN : Lanes.max(high) - least
    const usable = range > 1e-36 && range < Infinity
    const inverse = f32x4.splat(usable ? 255 / range : 0)
    const zero = Codes.of(f32x4.splat(-least), inverse)
    const zeros = i16x8.splat(<i16>i32x4.extract_lane(zero, 0))
    store<f32>(quanta, range < Infinity ? range / 255 : NaN)
    store<f32>(quanta, <f32>i32x4.extract_lane(zero, 0), 4)

    let at: usize = 0
    for (; at < four; at += 64) {
      const a = Codes.of(v128.load(x + at), inverse)
      const b = Codes.of(v128.load(x + at, 16), inverse)
      const c = Codes.of(v128.load(x + at, 32), inverse)
      const d = Codes.of(v128.load(x + at, 48), inverse)
      const ab = i16x8.add(i16x8.narrow_i32x4_s(a, b), zeros)
      const cd = i16x8.add(i16x8.narrow_i32x4_s(c, d), zeros)
      v128.store(codes, i8x16.sub(i8x16.narrow_i16x8_u(ab, cd), shift))
      codes += 16
    }
    for (; at < edge; at += 16) {
      Bytes.store(codes, Codes.of(v128.load(x + at), inverse), zeros, shift)
      codes += 4
    }
    if (part) {
      Bytes.store(codes, Codes.of(Lanes.loadPart(x + edge, part), inverse), zeros, shift)
      codes += 4
    }
    x += row
    quanta += 8
  }
}

abstract class Bytes {
  /** Four 32-bit codes, counted from `zeros`, as bytes. */
  @inline static store(to: usize, codes: v128, zeros: v128, shift: v128): void {
    const words = i16x8.add(i16x8.narrow_i32x4_s(codes, codes), zeros)
    v128.store32_lane(to, i8x16.sub(i8x16.narrow_i16x8_u(words, words), shift), 0)
  }

  /** Four codes of each lane's column, one after another, as the bytes of the lane. */
  @inline static interleave(a: v128, b: v128, c: v128, d: v128): v128 {
    const low = i32x4.splat(0xff)
    const ab = v128.or(v128.and(a, low), i32x4.shl(v128.and(b, low), 8))
    return v128.or(ab, v128.or(i32x4.shl(v128.and(c, low), 16), i32x4.shl(d, 24)))
  }
}

/**
 * f32 panels [⌈n/8⌉][k][8] → codes [⌈n/8⌉][⌈k/4⌉][8][4], scales and sums of codes [⌈n/8⌉·8]: scale = max|column| / 127.
 */
export function quantisePanels(panels: usize, packed: usize, scales: usize, sums: usize, k: i32, n: i32): void {
  const bytes = (<usize>k) << 5
  const zero = Lanes.zero()
  for (let j = 0; j < n; j += 8) {
    const end = panels + bytes
    let left = zero
    let right = zero
    for (let at = panels; at < end; at += 32) {
      left = f32x4.max(left, f32x4.abs(v128.load(at)))
      right = f32x4.max(right, f32x4.abs(v128.load(at, 16)))
    }
    v128.store(scales, f32x4.div(left, f32x4.splat(127)))
    v128.store(scales, f32x4.div(right, f32x4.splat(127)), 16)
    const x = Codes.inverse(left)
    const y = Codes.inverse(right)
    let low = i32x4.splat(0)
    let high = i32x4.splat(0)
    for (let p = 0; p < k; p += 4) {
      const count = k - p
      const a = Codes.of(v128.load(panels), x)
      const A = Codes.of(v128.load(panels, 16), y)
      const b = count > 1 ? Codes.of(v128.load(panels, 32), x) : zero
      const B = count > 1 ? Codes.of(v128.load(panels, 48), y) : zero
      const c = count > 2 ? Codes.of(v128.load(panels, 64), x) : zero
      const C = count > 2 ? Codes.of(v128.load(panels, 80), y) : zero
      const d = count > 3 ? Codes.of(v128.load(panels, 96), x) : zero
      const D = count > 3 ? Codes.of(v128.load(panels, 112), y) : zero
      low = i32x4.add(low, i32x4.add(i32x4.add(a, b), i32x4.add(c, d)))
      high = i32x4.add(high, i32x4.add(i32x4.add(A, B), i32x4.add(C, D)))
      v128.store(packed, Bytes.interleave(a, b, c, d))
      v128.store(packed, Bytes.interleave(A, B, C, D), 16)
      panels += 128
      packed += 32
    }
    panels = end
    v128.store(sums, low)
    v128.store(sums, high, 16)
    scales += 32
    sums += 32
  }
}

/** out [m, k] = the columns named by ids, code · scale. */
export function gatherQ8(packed: usize, scales: usize, ids: usize, out: usize, m: i32, n: i32, k: i32): void {
  const panel = ((<usize>k + 3) & ~3) << 3
  for (let i = 0; i < m; i++) {
    const id = <usize>load<i32>(ids)
    const scale = v128.load32_splat(scales + (id << 2))
    let from = packed + (id >> 3) * panel + ((id & 7) << 2)
    for (let left = k; left > 0; left -= 4) {
      const codes = i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(from)))
      const values = f32x4.mul(f32x4.convert_i32x4_s(codes), scale)
      if (left >= 4) v128.store(out, values)
      else Lanes.storePart(out, values, left)
      out += (<usize>min(left, 4)) << 2
      from += 32
    }
    ids += 4
  }
}
