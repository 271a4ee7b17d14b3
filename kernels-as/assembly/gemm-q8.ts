// The matrix product in 8 bits: codes of a row of A times codes of a column of B are summed exactly, in 32-bit integers,
// and scaled once. So every build and machine gives the same sums.
import { Dot, WIDENED } from './dot'
import { Line } from './line'

/** Rows of a full tile. */
const TILE_ROWS: i32 = 5
/** Panels that are drawn into the second-level cache at a time, where all rows meet them. */
const WIDE = 6
/** Bytes of A in a block of rows: a quarter of a second-level cache of 1 MB. */
const BLOCK: i32 = 1 << 18
/** Most bytes of panels that one row may draw into that cache for the others. */
const DRAWN: usize = 3 << 18
/** Fewer rows are faster one by one, over many panels. */
const LEAST_TILE: i32 = 4

abstract class Sums {
  /**
   * Ends a line of 8 columns: what the row's code of zero, less `shift`, added to the sums is taken out of them, they are
   * scaled, and the rest is as in every matrix product.
   */
  @inline static finish(
    low: v128,
    high: v128,
    shift: i32,
    quantum: usize,
    scales: usize,
    sums: usize,
    c: usize,
    columns: i32,
    bias: usize,
    residual: usize,
    activation: i32,
  ): void {
    const offset = i32x4.splat(<i32>load<f32>(quantum, 4) - shift)
    const l = f32x4.convert_i32x4_s(i32x4.sub(low, i32x4.mul(v128.load(sums), offset)))
    const h = f32x4.convert_i32x4_s(i32x4.sub(high, i32x4.mul(v128.load(sums, 16), offset)))
    const row = v128.load32_splat(quantum)
    Line.finish(
      f32x4.mul(f32x4.mul(l, v128.load(scales)), row),
      f32x4.mul(f32x4.mul(h, v128.load(scales, 16)), row),
      c,
      columns,
      bias,
      residual,
      activation,
    )
  }

  /** Up to five rows × 8 columns, four steps of k an instruction. */
  @inline static tile(
    rows: i32,
    a: usize,
    aRow: usize,
    quanta: usize,
    b: usize,
    end: usize,
    scales: usize,
    sums: usize,
    c: usize,
    cRow: usize,
    columns: i32,
    bias: usize,
    residual: usize,
    rRow: usize,
    activation: i32,
    shift: i32,
  ): void {
    let l0 = i32x4.splat(0)
    let h0 = i32x4.splat(0)
    let l1 = i32x4.splat(0)
    let h1 = i32x4.splat(0)
    let l2 = i32x4.splat(0)
    let h2 = i32x4.splat(0)
    let l3 = i32x4.splat(0)
    let h3 = i32x4.splat(0)
    let l4 = i32x4.splat(0)
    let h4 = i32x4.splat(0)
    let a0 = a
    let a1 = a0 + aRow
    let a2 = a1 + aRow
    let a3 = a2 + aRow
    let a4 = a3 + aRow
    for (; b < end; b += 32) {
      const left = v128.load(b)
      const right = v128.load(b, 16)
      let x = v128.load32_splat(a0)
      l0 = Dot.add(left, x, l0)
      h0 = Dot.add(right, x, h0)
      a0 += 4
      if (rows > 1) {
        x = v128.load32_splat(a1)
        l1 = Dot.add(left, x, l1)
        h1 = Dot.add(right, x, h1)
        a1 += 4
      }
      if (rows > 2) {
        x = v128.load32_splat(a2)
        l2 = Dot.add(left, x, l2)
        h2 = Dot.add(right, x, h2)
        a2 += 4
      }
      if (rows > 3) {
        x = v128.load32_splat(a3)
        l3 = Dot.add(left, x, l3)
        h3 = Dot.add(right, x, h3)
        a3 += 4
      }
      if (rows > 4) {
        x = v128.load32_splat(a4)
        l4 = Dot.add(left, x, l4)
        h4 = Dot.add(right, x, h4)
        a4 += 4
      }
    }
    Sums.finish(l0, h0, shift, quanta, scales, sums, c, columns, bias, residual, activation)
    if (rows > 1) {
      c += cRow
      residual += rRow
      Sums.finish(l1, h1, shift, quanta + 8, scales, sums, c, columns, bias, residual, activation)
    }
    if (rows > 2) {
      c += cRow
      residual += rRow
      Sums.finish(l2, h2, shift, quanta + 16, scales, sums, c, columns, bias, residual, activation)
    }
    if (rows > 3) {
      c += cRow
      residual += rRow
      Sums.finish(l3, h3, shift, quanta + 24, scales, sums, c, columns, bias, residual, activation)
    }
    if (rows > 4) {
      c += cRow
      residual += rRow
      Sums.finish(l4, h4, shift, quanta + 32, scales, sums, c, columns, bias, residual, activation)
    }
  }

  /**
   * One row by one panel, 16 steps of k at a time. Sums of integers may be split over accumulators as one likes, so B is
   * read as it lies, and still eight chains hide the latency of an instruction.
   */
  @inline static row(
    a: usize,
    quantum: usize,
    b: usize,
    end: usize,
    scales: usize,
    sums: usize,
    c: usize,
    columns: i32,
    bias: usize,
    residual: usize,
    activation: i32,
    shift: i32,
  ): void {
    let l0 = i32x4.splat(0)
    let h0 = i32x4.splat(0)
    let l1 = i32x4.splat(0)
    let h1 = i32x4.splat(0)
    let l2 = i32x4.splat(0)
    let h2 = i32x4.splat(0)
    let l3 = i32x4.splat(0)
    let h3 = i32x4.splat(0)
    for (const last = end - 96; b < last; b += 128) {
      const x = v128.load32_splat(a)
      l0 = Dot.add(v128.load(b), x, l0)
      h0 = Dot.add(v128.load(b, 16), x, h0)
      const y = v128.load32_splat(a, 4)
      l1 = Dot.add(v128.load(b, 32), y, l1)
      h1 = Dot.add(v128.load(b, 48), y, h1)
      const z = v128.load32_splat(a, 8)
      l2 = Dot.add(v128.load(b, 64), z, l2)
      h2 = Dot.add(v128.load(b, 80), z, h2)
      const w = v128.load32_splat(a, 12)
      l3 = Dot.add(v128.load(b, 96), w, l3)
      h3 = Dot.add(v128.load(b, 112), w, h3)
      a += 16
    }
    for (; b < end; b += 32) {
      const x = v128.load32_splat(a)
      l0 = Dot.add(v128.load(b), x, l0)
      h0 = Dot.add(v128.load(b, 16), x, h0)
      a += 4
    }
    const low = i32x4.add(i32x4.add(l0, l1), i32x4.add(l2, l3))
    const high = i32x4.add(i32x4.add(h0, h1), i32x4.add(h2, h3))
    Sums.finish(low, high, shift, quantum, scales, sums, c, columns, bias, residual, activation)
  }

  /** One or two rows × 8 columns by products of 16 bits, whose sums come two to a column. */
  @inline static widened(
    rows: i32,
    a: usize,
    aRow: usize,
    quanta: usize,
    b: usize,
    end: usize,
    scales: usize,
    sums: usize,
    c: usize,
    cRow: usize,
    columns: i32,
    bias: usize,
    residual: usize,
    rRow: usize,
    activation: i32,
    shift: i32,
  ): void {
    let s0 = i32x4.splat(0)
    let s1 = i32x4.splat(0)
    let s2 = i32x4.splat(0)
    let s3 = i32x4.splat(0)
    let t0 = i32x4.splat(0)
    let t1 = i32x4.splat(0)
    let t2 = i32x4.splat(0)
    let t3 = i32x4.splat(0)
    let a1 = a + aRow
    for (; b < end; b += 32) {
      const x = i16x8.extend_low_i8x16_u(v128.load32_splat(a))
      const b0 = v128.load8x8_s(b)
      const b1 = v128.load8x8_s(b, 8)
      const b2 = v128.load8x8_s(b, 16)
      const b3 = v128.load8x8_s(b, 24)
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(b0, x))
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(b1, x))
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(b2, x))
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(b3, x))
      a += 4
      if (rows > 1) {
        const y = i16x8.extend_low_i8x16_u(v128.load32_splat(a1))
        t0 = i32x4.add(t0, i32x4.dot_i16x8_s(b0, y))
        t1 = i32x4.add(t1, i32x4.dot_i16x8_s(b1, y))
        t2 = i32x4.add(t2, i32x4.dot_i16x8_s(b2, y))
        t3 = i32x4.add(t3, i32x4.dot_i16x8_s(b3, y))
        a1 += 4
      }
    }
    const l0 = Sums.pairs(s0, s1)
    const h0 = Sums.pairs(s2, s3)
    Sums.finish(l0, h0, shift, quanta, scales, sums, c, columns, bias, residual, activation)
    if (rows > 1) {
      const l1 = Sums.pairs(t0, t1)
      const h1 = Sums.pairs(t2, t3)
      c += cRow
      residual += rRow
      Sums.finish(l1, h1, shift, quanta + 8, scales, sums, c, columns, bias, residual, activation)
    }
  }

  /** Sums of neighbouring lanes. */
  @inline static pairs(a: v128, b: v128): v128 {
    return i32x4.add(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7))
  }
}

/** k is padded to a multiple of four: rows of `a` with anything, panels of `packed` with zeros. */
export function gemmQ8(
  a: usize,
  quanta: usize,
  packed: usize,
  scales: usize,
  sums: usize,
  bias: usize,
  residual: usize,
  residualStride: i32,
  c: usize,
  cStride: i32,
  m: i32,
  n: i32,
  k: i32,
  activation: i32,
): void {
  const aRow = (<usize>k + 3) & ~3
  const panel = aRow << 3
  const cRow = (<usize>cStride) << 2
  const rRow: usize = residual == 0 ? 0 : (<usize>residualStride) << 2
  const mode = Dot.mode()
  const shift = Dot.shift(mode)
  if (m == 1 && mode != WIDENED) {
    rowOf(a, quanta, packed, panel, scales, sums, bias, residual, c, n, activation, shift)
    return
  }
  for (let j = 0; j < n; j += 8 * WIDE) {
    const columns = min(8 * WIDE, n - j)
    // Fewer rows than a tile has are faster one by one; of more, the first one draws the panels for the others.
    let drawn = 0
    if (mode != WIDENED && <usize>WIDE * panel <= DRAWN) {
      const ahead = m < LEAST_TILE ? m : 1
      for (; drawn < ahead; drawn++) {
        const r = <usize>drawn
        const kept: usize = residual == 0 ? 0 : residual + r * rRow
        rowOf(
          a + r * aRow,
          quanta + (r << 3),
          packed,
          panel,
          scales,
          sums,
          bias,
          kept,
          c + r * cRow,
          columns,
          activation,
          shift,
        )
      }
    }
    const row = <usize>drawn
    block(
      a + row * aRow,
      aRow,
      quanta + (row << 3),
      packed,
      panel,
      scales,
      sums,
      c + row * cRow,
      cRow,
      bias,
      residual == 0 ? 0 : residual + row * rRow,
      rRow,
      m - drawn,
      columns,
      activation,
      mode,
    )
    packed += <usize>WIDE * panel
    scales += 32 * WIDE
    sums += 32 * WIDE
    c += 32 * WIDE
    if (bias != 0) bias += 32 * WIDE
    if (residual != 0) residual += 32 * WIDE
  }
}

/** Some columns of all rows: blocks of whole tiles, which meet a panel one after another. */
function block(
  a: usize,
  aRow: usize,
  quanta: usize,
  packed: usize,
  panel: usize,
  scales: usize,
  sums: usize,
  c: usize,
  cRow: usize,
  bias: usize,
  residual: usize,
  rRow: usize,
  m: i32,
  n: i32,
  activation: i32,
  mode: i32,
): void {
  const shift = Dot.shift(mode)
  const most = mode == WIDENED ? 2 : TILE_ROWS
  const rowsOfBlock = max(1, BLOCK / max<i32>(1, <i32>aRow * most)) * most
  for (let first = 0; first < m; first += rowsOfBlock) {
    const end = min(m, first + rowsOfBlock)
    let b = packed
    for (let j = 0; j < n; j += 8) {
      const columns = min(8, n - j)
      const at = (<usize>j) << 2
      const w: usize = bias == 0 ? 0 : bias + at
      let tiles = (end - first + most - 1) / most
      for (let i = first; i < end; tiles--) {
        const rows = (end - i + tiles - 1) / tiles
        const row = <usize>i
        const x = a + row * aRow
        const y = c + row * cRow + at
        const z: usize = residual == 0 ? 0 : residual + row * rRow + at
        const q = quanta + (row << 3)
        if (mode == WIDENED)
          twoRows(
            rows,
            x,
            aRow,
            q,
            b,
            b + panel,
            scales + at,
            sums + at,
            y,
            cRow,
            columns,
            w,
            z,
            rRow,
            activation,
            shift,
          )
        else
          fiveRows(
            rows,
            x,
            aRow,
            q,
            b,
            b + panel,
            scales + at,
            sums + at,
            y,
            cRow,
            columns,
            w,
            z,
            rRow,
            activation,
            shift,
          )
        i += rows
      }
      b += panel
    }
  }
}

function fiveRows(
  rows: i32,
  a: usize,
  aRow: usize,
  s: usize,
  b: usize,
  end: usize,
  scales: usize,
  sums: usize,
  c: usize,
  cRow: usize,
  columns: i32,
  bias: usize,
  residual: usize,
  rRow: usize,
  activation: i32,
  shift: i32,
): void {
  if (rows == 5)
    Sums.tile(5, a, aRow, s, b, end, scales, sums, c, cRow, columns, bias, residual, rRow, activation, shift)
  else if (rows == 4)
    Sums.tile(4, a, aRow, s, b, end, scales, sums, c, cRow, columns, bias, residual, rRow, activation, shift)
  else if (rows == 3)
    Sums.tile(3, a, aRow, s, b, end, scales, sums, c, cRow, columns, bias, residual, rRow, activation, shift)
  else if (rows == 2)
    Sums.tile(2, a, aRow, s, b, end, scales, sums, c, cRow, columns, bias, residual, rRow, activation, shift)
  else Sums.tile(1, a, aRow, s, b, end, scales, sums, c, cRow, columns, bias, residual, rRow, activation, shift)
}

function twoRows(
  rows: i32,
  a: usize,
  aRow: usize,
  s: usize,
  b: usize,
  end: usize,
  scales: usize,
  sums: usize,
  c: usize,
  cRow: usize,
  columns: i32,
  bias: usize,
  residual: usize,
  rRow: usize,
  activation: i32,
  shift: i32,
): void {
  if (rows == 2)
    Sums.widened(2, a, aRow, s, b, end, scales, sums, c, cRow, columns, bias, residual, rRow, activation, shift)
  else Sums.widened(1, a, aRow, s, b, end, scales, sums, c, cRow, columns, bias, residual, rRow, activation, shift)
}

/** One row: limited by how fast B arrives. */
function rowOf(
  a: usize,
  quantum: usize,
  b: usize,
  panel: usize,
  scales: usize,
  sums: usize,
  bias: usize,
  residual: usize,
  c: usize,
  n: i32,
  activation: i32,
  shift: i32,
): void {
  for (let j = 0; j < n; j += 8) {
    Sums.row(a, quantum, b, b + panel, scales, sums, c, min(8, n - j), bias, residual, activation, shift)
    b += panel
    scales += 32
    sums += 32
    c += 32
    if (bias != 0) bias += 32
    if (residual != 0) residual += 32
  }
}
