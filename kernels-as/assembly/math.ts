// Functions of four f32 lanes. None has a branch on values, so a value's result does not depend on its neighbours.
import { Lanes } from './lanes'

/** Activations by number, in the catalogue's order. */
export const NONE = 0
export const GELU = 1
export const GELU_TANH = 2
export const RELU = 3
export const TANH = 4

export abstract class Functions {
  /**
   * exp(x) within 2 ulp for x ≤ 88.37 (above, exp(88.37)); exactly 0 below the smallest normal result, x < −87.33.
   * x = i·ln 2 + r, |r| ≤ ½ ln 2; exp(r) by a minimax polynomial of degree 5, relative error 9.2e-8.
   */
  @inline static exp(x: v128): v128 {
    const smallest = f32x4.splat(-87.33654)
    const t = f32x4.pmin(f32x4.pmax(x, smallest), f32x4.splat(88.37626)) // this operand order keeps NaN
    // Adding 1.5·2^23 leaves the nearest integer in the low bits of the sum.
    const magic = f32x4.splat(12582912)
    const shifted = Lanes.madd(t, f32x4.splat(1.44269504088896341), magic)
    const i = f32x4.sub(shifted, magic)
    const r = Lanes.madd(i, f32x4.splat(2.1219444e-4), Lanes.madd(i, f32x4.splat(-0.693359375), t))
    let y = Lanes.madd(f32x4.splat(8.290272206068039e-3), r, f32x4.splat(4.189816117286682e-2))
    y = Lanes.madd(y, r, f32x4.splat(0.1666763871908188))
    y = Lanes.madd(y, r, f32x4.splat(0.4999914765357971))
    y = Lanes.madd(y, r, f32x4.splat(0.9999997019767761))
    y = Lanes.madd(y, r, f32x4.splat(1))
    const power = i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(0x3f800000)) // 2^i
    return v128.andnot(f32x4.mul(y, power), f32x4.lt(x, smallest))
  }

  /** x·Φ(x), with Φ by Abramowitz & Stegun 7.1.26 (|error| ≤ 1.5e-7): the side below 0 does not cancel. */
  @inline static gelu(x: v128): v128 {
    const one = f32x4.splat(1)
    const z = f32x4.mul(f32x4.abs(x), f32x4.splat(0.70710678118654752))
    const t = f32x4.div(one, Lanes.madd(z, f32x4.splat(0.3275911), one))
    let y = Lanes.madd(t, f32x4.splat(0.5 * 1.061405429), f32x4.splat(0.5 * -1.453152027))
    y = Lanes.madd(y, t, f32x4.splat(0.5 * 1.421413741))
    y = Lanes.madd(y, t, f32x4.splat(0.5 * -0.284496736))
    y = f32x4.mul(Lanes.madd(y, t, f32x4.splat(0.5 * 0.254829592)), t)
    const tail = f32x4.mul(y, Functions.exp(f32x4.neg(f32x4.mul(z, z)))) // ½ erfc(|x|/√2)
    const below = f32x4.mul(x, tail)
    return v128.bitselect(f32x4.sub(x, below), below, f32x4.gt(x, f32x4.splat(0)))
  }

  /** x / (1 + exp(−2u)) with u = √(2/π)(x + 0.044715 x³). */
  @inline static geluTanh(x: v128): v128 {
    const one = f32x4.splat(1)
    const cubic = Lanes.madd(
      f32x4.mul(x, x),
      f32x4.splat(-2 * 0.79788456080286536 * 0.044715),
      f32x4.splat(-2 * 0.79788456080286536),
    )
    return f32x4.div(x, f32x4.add(one, Functions.exp(f32x4.mul(x, cubic))))
  }

  /** Cephes' tanhf: an odd polynomial where |x| < 0.625, 1 − 2/(exp(2|x|) + 1) with the sign of x elsewhere. */
  @inline static tanh(x: v128): v128 {
    const one = f32x4.splat(1)
    const z = f32x4.abs(x)
    const square = f32x4.mul(x, x)
    let y = Lanes.madd(f32x4.splat(-5.70498872745e-3), square, f32x4.splat(2.06390887954e-2))
    y = Lanes.madd(y, square, f32x4.splat(-5.37397155531e-2))
    y = Lanes.madd(y, square, f32x4.splat(1.33314422036e-1))
    y = Lanes.madd(y, square, f32x4.splat(-3.33332819422e-1))
    const near = Lanes.madd(f32x4.mul(y, square), x, x)
    const e = Functions.exp(f32x4.add(z, z))
    const size = f32x4.sub(one, f32x4.div(f32x4.splat(2), f32x4.add(e, one)))
    const far = v128.bitselect(x, size, i32x4.splat(0x80000000))
    return v128.bitselect(near, far, f32x4.lt(z, f32x4.splat(0.625)))
  }

  @inline static relu(x: v128): v128 {
    return f32x4.max(x, Lanes.zero())
  }

  /** The activation of that number. Not inlined: callers need little code, and share its bits. */
  static activate(x: v128, activation: i32): v128 {
    if (activation == NONE) return x
    if (activation == GELU) return Functions.gelu(x)
    if (activation == GELU_TANH) return Functions.geluTanh(x)
    if (activation == RELU) return Functions.relu(x)
    return Functions.tanh(x)
  }
}
