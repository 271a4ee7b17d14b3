// The register tile under the matrix product and attention: a few rows of A times a panel of B.
//
// Each element of the product is summed in one order over k, whatever the tile's height or width: that is why a row's
// bits do not depend on how many rows are computed with it.
import { Lanes } from './lanes'
import { Functions, NONE } from './math'

/**
 * Rows of a full tile at most: as many as the 16 registers of x64 hold beside three operands. A fused multiply-add needs
 * twelve chains to hide its latency; a product and a sum are happy with eight, and need a register in between.
 */
const TILE_ROWS: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 4

/** The rows of a full tile where an engine wants `asked` at most, 0 standing for no wish: some spill six rows of registers. */
export function tileRows(asked: i32): i32 {
  return asked > 0 ? min(asked, TILE_ROWS) : TILE_ROWS
}

/** Panels that one row meets at a time. */
export const WIDE = 6

/**
 * k is summed in up to eight parts, each by itself, which are then added in order: rounding errors of a chain grow with
 * its length, so eight short ones err about a third as much as a long one. Only k decides where they begin. Attention's
 * weights are one part: how many of them there are depends on the tile's other rows.
 */
export function partLength(job: i32, k: i32): i32 {
  return job == FOLD ? k : max(32, (k + 7) >> 3)
}

/** What becomes of a finished line of 8 sums. */
export const FINISH = 0 // bias, activation, residual, store the columns that exist
export const STORE = 1 // store 8
export const FOLD = 2 // attention: to = to · rescale + sums, the columns that exist

/**
 * rows × 8 sums over k. `a`: rows of A, `aStride` bytes apart; `b`: a panel [k][8]. The line of row r goes to
 * `to + r·toStride`, `columns` of it exist. FINISH: `extra` is the bias or 0, `residual` and its stride as `to`.
 * FOLD: `extra` holds one factor per row.
 */
export abstract class Tile {
  @inline static product(
    rows: i32,
    job: i32,
    a: usize,
    aStride: usize,
    b: usize,
    k: i32,
    to: usize,
    toStride: usize,
    columns: i32,
    extra: usize,
    residual: usize,
    residualStride: usize,
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
    let a0 = a
    let a1 = a0 + aStride
    let a2 = a1 + aStride
    let a3 = a2 + aStride
    let a4 = a3 + aStride
    let a5 = a4 + aStride
    const end = b + ((<usize>k) << 5)
    const part = (<usize>partLength(job, k)) << 5
    while (b < end) {
      const stop = min(b + part, end)
      while (b < stop) {
        const left = v128.load(b)
        const right = v128.load(b, 16)
        let x = v128.load32_splat(a0)
        l0 = Lanes.madd(x, left, l0)
        h0 = Lanes.madd(x, right, h0)
        if (rows > 1) {
          x = v128.load32_splat(a1)
          l1 = Lanes.madd(x, left, l1)
          h1 = Lanes.madd(x, right, h1)
        }
        if (rows > 2) {
          x = v128.load32_splat(a2)
          l2 = Lanes.madd(x, left, l2)
          h2 = Lanes.madd(x, right, h2)
        }
        if (rows > 3) {
          x = v128.load32_splat(a3)
          l3 = Lanes.madd(x, left, l3)
          h3 = Lanes.madd(x, right, h3)
        }
        if (rows > 4) {
          x = v128.load32_splat(a4)
          l4 = Lanes.madd(x, left, l4)
          h4 = Lanes.madd(x, right, h4)
        }
        if (rows > 5) {
          x = v128.load32_splat(a5)
          l5 = Lanes.madd(x, left, l5)
          h5 = Lanes.madd(x, right, h5)
        }
        a0 += 4
        if (rows > 1) a1 += 4
        if (rows > 2) a2 += 4
        if (rows > 3) a3 += 4
        if (rows > 4) a4 += 4
        if (rows > 5) a5 += 4
        b += 32
      }
      low0 = f32x4.add(low0, l0)
      high0 = f32x4.add(high0, h0)
      l0 = Lanes.zero()
      h0 = Lanes.zero()
      if (rows > 1) {
        low1 = f32x4.add(low1, l1)
        high1 = f32x4.add(high1, h1)
        l1 = Lanes.zero()
        h1 = Lanes.zero()
      }
      if (rows > 2) {
        low2 = f32x4.add(low2, l2)
        high2 = f32x4.add(high2, h2)
        l2 = Lanes.zero()
        h2 = Lanes.zero()
      }
      if (rows > 3) {
        low3 = f32x4.add(low3, l3)
        high3 = f32x4.add(high3, h3)
        l3 = Lanes.zero()
        h3 = Lanes.zero()
      }
      if (rows > 4) {
        low4 = f32x4.add(low4, l4)
        high4 = f32x4.add(high4, h4)
        l4 = Lanes.zero()
        h4 = Lanes.zero()
      }
      if (rows > 5) {
        low5 = f32x4.add(low5, l5)
        high5 = f32x4.add(high5, h5)
        l5 = Lanes.zero()
        h5 = Lanes.zero()
      }
    }
    Tile.line(job, low0, high0, to, columns, extra, residual, activation, 0)
    if (rows > 1) {
      to += toStride
      residual += residualStride
      Tile.line(job, low1, high1, to, columns, extra, residual, activation, 1)
    }
    if (rows > 2) {
      to += toStride
      residual += residualStride
      Tile.line(job, low2, high2, to, columns, extra, residual, activation, 2)
    }
    if (rows > 3) {
      to += toStride
      residual += residualStride
      Tile.line(job, low3, high3, to, columns, extra, residual, activation, 3)
    }
    if (rows > 4) {
      to += toStride
      residual += residualStride
      Tile.line(job, low4, high4, to, columns, extra, residual, activation, 4)
    }
    if (rows > 5) {
      to += toStride
      residual += residualStride
      Tile.line(job, low5, high5, to, columns, extra, residual, activation, 5)
    }
  }

  /** One row of A by six panels, `panel` bytes apart: twelve independent chains hide the latency of a multiply-add. */
  @inline static wide(
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
    finishLine(low0, high0, to, 8, bias, residual, activation)
    to += 32
    bias += next
    residual += kept
    finishLine(low1, high1, to, 8, bias, residual, activation)
    to += 32
    bias += next
    residual += kept
    finishLine(low2, high2, to, 8, bias, residual, activation)
    to += 32
    bias += next
    residual += kept
    finishLine(low3, high3, to, 8, bias, residual, activation)
    to += 32
    bias += next
    residual += kept
    finishLine(low4, high4, to, 8, bias, residual, activation)
    to += 32
    bias += next
    residual += kept
    finishLine(low5, high5, to, columns, bias, residual, activation)
  }

  @inline static line(
    job: i32,
    low: v128,
    high: v128,
    to: usize,
    columns: i32,
    extra: usize,
    residual: usize,
    activation: i32,
    r: usize,
  ): void {
    if (job == STORE) {
      v128.store(to, low)
      v128.store(to, high, 16)
    } else if (job == FOLD) {
      const rescale = v128.load32_splat(extra + (r << 2))
      if (columns == 8) {
        v128.store(to, Lanes.madd(v128.load(to), rescale, low))
        v128.store(to, Lanes.madd(v128.load(to, 16), rescale, high), 16)
      } else {
        foldColumns(low, high, to, columns, rescale)
      }
    } else {
      finishLine(low, high, to, columns, extra, residual, activation)
    }
  }
}

/** What ends a line of 8 sums, of whatever they were made. */
export abstract class Line {
  /** Bias, activation and residual; stores the `columns` that exist. */
  @inline static finish(
    low: v128,
    high: v128,
    to: usize,
    columns: i32,
    bias: usize,
    residual: usize,
    activation: i32,
  ): void {
    if (columns == 8 && activation == NONE) {
      if (bias != 0) {
        low = f32x4.add(low, v128.load(bias))
        high = f32x4.add(high, v128.load(bias, 16))
      }
      if (residual != 0) {
        low = f32x4.add(low, v128.load(residual))
        high = f32x4.add(high, v128.load(residual, 16))
      }
      v128.store(to, low)
      v128.store(to, high, 16)
    } else {
      finishLine(low, high, to, columns, bias, residual, activation)
    }
  }
}

/** Stores the first `columns` of 8. */
function storeColumns(low: v128, high: v128, to: usize, columns: i32): void {
  if (columns >= 4) {
    v128.store(to, low)
    if (columns > 4) Lanes.storePart(to + 16, high, columns - 4)
  } else {
    Lanes.storePart(to, low, columns)
  }
}

/** The `columns` < 8 elements at `from`: the first four of them, or the others, then zeros. */
function loadLow(from: usize, columns: i32): v128 {
  return columns >= 4 ? v128.load(from) : Lanes.loadPart(from, columns)
}
function loadHigh(from: usize, columns: i32): v128 {
  return columns > 4 ? Lanes.loadPart(from + 16, columns - 4) : Lanes.zero()
}

function finishLine(
  low: v128,
  high: v128,
  to: usize,
  columns: i32,
  bias: usize,
  residual: usize,
  activation: i32,
): void {
  const whole = columns == 8
  if (bias != 0) {
    low = f32x4.add(low, whole ? v128.load(bias) : loadLow(bias, columns))
    high = f32x4.add(high, whole ? v128.load(bias, 16) : loadHigh(bias, columns))
  }
  if (activation != 0) {
    low = Functions.activate(low, activation)
    high = Functions.activate(high, activation)
  }
  if (residual != 0) {
    low = f32x4.add(low, whole ? v128.load(residual) : loadLow(residual, columns))
    high = f32x4.add(high, whole ? v128.load(residual, 16) : loadHigh(residual, columns))
  }
  if (whole) {
    v128.store(to, low)
    v128.store(to, high, 16)
  } else {
    storeColumns(low, high, to, columns)
  }
}

/** As a whole line is folded, the first `columns` < 8. */
function foldColumns(low: v128, high: v128, to: usize, columns: i32, rescale: v128): void {
  low = Lanes.madd(loadLow(to, columns), rescale, low)
  high = Lanes.madd(loadHigh(to, columns), rescale, high)
  storeColumns(low, high, to, columns)
}
