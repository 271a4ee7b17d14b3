// The matrix product with B stored in 16 bits: the same sums in the same order as of its values in 32 bits.
import { gemm } from './gemm'
import { Lanes } from './lanes'
import { Line } from './line'
import { FINISH, partLength } from './tile'

/** Panels that one row meets at a time. */
const WIDE = 5
/** Bytes of A in a block of rows that meets a panel while that lies widened in the first-level cache. */
const BLOCK: i32 = 1 << 17

export abstract class Stored {
  /** The four finite binary16 values at `from` as f32. */
  @inline static widen(from: usize): v128 {
    return Stored.values(v128.load16x4_s(from))
  }

  /**
   * Finite binary16 values, one sign-extended in each lane, as f32: their bits moved to where f32 has them are the value ·
   * 2^-112, subnormals too.
   */
  @inline static values(halves: v128): v128 {
    const bits = v128.and(i32x4.shl(halves, 13), i32x4.splat(0x8fffe000))
    return f32x4.mul(bits, f32x4.splat(5.192296858534828e33))
  }

  /** One row by five panels, `panel` bytes apart. */
  @inline static wide(
    a: usize,
    b0: usize,
    panel: usize,
    k: i32,
    c: usize,
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
    let b1 = b0 + panel
    let b2 = b1 + panel
    let b3 = b2 + panel
    let b4 = b3 + panel
    const end = b0 + ((<usize>k) << 4)
    const part = (<usize>partLength(FINISH, k)) << 4
    while (b0 < end) {
      const stop = min(b0 + part, end)
      while (b0 < stop) {
        const x = v128.load32_splat(a)
        l0 = Lanes.madd(x, Stored.widen(b0), l0)
        h0 = Lanes.madd(x, Stored.widen(b0 + 8), h0)
        l1 = Lanes.madd(x, Stored.widen(b1), l1)
        h1 = Lanes.madd(x, Stored.widen(b1 + 8), h1)
        l2 = Lanes.madd(x, Stored.widen(b2), l2)
        h2 = Lanes.madd(x, Stored.widen(b2 + 8), h2)
        l3 = Lanes.madd(x, Stored.widen(b3), l3)
        h3 = Lanes.madd(x, Stored.widen(b3 + 8), h3)
        l4 = Lanes.madd(x, Stored.widen(b4), l4)
        h4 = Lanes.madd(x, Stored.widen(b4 + 8), h4)
        a += 4
        b0 += 16
        b1 += 16
        b2 += 16
        b3 += 16
        b4 += 16
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
    }
    const next: usize = bias != 0 ? 32 : 0
    const kept: usize = residual != 0 ? 32 : 0
    Line.finish(low0, high0, c, 8, bias, residual, activation)
    c += 32
    bias += next
    residual += kept
    Line.finish(low1, high1, c, 8, bias, residual, activation)
    c += 32
    bias += next
    residual += kept
    Line.finish(low2, high2, c, 8, bias, residual, activation)
    c += 32
    bias += next
    residual += kept
    Line.finish(low3, high3, c, 8, bias, residual, activation)
    c += 32
    bias += next
    residual += kept
    Line.finish(low4, high4, c, columns, bias, residual, activation)
  }
}

/** `scratch` holds one panel [k][8] of f32. */
export function gemmF16(
  a: usize,
  aStride: i32,
  packed: usize,
  bias: usize,
  residual: usize,
  residualStride: i32,
  c: usize,
  cStride: i32,
  m: i32,
  n: i32,
  k: i32,
  activation: i32,
  tile: i32,
  scratch: usize,
): void {
  const panel = (<usize>k) << 4
  let j = 0
  if (m == 1) {
    for (; j + 8 * (WIDE - 1) < n; j += 8 * WIDE) {
      Stored.wide(a, packed, panel, k, c, min(8, n - j - 8 * (WIDE - 1)), bias, residual, activation)
      packed += <usize>WIDE * panel
      c += 32 * WIDE
      if (bias != 0) bias += 32 * WIDE
      if (residual != 0) residual += 32 * WIDE
    }
  }
  const cRow = (<usize>cStride) << 2
  const rRow = (<usize>residualStride) << 2
  const aRow = (<usize>aStride) << 2
  const rowsOfBlock = max(12, (BLOCK / max(1, k << 2) / 12) * 12)
  for (let i = 0; i < m; i += rowsOfBlock) {
    const rows = min(rowsOfBlock, m - i)
    const x = a + <usize>i * aRow
    const y = c + <usize>i * cRow
    const z: usize = residual == 0 ? 0 : residual + <usize>i * rRow
    let b = packed
    for (let column = j; column < n; column += 8) {
      const at = (<usize>(column - j)) << 2
      for (let p: usize = 0; p < panel; p += 16) {
        v128.store(scratch + 2 * p, Stored.widen(b + p))
        v128.store(scratch + 2 * p, Stored.widen(b + p + 8), 16)
      }
      const left: usize = bias == 0 ? 0 : bias + at
      const kept: usize = residual == 0 ? 0 : z + at
      gemm(
        x,
        aStride,
        scratch,
        left,
        kept,
        residualStride,
        y + at,
        cStride,
        rows,
        min(8, n - column),
        k,
        activation,
        tile,
      )
      b += panel
    }
  }
}

/** out [m, k] = the columns named by ids. */
export function gatherPackedF16(packed: usize, ids: usize, out: usize, m: i32, n: i32, k: i32): void {
  for (let i = 0; i < m; i++) {
    const id = <usize>load<i32>(ids)
    let from = packed + (((id >> 3) * k) << 4) + ((id & 7) << 1)
    for (let p = 0; p < k; p++) {
      v128.store32_lane(out, Stored.values(i32x4.splat(<i32>load<i16>(from))), 0)
      from += 16
      out += 4
    }
    ids += 4
  }
}
