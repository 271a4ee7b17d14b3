// What every kernel does with four f32 lanes: multiply-add, sums, parts of a vector. Static methods, because a decorated
// function is not TypeScript and formatters refuse it.

export abstract class Lanes {
  /** a·b + c: fused where relaxed SIMD fuses, else rounded twice. */
  @inline static madd(a: v128, b: v128, c: v128): v128 {
    if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c)
    return f32x4.add(f32x4.mul(a, b), c)
  }

  @inline static zero(): v128 {
    return f32x4.splat(0)
  }

  /** Sum of the lanes, pairwise. */
  @inline static sum(x: v128): f32 {
    return f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 2) + (f32x4.extract_lane(x, 1) + f32x4.extract_lane(x, 3))
  }

  @inline static max(x: v128): f32 {
    return max(
      max(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)),
      max(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)),
    )
  }

  /** All ones in lane i where from + i < end. */
  @inline static before(end: i32, from: i32): v128 {
    return i32x4.lt_s(i32x4.add(i32x4(0, 1, 2, 3), i32x4.splat(from)), i32x4.splat(end))
  }

  /** The 1, 2 or 3 elements at `from`, then zeros; nothing beyond them is read. */
  @inline static loadPart(from: usize, count: i32): v128 {
    if (count == 1) return v128.load32_zero(from)
    const pair = v128.load64_zero(from)
    return count == 2 ? pair : v128.load32_lane(from, pair, 2, 8)
  }

  /** Stores the first 1, 2 or 3 lanes; nothing beyond them is written. */
  @inline static storePart(to: usize, x: v128, count: i32): void {
    if (count == 1) {
      v128.store32_lane(to, x, 0)
      return
    }
    v128.store64_lane(to, x, 0)
    if (count == 3) v128.store32_lane(to, x, 2, 8)
  }
}
