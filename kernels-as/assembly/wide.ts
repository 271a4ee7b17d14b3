// One row of A times many panels of B: decoding, and what draws panels near for other rows.
import { Lanes } from './lanes'
import { Line } from './line'
import { FINISH, partLength } from './tile'

/** Panels that one row meets at a time. */
export const WIDE = 6

export abstract class Wide {
  /** One row of A by six panels, `panel` bytes apart: twelve independent chains hide the latency of a multiply-add. */
  @inline static product(
    a: usize,
    b: usize,
    panel: usize,
    k: i32,
    to: usize,
    columns: i32,
    bias: usize,
    residual: usize,
    activation: i32,
  ): void {
    let l0 = Lanes.zero()
    let h0 = Lanes.zero()
    let l1 = Lanes.zero()
    let h1 = Lanes.zero()
    let l2 = Lanes.zero()
    let h2 = Lanes.zero()
    let l3 = Lanes.zero()
    let h3 = Lanes.zero()
    let l4 = Lanes.zero()
    let h4 = Lanes.zero()
    let l5 = Lanes.zero()
    let h5 = Lanes.zero()
    let low0 = Lanes.zero()
    let high0 = Lanes.zero()
    let low1 = Lanes.zero()
    let high1 = Lanes.zero()
    let low2 = Lanes.zero()
    let high2 = Lanes.zero()
    let low3 = Lanes.zero()
    let high3 = Lanes.zero()
    let low4 = Lanes.zero()
    let high4 = Lanes.zero()
    let low5 = Lanes.zero()
    let high5 = Lanes.zero()
    let b0 = b
    let b1 = b0 + panel
    let b2 = b1 + panel
    let b3 = b2 + panel
    let b4 = b3 + panel
    let b5 = b4 + panel
    const end = b + ((<usize>k) << 5)
    const part = (<usize>partLength(FINISH, k)) << 5
    while (b0 < end) {
      const stop = min(b0 + part, end)
      while (b0 < stop) {
        const x = v128.load32_splat(a)
        l0 = Lanes.madd(x, v128.load(b0), l0)
        h0 = Lanes.madd(x, v128.load(b0, 16), h0)
        l1 = Lanes.madd(x, v128.load(b1), l1)
        h1 = Lanes.madd(x, v128.load(b1, 16), h1)
        l2 = Lanes.madd(x, v128.load(b2), l2)
        h2 = Lanes.madd(x, v128.load(b2, 16), h2)
        l3 = Lanes.madd(x, v128.load(b3), l3)
        h3 = Lanes.madd(x, v128.load(b3, 16), h3)
        l4 = Lanes.madd(x, v128.load(b4), l4)
        h4 = Lanes.madd(x, v128.load(b4, 16), h4)
        l5 = Lanes.madd(x, v128.load(b5), l5)
        h5 = Lanes.madd(x, v128.load(b5, 16), h5)
        a += 4
        b0 += 32
        b1 += 32
        b2 += 32
        b3 += 32
        b4 += 32
        b5 += 32
      }
      low0 = f32x4.add(low0, l0)
      high0 = f32x4.add(high0, h0)
      l0 = Lanes.zero()
      h0 = Lanes.zero()
      low1 = f32x4.add(low1, l1)
      high1 = f32x4.add(high1, h1)
      l1 = Lanes.zero()
      h1 = Lanes.zero()
      low2 = f32x4.add(low2, l2)
      high2 = f32x4.add(high2, h2)
      l2 = Lanes.zero()
      h2 = Lanes.zero()
      low3 = f32x4.add(low3, l3)
      high3 = f32x4.add(high3, h3)
      l3 = Lanes.zero()
      h3 = Lanes.zero()
      low4 = f32x4.add(low4, l4)
      high4 = f32x4.add(high4, h4)
      l4 = Lanes.zero()
      h4 = Lanes.zero()
      low5 = f32x4.add(low5, l5)
      high5 = f32x4.add(high5, h5)
      l5 = Lanes.zero()
      h5 = Lanes.zero()
    }
    const next: usize = bias != 0 ? 32 : 0
    const kept: usize = residual != 0 ? 32 : 0
    Line.finishAny(low0, high0, to, 8, bias, residual, activation)
    to += 32
    bias += next
    residual += kept
    Line.finishAny(low1, high1, to, 8, bias, residual, activation)
    to += 32
    bias += next
    residual += kept
    Line.finishAny(low2, high2, to, 8, bias, residual, activation)
    to += 32
    bias += next
    residual += kept
    Line.finishAny(low3, high3, to, 8, bias, residual, activation)
    to += 32
    bias += next
    residual += kept
    Line.finishAny(low4, high4, to, 8, bias, residual, activation)
    to += 32
    bias += next
    residual += kept
    Line.finishAny(low5, high5, to, columns, bias, residual, activation)
  }
}
