// Products of 8-bit codes, summed in 32 bits: four at a time in each lane. Codes of weights are signed, those of
// activations are not, unless the machine multiplies signed bytes: then they lie with 128 taken off.

/** How this machine can be had to sum products of codes exactly. */
export const SIGNED = 0 // relaxed dot takes both operands as signed bytes
export const UNSIGNED = 1 // it takes the second one as unsigned
export const WIDENED = 2 // it may saturate, or is not there: bytes are widened to 16 bits

export abstract class Dot {
  /**
   * WebAssembly leaves open how the second operand's eighth bit is taken and whether sums of pairs saturate, but an engine
   * always does the same: 4 · 127 · 255 tells.
   */
  static mode(): i32 {
    if (!ASC_FEATURE_RELAXED_SIMD) return WIDENED
    const sum = i32x4.extract_lane(Dot.add(i8x16.splat(127), i8x16.splat(-1), i32x4.splat(0)), 0)
    if (sum == 4 * 127 * 255) return UNSIGNED
    return sum == 4 * 127 * -1 ? SIGNED : WIDENED
  }

  /** What is taken off the codes of activations. */
  static shift(mode: i32): i32 {
    return mode == SIGNED ? 128 : 0
  }

  /** sums + products of four neighbouring bytes each of `weights` and `codes`. */
  @inline static add(weights: v128, codes: v128, sums: v128): v128 {
    if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(weights, codes, sums)
    return sums
  }
}
