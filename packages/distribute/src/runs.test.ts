/** How rows are cut, for any numbers; the even and weighted formulas are those of prism_reference.py. */
import type { Run } from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import { sentRuns, splitEven, splitGraded, splitWeighted } from './runs.js'

const rows = fc.integer({ min: 0, max: 2000 })
const parts = fc.integer({ min: 1, max: 40 })
const weights = (least: number, most: number) =>
  fc
    .array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 9 }), fc.double({ min: 1e-3, max: 1e3, noNaN: true })), {
      minLength: least,
      maxLength: most,
    })
    .filter(all => all.some(w => w > 0))

const sizes = (runs: readonly Run[]): number[] => runs.map(([from, to]) => to - from)
/** Whether runs follow each other from 0 to `n` without a gap. */
const covers = (runs: readonly Run[], n: number): boolean =>
  runs.every(([from, to], i) => from <= to && from === (runs[i - 1]?.[1] ?? 0)) && (runs.at(-1)?.[1] ?? 0) === n
const spread = (values: readonly number[]): number => Math.max(0, ...values) - Math.min(...values, Number.MAX_VALUE)

describe('splitEven', () => {
  test.each([
    [10, 3, [4, 3, 3]],
    [197, 2, [99, 98]],
    [2, 5, [1, 1, 0, 0, 0]],
    [0, 2, [0, 0]],
    [6, 1, [6]],
  ])('%i rows among %i', (n, p, want) => expect(sizes(splitEven(n, p))).toEqual(want))

  test('covers the rows once, in order, sizes differing by at most one, longer ones first', () => {
    fc.assert(
      fc.property(rows, parts, (n, p) => {
        const runs = splitEven(n, p)
        expect(runs).toHaveLength(p)
        expect(covers(runs, n)).toBe(true)
        expect(spread(sizes(runs))).toBeLessThanOrEqual(1)
        expect(sizes(runs)).toEqual(sizes(runs).toSorted((a, b) => b - a))
      }),
      { numRuns: RUNS },
    )
  })
})

describe('splitWeighted', () => {
  test.each([
    [40, [1, 2, 4], [6, 11, 23]],
    [5, [1, 1], [3, 2]],
    [10, [0, 1, 0, 1, 0], [0, 5, 0, 5, 0]],
    [7, [3], [7]],
    [1, [1, 1, 1], [0, 1, 0]],
  ])('%i rows by %j', (n, w, want) => expect(sizes(splitWeighted(n, w))).toEqual(want))

  test('covers the rows once, in order; each end is its cumulative share rounded half up; no weight, no rows', () => {
    fc.assert(
      fc.property(rows, weights(1, 40), (n, w) => {
        const runs = splitWeighted(n, w)
        expect(runs).toHaveLength(w.length)
        expect(covers(runs, n)).toBe(true)
        const total = w.reduce((a, b) => a + b, 0)
        for (const [i, [from, to]] of runs.entries()) {
          const share = (n * w.slice(0, i + 1).reduce((a, b) => a + b, 0)) / total
          expect(to).toBe(Math.floor(share + 0.5))
          if (w[i] === 0) expect(to).toBe(from)
        }
      }),
      { numRuns: RUNS },
    )
  })
})

describe('sentRuns', () => {
  test.each([
    { run: [0, 10], sink: 0, segments: 3, want: [4, 3, 3] },
    { run: [0, 10], sink: 1, segments: 3, want: [1, 3, 3, 3] },
    { run: [10, 20], sink: 1, segments: 3, want: [4, 3, 3] },
    { run: [2, 6], sink: 4, segments: 1, want: [1, 1, 2] },
    { run: [0, 3], sink: 9, segments: 2, want: [1, 1, 1] },
    { run: [0, 3], sink: 0, segments: 99, want: [1, 1, 1] },
    { run: [5, 5], sink: 9, segments: 2, want: [] },
    { run: [0, 4], sink: 2, segments: 0, want: [1, 1] },
  ] as const)('rows $run, sink $sink, L $segments', ({ run, sink, segments, want }) =>
    expect(sizes(sentRuns(run, { rows: 30, sink, segments }))).toEqual(want),
  )

  test('covers the partition once; sink rows alone, the others in at most L runs of sizes differing by at most one', () => {
    const segments = fc.integer({ min: 1, max: 400 })
    const sinks = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 700 }))
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 600 }),
        fc.integer({ min: 0, max: 300 }),
        sinks,
        segments,
        (from, n, sink, L) => {
          const runs = sentRuns([from, from + n], { rows: from + n, sink, segments: L })
          expect(covers(runs, n)).toBe(true)
          const exact = Math.max(0, Math.min(sink, from + n) - from)
          const others = sizes(runs.slice(exact))
          expect(sizes(runs.slice(0, exact))).toEqual(new Array(exact).fill(1))
          expect(others).toHaveLength(Math.min(L, n - exact))
          expect(others.every(size => size >= 1)).toBe(true)
          if (others.length > 0) expect(spread(others)).toBeLessThanOrEqual(1)
        },
      ),
      { numRuns: RUNS },
    )
  })

  test('as many segments as rows gives single rows', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 5 }), fc.nat(50), (n, sink, more) => {
        expect(sizes(sentRuns([0, n], { rows: n, sink, segments: Math.max(1, n) + more }))).toEqual(
          new Array(n).fill(1),
        )
      }),
      { numRuns: RUNS },
    )
  })
})

describe('splitGraded', () => {
  const after = { before: false, after: true }
  test.each([
    [10, 4, after, [5, 3, 1, 1]],
    [256, 16, after, [63, 48, 36, 28, 21, 16, 12, 10, 6, 5, 3, 3, 2, 1, 1, 1]],
    [12, 5, { before: true, after: true }, [1, 2, 6, 2, 1]],
    [12, 4, { before: true, after: true }, [1, 5, 5, 1]],
    [9, 2, { before: true, after: true }, [5, 4]],
    [9, 2, { before: true, after: false }, [1, 8]],
    [9, 1, after, [9]],
    [9, 4, { before: false, after: false }, [3, 2, 2, 2]],
    [4, 4, after, [1, 1, 1, 1]],
  ] as const)('%i rows in %i by %j', (n, L, cuts, want) => expect(sizes(splitGraded(n, L, cuts))).toEqual(want))

  test.each([
    [256, 16, after, 1.5, [85, 57, 38, 26, 17, 11, 7, 4, 3, 2, 1, 1, 1, 1, 1, 1]],
    [12, 5, { before: true, after: true }, 2, [1, 3, 5, 2, 1]],
    [20, 3, after, 16, [18, 1, 1]],
    [20, 3, after, 1, [7, 7, 6]],
  ] as const)('%i rows in %i by %j, each %d times the next', (n, L, cuts, factor, want) =>
    expect(sizes(splitGraded(n, L, cuts, factor))).toEqual(want),
  )

  test('with a factor: L runs that cover the rows, the largest about so much longer than its neighbour', () => {
    const sizing = fc
      .integer({ min: 1, max: 1000 })
      .chain(n => fc.tuple(fc.constant(n), fc.integer({ min: 2, max: 100 })))
    fc.assert(
      fc.property(sizing, fc.double({ min: 1.1, max: 8, noNaN: true }), ([n, L], factor) => {
        fc.pre(L <= n)
        const runs = splitGraded(n, L, after, factor)
        const all = sizes(runs)
        expect(covers(runs, n)).toBe(true)
        expect(all).toHaveLength(L)
        expect(all).toEqual(all.toSorted((a, b) => b - a))
        const [far, next] = all as [number, number]
        if (next > 2) expect(Math.abs(far / factor - next)).toBeLessThanOrEqual(1 + 1 / factor)
      }),
      { numRuns: RUNS },
    )
  })

  test('covers the rows once with L runs, of one row beside a cut and never shorter away from it', () => {
    const sizing = fc
      .integer({ min: 1, max: 3000 })
      .chain(n => fc.tuple(fc.constant(n), fc.integer({ min: 1, max: Math.min(n, 200) })))
    const cuts = fc.record({ before: fc.boolean(), after: fc.boolean() })
    fc.assert(
      fc.property(sizing, cuts, ([n, L], { before, after }) => {
        const runs = splitGraded(n, L, { before, after })
        const all = sizes(runs)
        expect(covers(runs, n)).toBe(true)
        expect(all).toHaveLength(L)
        expect(Math.min(...all)).toBeGreaterThanOrEqual(1)
        const isGraded = (before !== after && L > 1) || (before && after && L > 2)
        if (!isGraded) {
          expect(runs).toEqual(splitEven(n, L))
          return
        }
        if (before) expect(all[0]).toBe(1)
        if (after) expect(all.at(-1)).toBe(1)
        const middle = before && after ? Math.ceil(L / 2) : L
        if (before) expect(all.slice(0, middle)).toEqual(all.slice(0, middle).toSorted((a, b) => a - b))
        if (after) expect(all.slice(-middle)).toEqual(all.slice(-middle).toSorted((a, b) => b - a))
        // Geometric: within a row of ρ^e for the ρ whose sizes are the rows.
        const distances = all.map((_, i) => Math.min(before ? i : L, after ? L - 1 - i : L))
        const sum = (rho: number): number => distances.reduce((total, e) => total + rho ** e, 0)
        let [low, high] = [1, n + 1]
        for (let i = 0; i < 100; i++) {
          const middle = (low + high) / 2
          if (sum(middle) <= n) low = middle
          else high = middle
        }
        for (const [i, e] of distances.entries()) expect(Math.abs(all[i]! - low ** e)).toBeLessThanOrEqual(1 + 1e-6)
      }),
      { numRuns: RUNS },
    )
  })
})

describe('sentRuns, graded', () => {
  test('rows beside later ones are exact; where the model sees both ways, those beside earlier ones too', () => {
    const graded = { rows: 30, segments: 5, bounds: 'graded' as const }
    const of = (run: Run, causal: boolean): number[] => sizes(sentRuns(run, { ...graded, causal }))
    expect(of([0, 10], false)).toEqual([4, 3, 1, 1, 1])
    expect(of([0, 10], true)).toEqual([4, 3, 1, 1, 1])
    expect(of([10, 20], true)).toEqual([4, 3, 1, 1, 1])
    expect(of([10, 20], false)).toEqual([1, 2, 4, 2, 1])
    expect(of([20, 30], false)).toEqual([1, 1, 1, 3, 4])
  })

  test('rows near a cut are single', () => {
    const near = { rows: 30, segments: 2, near: 2 }
    const of = (run: Run, causal: boolean): number[] => sizes(sentRuns(run, { ...near, causal }))
    expect(of([0, 10], false)).toEqual([4, 4, 1, 1])
    expect(of([10, 20], true)).toEqual([4, 4, 1, 1])
    expect(of([10, 20], false)).toEqual([1, 1, 3, 3, 1, 1])
    expect(of([20, 30], false)).toEqual([1, 1, 4, 4])
    expect(of([10, 13], false)).toEqual([1, 1, 1])
    expect(of([20, 30], true)).toEqual([5, 5])
  })

  test('anchored rows are left out, sink and tail rows single', () => {
    const sent = (run: Run, more: object): Run[] => sentRuns(run, { rows: 12, segments: 2, ...more })
    expect(sent([0, 6], { anchor: 2, sink: 3 })).toEqual([
      [2, 3],
      [3, 5],
      [5, 6],
    ])
    expect(sent([6, 12], { tail: 2 })).toEqual([
      [0, 2],
      [2, 4],
      [4, 5],
      [5, 6],
    ])
    expect(sent([6, 12], { tail: 9, sink: 8, segments: 1 })).toEqual(Array.from({ length: 6 }, (_, i) => [i, i + 1]))
    expect(sent([0, 2], { anchor: 3 })).toEqual([])
  })
})
