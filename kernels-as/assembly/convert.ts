// Between f32 and the formats that weights and messages are stored in.
import { Lanes } from './lanes'

abstract class Half {
  /** Four binary16 values, one in the low half of each lane, as f32: rebias the exponent, let the FPU do subnormals. */
  @inline static widen(h: v128): v128 {
    const shifted = i32x4.shl(v128.and(h, i32x4.splat(0x7fff)), 13)
    const exponent = v128.and(shifted, i32x4.splat(0x7c00 << 13))
    const rebiased = i32x4.add(shifted, i32x4.splat((127 - 15) << 23))
    const special = i32x4.eq(exponent, i32x4.splat(0x7c00 << 13)) // infinity or NaN: exponent 255
    const normal = i32x4.add(rebiased, v128.and(special, i32x4.splat((128 - 16) << 23)))
    const smallest = i32x4.splat(113 << 23) // 2^-14, the lowest normal value
    const subnormal = f32x4.sub(i32x4.add(rebiased, i32x4.splat(1 << 23)), smallest)
    const size = v128.bitselect(subnormal, normal, i32x4.eq(exponent, i32x4.splat(0)))
    return v128.or(size, i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16))
  }

  /** Four f32 values as binary16 in the low half of each lane, to nearest even. */
  @inline static narrow(x: v128): v128 {
    const size = v128.and(x, i32x4.splat(0x7fffffff))
    // Rebias, then round at bit 13: half less one, and one more where the bit that stays is odd.
    const odd = v128.and(i32x4.shr_u(size, 13), i32x4.splat(1))
    const normal = i32x4.shr_u(i32x4.add(i32x4.add(size, odd), i32x4.splat(((15 - 127) << 23) + 0xfff)), 13)
    // Adding ½ makes the FPU round to a multiple of 2^-24, the step of subnormals.
    const half = f32x4.splat(0.5)
    const subnormal = i32x4.sub(f32x4.add(size, half), half)
    const nan = v128.and(i32x4.gt_s(size, i32x4.splat(0x7f800000)), i32x4.splat(0x0200))
    const special = v128.or(i32x4.splat(0x7c00), nan)
    let h = v128.bitselect(subnormal, normal, i32x4.lt_s(size, i32x4.splat(113 << 23)))
    h = v128.bitselect(special, h, i32x4.ge_s(size, i32x4.splat(143 << 23))) // 2^16 and beyond
    return v128.or(h, i32x4.shr_u(v128.and(x, i32x4.splat(0x80000000)), 16))
  }

  /** The 1, 2 or 3 16-bit values at `from`, one to a lane. */
  @inline static loadPart(from: usize, count: i32): v128 {
    const a = <i32>load<u16>(from)
    const b = count > 1 ? <i32>load<u16>(from, 2) : 0
    const c = count > 2 ? <i32>load<u16>(from, 4) : 0
    return i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(a), 1, b), 2, c)
  }
}

export function f16ToF32(x: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, Half.widen(v128.load16x4_u(x)))
    x += 8
    out += 16
  }
  if (count) Lanes.storePart(out, Half.widen(Half.loadPart(x, count)), count)
}

export function bf16ToF32(x: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, i32x4.shl(v128.load16x4_u(x), 16))
    x += 8
    out += 16
  }
  if (count) Lanes.storePart(out, i32x4.shl(Half.loadPart(x, count), 16), count)
}

/** Returns 1 + the index of the first value that has no finite binary16, 0 where there is none. */
export function f32ToF16(x: usize, out: usize, count: i32): i32 {
  const infinity = i32x4.splat(0x7c00)
  let first = 0
  let i = 0
  for (; i + 4 <= count; i += 4) {
    const h = Half.narrow(v128.load(x))
    v128.store64_lane(out, i16x8.narrow_i32x4_u(h, h), 0)
    if (first == 0) {
      const beyond = i32x4.bitmask(i32x4.eq(v128.and(h, infinity), infinity))
      if (beyond) first = i + ctz(beyond) + 1
    }
    x += 16
    out += 8
  }
  for (; i < count; i++) {
    const h = i32x4.extract_lane(Half.narrow(v128.load32_zero(x)), 0)
    store<u16>(out, <u16>h)
    if (first == 0 && (h & 0x7c00) == 0x7c00) first = i + 1
    x += 4
    out += 2
  }
  return first
}

abstract class Byte {
  /** rint(x / scale) of the two low lanes, clamped to ±127, as i32 in the two low lanes. */
  @inline static codes(x: v128, scale: v128): v128 {
    const rounded = f64x2.nearest(f64x2.div(f64x2.promote_low_f32x4(x), scale))
    return i32x4.trunc_sat_f64x2_s_zero(f64x2.pmax(f64x2.pmin(rounded, f64x2.splat(127)), f64x2.splat(-127)))
  }
}

/**
 * codes = rint(f64(x) / f64(scale)), to nearest even, with scale = f32(max|row| / 127), or 1 where that is 0.
 * A row that is not finite becomes zeros with scale 1. Returns 1 + the first such row, 0 where there is none.
 */
export function quantiseRows(x: usize, codes: usize, scales: usize, m: i32, width: i32): i32 {
  const part = width & 3
  const edge = (<usize>(width & ~3)) << 2
  let first = 0
  for (let i = 0; i < m; i++) {
    let largest = Lanes.zero()
    for (let at: usize = 0; at < edge; at += 16) largest = f32x4.max(largest, f32x4.abs(v128.load(x + at)))
    if (part) largest = f32x4.max(largest, f32x4.abs(Lanes.loadPart(x + edge, part)))
    const most = Lanes.max(largest)
    const finite = most < Infinity // false for NaN as well
    let scale: f32 = most / 127
    if (!finite || scale == 0) scale = 1
    if (!finite && first == 0) first = i + 1
    store<f32>(scales, scale)

    const divisor = f64x2.splat(<f64>scale)
    const keep = i32x4.splat(finite ? -1 : 0)
    for (let at: usize = 0; at < edge; at += 16) {
      const values = v128.and(v128.load(x + at), keep)
      const low = Byte.codes(values, divisor)
      const high = Byte.codes(v128.shuffle<f32>(values, values, 2, 3, 2, 3), divisor)
      const words = i16x8.narrow_i32x4_s(v128.shuffle<f32>(low, high, 0, 1, 4, 5), low)
      v128.store32_lane(codes, i8x16.narrow_i16x8_s(words, words), 0)
      codes += 4
    }
    for (let e = 0; e < part; e++) {
      const value = v128.and(v128.load32_zero(x + edge + ((<usize>e) << 2)), keep)
      store<i8>(codes, <i8>i32x4.extract_lane(Byte.codes(value, divisor), 0))
      codes++
    }
    x += (<usize>width) << 2
    scales += 4
  }
  return first
}

export function dequantiseRows(codes: usize, scales: usize, out: usize, m: i32, width: i32): void {
  for (let i = 0; i < m; i++) {
    const scale = load<f32>(scales)
    const factors = f32x4.splat(scale)
    let e = 0
    for (; e + 8 <= width; e += 8) {
      const words = v128.load8x8_s(codes)
      v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(words)), factors))
      v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(words)), factors), 16)
      codes += 8
      out += 32
    }
    for (; e < width; e++) {
      store<f32>(out, <f32>load<i8>(codes) * scale)
      codes++
      out += 4
    }
    scales += 4
  }
}
