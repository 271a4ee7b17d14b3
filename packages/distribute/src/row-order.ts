/** The order in which the rows of an image are dealt: its prefix rows, then its patches along a curve that keeps neighbours together. */
import type { StackShape } from '@prismal/models'
import { PlanError } from './errors.js'

/** What of a model's shape rows are ordered and cut by. */
export type RowShape = Partial<Pick<StackShape, 'patchGrid' | 'prefixRows' | 'patchWidth'>>

/** The row at each place of a sequence of `rows` rows along a Hilbert curve. Throws {@link PlanError} where they are not those of a grid. */
export function hilbertOrder(rows: number, { patchGrid, prefixRows = 0 }: RowShape): number[] {
  if (!patchGrid)
    throw new PlanError('plan: order is "hilbert", but the model has no grid of patches: it takes "raster"')
  const [height, width] = patchGrid
  if (rows !== prefixRows + height * width)
    throw new PlanError(
      `plan: order is "hilbert", but a sequence has ${rows} rows, not ${prefixRows} and ${height}×${width} patches`,
    )
  const prefix = Array.from({ length: prefixRows }, (_, i) => i)
  return [...prefix, ...hilbertCurve(width, height).map(([x, y]) => prefixRows + y * width + x)]
}

type Point2 = readonly [x: number, y: number]

/**
 * The cells of a rectangle of any size, each once, along a generalised Hilbert curve: every step goes to a neighbour, but for one diagonal
 * step where the longer side is odd and the other even. The construction of J. Červený's "gilbert": a block is spanned by a long and a short
 * vector; a long one is halved, others are crossed in three parts, the outer ones turned.
 */
export function hilbertCurve(width: number, height: number): Point2[] {
  const cells: Point2[] = []
  const along = (at: Point2, a: Point2, b: Point2): void => {
    const [w, h] = [size(a), size(b)]
    const [ua, ub] = [unit(a), unit(b)]
    if (h === 1 || w === 1) {
      const step = h === 1 ? ua : ub
      for (let i = 0; i < Math.max(w, h); i++) cells.push(plus(at, step, i))
      return
    }
    let a2 = half(a)
    let b2 = half(b)
    if (2 * w > 3 * h) {
      // Even steps let the curve leave a part where the next one begins.
      if (size(a2) % 2 === 1 && w > 2) a2 = plus(a2, ua)
      along(at, a2, b)
      along(plus(at, a2), plus(a, a2, -1), b)
      return
    }
    if (size(b2) % 2 === 1 && h > 2) b2 = plus(b2, ub)
    along(at, b2, a2)
    along(plus(at, b2), a, plus(b, b2, -1))
    const last = plus(plus(plus(plus(at, a), ua, -1), b2), ub, -1)
    along(last, times(b2, -1), times(plus(a, a2, -1), -1))
  }
  if (width * height > 0) {
    const [across, down]: Point2[] = [
      [width, 0],
      [0, height],
    ]
    if (width >= height) along([0, 0], across as Point2, down as Point2)
    else along([0, 0], down as Point2, across as Point2)
  }
  return cells
}

const plus = ([x, y]: Point2, [dx, dy]: Point2, times = 1): Point2 => [x + dx * times, y + dy * times]
const times = ([x, y]: Point2, by: number): Point2 => [x * by, y * by]
const half = ([x, y]: Point2): Point2 => [Math.floor(x / 2), Math.floor(y / 2)]
const unit = ([x, y]: Point2): Point2 => [Math.sign(x), Math.sign(y)]
/** Length of a vector along one axis. */
const size = ([x, y]: Point2): number => Math.abs(x + y)
