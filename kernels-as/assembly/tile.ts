// The register tile under the matrix product and attention: a few rows of A times a panel of B.
//
// Each element of the product is summed in one order over k, whatever the tile's height or width: that is why a row's
// bits do not depend on how many rows are computed with it.
import { Lanes } from './lanes'
import { Line } from './line'

/**
 * Rows of a full tile at most: as many as the 16 registers of x64 hold beside three operands. A fused multiply-add needs
 * ten chains or twelve to hide its latency; a product and a sum are happy with eight, and need a register in between.
 */
const TILE_ROWS: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 4

/** The rows of a full tile where an engine wants `asked` at most, 0 standing for no wish: some spill six rows of registers. */
export function tileRows(asked: i32): i32 {
  return asked > 0 ? min(asked, TILE_ROWS) : TILE_ROWS
}

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

/** The sums of a tile, and what becomes of them. */
export abstract class Tile {
  /**
   * rows × 8 sums over k. `a`: rows of A, `aStride` bytes apart; `b`: a panel [k][8]. The line of row r goes to
   * `to + r·toStride`, `columns` of it exist. FINISH: `extra` is the bias or 0, `residual` and its stride as `to`.
   * FOLD: `extra` holds one factor per row.
   */
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
    if (TILE_ROWS >= 6 && rows == 6)
      Tile.ofRows(6, job, a, aStride, b, k, to, toStride, columns, extra, residual, residualStride, activation)
    else if (TILE_ROWS >= 5 && rows == 5)
      Tile.ofRows(5, job, a, aStride, b, k, to, toStride, columns, extra, residual, residualStride, activation)
    else if (rows == 4)
      Tile.ofRows(4, job, a, aStride, b, k, to, toStride, columns, extra, residual, residualStride, activation)
    else if (rows == 3)
      Tile.ofRows(3, job, a, aStride, b, k, to, toStride, columns, extra, residual, residualStride, activation)
    else if (rows == 2)
      Tile.ofRows(2, job, a, aStride, b, k, to, toStride, columns, extra, residual, residualStride, activation)
    else Tile.ofRows(1, job, a, aStride, b, k, to, toStride, columns, extra, residual, residualStride, activation)
  }

  /** The same of a number of rows that the compiler knows. */
  @inline static ofRows(
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
      if (rows > 4) {
        // Four steps of k a turn: an engine asks in each turn whether it shall stop, too. Where it checks the bounds of
        // memory in code, a load costs a branch, and each other offset a subtraction: of five rows, two have their elements
        // spread from a vector, for which six rows leave no register, and the panel's place moves on with each step.
        while (stop - b >= 128) {
          const four0 = Tile.four(rows == 5, a0)
          const four1 = Tile.four(rows == 5, a1)
          let left = v128.load(b)
          let right = v128.load(b, 16)
          let x = Tile.element(rows == 5, four0, a0, 0)
          l0 = Lanes.madd(x, left, l0)
          h0 = Lanes.madd(x, right, h0)
          x = Tile.element(rows == 5, four1, a1, 0)
          l1 = Lanes.madd(x, left, l1)
          h1 = Lanes.madd(x, right, h1)
          x = v128.load32_splat(a2)
          l2 = Lanes.madd(x, left, l2)
          h2 = Lanes.madd(x, right, h2)
          x = v128.load32_splat(a3)
          l3 = Lanes.madd(x, left, l3)
          h3 = Lanes.madd(x, right, h3)
          x = v128.load32_splat(a4)
          l4 = Lanes.madd(x, left, l4)
          h4 = Lanes.madd(x, right, h4)
          if (rows > 5) {
            x = v128.load32_splat(a5)
            l5 = Lanes.madd(x, left, l5)
            h5 = Lanes.madd(x, right, h5)
          }

          if (rows == 5) b += 32
          left = Tile.left(rows == 5, b, 1)
          right = Tile.right(rows == 5, b, 1)
          x = Tile.element(rows == 5, four0, a0, 1)
          l0 = Lanes.madd(x, left, l0)
          h0 = Lanes.madd(x, right, h0)
          x = Tile.element(rows == 5, four1, a1, 1)
          l1 = Lanes.madd(x, left, l1)
          h1 = Lanes.madd(x, right, h1)
          x = v128.load32_splat(a2, 4)
          l2 = Lanes.madd(x, left, l2)
          h2 = Lanes.madd(x, right, h2)
          x = v128.load32_splat(a3, 4)
          l3 = Lanes.madd(x, left, l3)
          h3 = Lanes.madd(x, right, h3)
          x = v128.load32_splat(a4, 4)
          l4 = Lanes.madd(x, left, l4)
          h4 = Lanes.madd(x, right, h4)
          if (rows > 5) {
            x = v128.load32_splat(a5, 4)
            l5 = Lanes.madd(x, left, l5)
            h5 = Lanes.madd(x, right, h5)
          }

          if (rows == 5) b += 32
          left = Tile.left(rows == 5, b, 2)
          right = Tile.right(rows == 5, b, 2)
          x = Tile.element(rows == 5, four0, a0, 2)
          l0 = Lanes.madd(x, left, l0)
          h0 = Lanes.madd(x, right, h0)
          x = Tile.element(rows == 5, four1, a1, 2)
          l1 = Lanes.madd(x, left, l1)
          h1 = Lanes.madd(x, right, h1)
          x = v128.load32_splat(a2, 8)
          l2 = Lanes.madd(x, left, l2)
          h2 = Lanes.madd(x, right, h2)
          x = v128.load32_splat(a3, 8)
          l3 = Lanes.madd(x, left, l3)
          h3 = Lanes.madd(x, right, h3)
          x = v128.load32_splat(a4, 8)
          l4 = Lanes.madd(x, left, l4)
          h4 = Lanes.madd(x, right, h4)
          if (rows > 5) {
            x = v128.load32_splat(a5, 8)
            l5 = Lanes.madd(x, left, l5)
            h5 = Lanes.madd(x, right, h5)
          }

          if (rows == 5) b += 32
          left = Tile.left(rows == 5, b, 3)
          right = Tile.right(rows == 5, b, 3)
          x = Tile.element(rows == 5, four0, a0, 3)
          l0 = Lanes.madd(x, left, l0)
          h0 = Lanes.madd(x, right, h0)
          x = Tile.element(rows == 5, four1, a1, 3)
          l1 = Lanes.madd(x, left, l1)
          h1 = Lanes.madd(x, right, h1)
          x = v128.load32_splat(a2, 12)
          l2 = Lanes.madd(x, left, l2)
          h2 = Lanes.madd(x, right, h2)
          x = v128.load32_splat(a3, 12)
          l3 = Lanes.madd(x, left, l3)
          h3 = Lanes.madd(x, right, h3)
          x = v128.load32_splat(a4, 12)
          l4 = Lanes.madd(x, left, l4)
          h4 = Lanes.madd(x, right, h4)
          if (rows > 5) {
            x = v128.load32_splat(a5, 12)
            l5 = Lanes.madd(x, left, l5)
            h5 = Lanes.madd(x, right, h5)
          }

          a0 += 16
          a1 += 16
          a2 += 16
          a3 += 16
          a4 += 16
          if (rows > 5) a5 += 16
          b += rows == 5 ? 32 : 128
        }
      }
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

  /** The next four elements of a row of A, where they are held. */
  @inline static four(isHeld: bool, a: usize): v128 {
    return isHeld ? v128.load(a) : Lanes.zero()
  }

  /** The `i`th of them in each lane, from memory where they are not held. */
  @inline static element(isHeld: bool, four: v128, a: usize, i: i32): v128 {
    if (i == 0) return isHeld ? v128.shuffle<f32>(four, four, 0, 0, 0, 0) : v128.load32_splat(a)
    if (i == 1) return isHeld ? v128.shuffle<f32>(four, four, 1, 1, 1, 1) : v128.load32_splat(a, 4)
    if (i == 2) return isHeld ? v128.shuffle<f32>(four, four, 2, 2, 2, 2) : v128.load32_splat(a, 8)
    return isHeld ? v128.shuffle<f32>(four, four, 3, 3, 3, 3) : v128.load32_splat(a, 12)
  }

  /** The left half of line `i` of four of a panel, whose place moves on with each line, or not. */
  @inline static left(moves: bool, b: usize, i: i32): v128 {
    if (moves) return v128.load(b)
    return i == 1 ? v128.load(b, 32) : i == 2 ? v128.load(b, 64) : v128.load(b, 96)
  }

  /** The right half of it. */
  @inline static right(moves: bool, b: usize, i: i32): v128 {
    if (moves) return v128.load(b, 16)
    return i == 1 ? v128.load(b, 48) : i == 2 ? v128.load(b, 80) : v128.load(b, 112)
  }

  /** What becomes of the sums of row `r`. */
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
        Line.foldColumns(low, high, to, columns, rescale)
      }
    } else {
      Line.finishAny(low, high, to, columns, extra, residual, activation)
    }
  }
}
