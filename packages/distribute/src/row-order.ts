/** The order in which the rows of a sequence are dealt: along a curve that keeps an image's neighbours together, or in turn, which separates them. */
import type { StackShape } from '@prismal/models'
import type { Run } from '@prismal/tensor'
import { PlanError } from './errors.js'
import type { RowOrder } from './options.js'

/** What of a model's shape rows are ordered and cut by. */
export type RowShape = Partial<Pick<StackShape, 'patchGrid' | 'prefixRows' | 'patchWidth'>>

export interface Ordering {
  readonly order: RowOrder
  /** The partitions, as places. */
  readonly bounds: readonly Run[]
  /** Leading and last rows that stay where they are: those that are sent exactly, or that every device computes. */
  readonly head: number
  readonly tail: number
  readonly causal: boolean
  /** Rows that a device gets at a time, where they are dealt in turn; default 1. */
  readonly turn?: number
}

/** The row at each place of a sequence of `rows` rows; undefined where all are at their own. Throws {@link PlanError} where the model has no such order. */
export function rowOrder(rows: number, ordering: Ordering, shape: RowShape): number[] | undefined {
  const { order, bounds, causal, turn = 1 } = ordering
  if (order === 'raster') return undefined
  if (causal) throw new PlanError(`plan: order is "${order}", but the model is causal: it takes "raster"`)
  const end = Math.max(0, rows - ordering.tail)
  // The first row stays first: classifiers read it, and much attention goes there.
  const head = Math.min(end, Math.max(1, shape.prefixRows ?? 0, ordering.head))
  const all = isAlongCurve(order) ? curveOrder(rows, order, shape) : Array.from({ length: rows }, (_, row) => row)
  const inner = all.filter(row => row >= head && row < end)
  const counts = bounds.map(([from, to]) => Math.max(0, Math.min(to, end) - Math.max(from, head)))
  const dealt = order === 'hilbert' ? inner : inTurn(inner, counts, turn)
  const same = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)
  return [...same(0, head), ...dealt, ...same(end, rows)]
}

/** Whether a sequence has a row for every patch of the model's grid, where it has one. */
export const fillsGrid = (rows: number, { patchGrid, prefixRows = 0 }: RowShape): boolean =>
  patchGrid === undefined || rows === prefixRows + patchGrid[0] * patchGrid[1]

const isAlongCurve = (order: RowOrder): boolean => order === 'hilbert' || order === 'hilbert-in-turn'

/** Prefix rows, then patches along the curve. */
function curveOrder(rows: number, order: RowOrder, { patchGrid, prefixRows = 0 }: RowShape): number[] {
  if (!patchGrid) throw new PlanError(`plan: order is "${order}", but the model has no grid of patches`)
  const [height, width] = patchGrid
  if (!fillsGrid(rows, { patchGrid, prefixRows }))
    throw new PlanError(
      `plan: order is "${order}", but a sequence has ${rows} rows, not ${prefixRows} and ${height}×${width} patches`,
    )
  const prefix = Array.from({ length: prefixRows }, (_, i) => i)
  return [...prefix, ...hilbertCurve(width, height).map(([x, y]) => prefixRows + y * width + x)]
}

/** Rows dealt out in turn, `turn` at a time, as many to each device as it takes, spread evenly; those of a device in their order, device after device. */
function inTurn(rows: readonly number[], counts: readonly number[], turn: number): number[] {
  const taken = counts.map((count, device) => ({ device, count, rows: [] as number[] }))
  const isBefore = (a: (typeof taken)[number], b: (typeof taken)[number]): boolean =>
    (2 * a.rows.length + 1) * b.count < (2 * b.rows.length + 1) * a.count
  for (let at = 0; at < rows.length; ) {
    const open = taken.filter(t => t.rows.length < t.count)
    const next = open.reduce((next, t) => (isBefore(t, next) ? t : next))
    const some = rows.slice(at, at + Math.min(turn, next.count - next.rows.length))
    next.rows.push(...some)
    at += some.length
  }
  return taken.flatMap(t => t.rows)
}

type Cell = readonly [x: number, y: number]

/**
 * The cells of a rectangle of any size, each once, along a generalised Hilbert curve: every step goes to a neighbour, but for one diagonal
 * step where the longer side is odd and the other even. The construction of J. Červený's "gilbert": a block is spanned by a long and a short
 * vector; a long one is halved, others are crossed in three parts, the outer ones turned.
 */
export function hilbertCurve(width: number, height: number): Cell[] {
  const cells: Cell[] = []
  const along = (at: Cell, a: Cell, b: Cell): void => {
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
    const [across, down]: Cell[] = [
      [width, 0],
      [0, height],
    ]
    if (width >= height) along([0, 0], across as Cell, down as Cell)
    else along([0, 0], down as Cell, across as Cell)
  }
  return cells
}

const plus = ([x, y]: Cell, [dx, dy]: Cell, times = 1): Cell => [x + dx * times, y + dy * times]
const times = ([x, y]: Cell, by: number): Cell => [x * by, y * by]
const half = ([x, y]: Cell): Cell => [Math.floor(x / 2), Math.floor(y / 2)]
const unit = ([x, y]: Cell): Cell => [Math.sign(x), Math.sign(y)]
/** Length of a vector along one axis. */
const size = ([x, y]: Cell): number => Math.abs(x + y)
