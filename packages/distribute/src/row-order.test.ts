/** The curve that an image's patches are dealt along. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import type { RowOrder } from './options.js'
import { hilbertCurve, rowOrder } from './row-order.js'
import { splitEven } from './runs.js'

const side = fc.integer({ min: 1, max: 24 })

describe('hilbertCurve', () => {
  test('4×4 is the curve as Hilbert drew it', () => {
    const order = hilbertCurve(4, 4).map(([x, y]) => 4 * y + x)
    expect(order).toEqual([0, 1, 5, 4, 8, 12, 13, 9, 10, 14, 15, 11, 7, 6, 2, 3])
  })

  test('goes through every cell of any rectangle once, to a neighbour each time; at most one step is diagonal', () => {
    fc.assert(
      fc.property(side, side, (width, height) => {
        const cells = hilbertCurve(width, height)
        expect(new Set(cells.map(([x, y]) => y * width + x)).size).toBe(width * height)
        expect(cells).toHaveLength(width * height)
        expect(cells.every(([x, y]) => x >= 0 && x < width && y >= 0 && y < height)).toBe(true)
        const steps = cells
          .slice(1)
          .map(([x, y], i) => [Math.abs(x - cells[i]![0]), Math.abs(y - cells[i]![1])] as const)
        expect(steps.every(([dx, dy]) => Math.max(dx, dy) === 1)).toBe(true)
        const diagonal = steps.filter(([dx, dy]) => dx + dy === 2).length
        const [long, short] = [Math.max(width, height), Math.min(width, height)]
        expect(diagonal).toBeLessThanOrEqual(long % 2 === 1 && short % 2 === 0 ? 1 : 0)
      }),
      { numRuns: RUNS },
    )
  })

  test.each([
    [8, 8, 4],
    [14, 14, 4],
    [16, 16, 8],
  ])('%i×%i in %i parts: cells lie nearer to each other than in raster order', (width, height, parts) => {
    const raster = Array.from({ length: width * height }, (_, i) => [i % width, Math.floor(i / width)] as const)
    const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length
    /** Mean squared distance of a part's cells from their centre. */
    const width2 = (cells: readonly (readonly [number, number])[]): number =>
      mean(
        splitEven(cells.length, parts).map(([from, to]) => {
          const run = cells.slice(from, to)
          const [x, y] = [mean(run.map(c => c[0])), mean(run.map(c => c[1]))]
          return mean(run.map(c => (c[0] - x) ** 2 + (c[1] - y) ** 2))
        }),
      )
    expect(width2(hilbertCurve(width, height))).toBeLessThan(0.75 * width2(raster))
  })
})

describe('rowOrder', () => {
  const bounds = [
    [0, 3],
    [3, 6],
  ] as const
  const image = { prefixRows: 2, patchGrid: [2, 2] } as const
  const of = (order: RowOrder, more: object = {}): number[] | undefined =>
    rowOrder(6, { order, bounds, head: 0, tail: 0, causal: false, ...more }, image)

  test('rows before the patches stay first, and so do those that keep their places', () => {
    expect(of('raster')).toBeUndefined()
    expect(of('hilbert')).toEqual([0, 1, 2, 4, 5, 3])
    expect(of('hilbert', { head: 4 })).toEqual([0, 1, 2, 3, 4, 5])
    expect(of('hilbert', { tail: 1 })).toEqual([0, 1, 2, 4, 3, 5])
    expect(of('in-turn')).toEqual([0, 1, 3, 2, 4, 5])
    expect(of('hilbert-in-turn')).toEqual([0, 1, 4, 2, 5, 3])
  })

  test('on two devices, a curve in turn deals a checkerboard', () => {
    const grid = { prefixRows: 1, patchGrid: [8, 8] } as const
    const halves = splitEven(65, 2)
    const ordering = { order: 'hilbert-in-turn', bounds: halves, head: 1, tail: 0, causal: false } as const
    const order = rowOrder(65, ordering, grid)!.map(row => row - 1)
    const colour = (patch: number): number => ((patch % 8) + Math.floor(patch / 8)) % 2
    expect(new Set(order.slice(1, 33).map(colour))).toEqual(new Set([0]))
    expect(new Set(order.slice(33).map(colour))).toEqual(new Set([1]))
  })

  test('any order has every row once, and device p as many as its partition', () => {
    const sizes = fc.array(fc.nat(20), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(sizes, fc.nat(6), fc.nat(6), (counts, head, tail) => {
        const rows = counts.reduce((a, b) => a + b, 0)
        const before = (p: number): number => counts.slice(0, p).reduce((a, b) => a + b, 0)
        const runs = counts.map((count, p) => [before(p), before(p) + count] as const)
        const order = rowOrder(rows, { order: 'in-turn', bounds: runs, head, tail, causal: false }, {})!
        expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: rows }, (_, i) => i))
        for (let i = 0; i < Math.min(rows, head); i++) expect(order[i]).toBe(i)
        for (let i = Math.max(0, rows - tail); i < rows; i++) expect(order[i]).toBe(i)
      }),
      { numRuns: RUNS },
    )
  })
})
