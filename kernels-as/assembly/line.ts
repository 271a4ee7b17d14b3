// What ends a line of 8 sums, of whatever they were made.
import { Lanes } from './lanes'
import { Functions, NONE } from './math'

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
      Line.finishAny(low, high, to, columns, bias, residual, activation)
    }
  }

  /** As `finish`, for any columns and activation. */
  static finishAny(
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
  static foldColumns(low: v128, high: v128, to: usize, columns: i32, rescale: v128): void {
    low = Lanes.madd(loadLow(to, columns), rescale, low)
    high = Lanes.madd(loadHigh(to, columns), rescale, high)
    storeColumns(low, high, to, columns)
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
