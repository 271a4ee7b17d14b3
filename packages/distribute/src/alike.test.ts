/** Groups of rows that are alike, as they are defined, and what travels of them. */
import { createEngine, type Engine } from '@prismal/tensor'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { normals } from '../../../test/random.js'
import { RUNS } from '../../../test/runs.js'
import { alike, alikeFlops, countBytes, countsOf, encodeCounts, meansOf, pieces, plannedCounts } from './alike.js'
import { ConnectionError } from './errors.js'
import { createPlan } from './plan.js'

/** The definition, each step by itself. */
function defined(rows: Float32Array, width: number, groups: number): number[][] {
  const all = Array.from({ length: rows.length / width }, (_, r) => [...rows.subarray(r * width, (r + 1) * width)])
  const off = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, c) => sum + (x - b[c]!) ** 2, 0)
  const nearest = (row: readonly number[], centres: readonly (readonly number[])[]): number => {
    const offs = centres.map(centre => off(row, centre))
    return offs.indexOf(Math.min(...offs))
  }
  const centres = [all[0]!]
  while (centres.length < groups) {
    const offs = all.map(row => Math.min(...centres.map(centre => off(row, centre))))
    centres.push(all[offs.indexOf(Math.max(...offs))]!)
  }
  const assigned = (to: readonly (readonly number[])[]): number[][] => {
    const joined = all.map(row => nearest(row, to))
    return to.map((_, g) => joined.flatMap((other, r) => (other === g ? [r] : [])))
  }
  const mean = (group: readonly number[]): number[] =>
    Array.from({ length: width }, (_, c) => group.reduce((sum, r) => sum + all[r]![c]!, 0) / group.length)
  return assigned(assigned(centres).map(mean))
}

/** Inner products of rows, each with each. */
function products(rows: Float32Array, width: number): Float64Array {
  const n = rows.length / width
  return Float64Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n]
    let sum = 0
    for (let c = 0; c < width; c++) sum += rows[i * width + c]! * rows[j * width + c]!
    return sum
  })
}
const grouped = (rows: Float32Array, width: number, groups: number): number[][] =>
  alike(products(rows, width), rows.length / width, groups)

const single = (n: number): number[][] => Array.from({ length: n }, (_, r) => [r])

describe('alike', () => {
  test('merges what the definition merges; no group is empty and no row is left out', () => {
    const sizing = fc
      .integer({ min: 1, max: 14 })
      .chain(n => fc.tuple(fc.constant(n), fc.integer({ min: 1, max: n }), fc.nat(10_000)))
    fc.assert(
      fc.property(sizing, ([n, clusters, seed]) => {
        const rows = normals(n * 5, seed)
        const want = defined(rows, 5, clusters)
        const got = grouped(rows, 5, clusters)
        if (clusters === n) expect(got).toEqual(single(n))
        else if (want.every(group => group.length > 0)) expect(got).toEqual(want)
        expect(got).toHaveLength(clusters)
        expect(got.every(group => group.length > 0)).toBe(true)
        expect(got.flat().toSorted((a, b) => a - b)).toEqual(single(n).flat())
      }),
      { numRuns: Math.ceil(RUNS / 2) },
    )
  })

  test('rows that are the same are one group, wherever they lie; an outlier stays alone', () => {
    const rows = Float32Array.from([1, 1, 0, 0, 90, 9, 1, 1, 0, 0.1, 1, 1])
    expect(grouped(rows, 2, 3)).toEqual([[0, 3, 5], [2], [1, 4]])
    expect(grouped(new Float32Array(8), 2, 2).flat().sort()).toEqual([0, 1, 2, 3])
    expect(grouped(new Float32Array(8).fill(Number.NaN), 2, 3)).toHaveLength(3)
  })
})

describe('what travels', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await createEngine()
  })
  afterAll(() => engine.dispose())
  const shape = { layers: 2, causal: false }
  const plan = createPlan(
    { shape, rows: [16], want: 'all', devices: 2 },
    { bounds: 'alike', segments: [3, 0], sink: 1, tail: 2 },
  )
  const [sequence] = plan.sequences as [(typeof plan.sequences)[0]]

  test('means of groups between exact rows, and counts that say of how many', () => {
    const scope = engine.scope()
    const x = scope.tensor(normals(8 * 4, 3), [8, 4])
    const values = x.floats()
    const found = [0, 1].map(p => pieces(sequence, 0, { from: p, to: 1 - p }, x, 0))
    expect(found[0]!.rows[0]).toBe(0)
    expect(found[1]!.rows.slice(-2)).toEqual([6, 7])
    for (const [p, { rows, runs, counts }] of found.entries()) {
      expect(rows.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
      expect(counts).toHaveLength(3)
      const means = meansOf(x, [found[p]!]).floats()
      for (const [m, [a, b]] of runs.entries())
        for (let c = 0; c < 4; c++) {
          const mean = rows.slice(a, b).reduce((sum, r) => sum + values[r * 4 + c]!, 0) / (b - a)
          expect(means[m * 4 + c]).toBeCloseTo(mean, 5)
        }
      const sizes = runs.map(([a, b]) => b - a)
      expect(countsOf(plan, 0, [0], p, 1 - p, encodeCounts(counts))).toEqual([sizes])
    }
    scope.dispose()
  })

  test('layers without means have no counts', () => {
    expect([0, 1].map(layer => countBytes(plan, layer, [0], 0, 1))).toEqual([6, 0])
    expect([0, 1].map(layer => alikeFlops(sequence, layer, 0, 1, 4))).toEqual([2 * 7 * 7 * 4, 0])
    expect(countsOf(plan, 1, [0], 1, 0, new Uint8Array(0))).toEqual([[1, 1]])
    expect(plannedCounts(plan, 0, [0], 0, 1)).toEqual([3, 2, 2])
  })

  test.each([[[3, 3, 2]], [[7, 0, 0]], [[1, 1, 1]], [[65535, 1, 7]]])('counts %j are refused', counts => {
    const read = () => countsOf(plan, 0, [0], 0, 1, encodeCounts(counts))
    expect(read).toThrow(ConnectionError)
    expect(read).toThrow(/^device 0 sent means of \d+ rows \(3 counts\); it has 7/)
  })

  test('many rows are compared within windows', () => {
    const [long] = createPlan(
      { shape, rows: [4096], want: 'all', devices: 2 },
      { bounds: 'alike', segments: 10, sink: 0 },
    ).sequences as [typeof sequence]
    const scope = engine.scope()
    const x = scope.tensor(normals(2048 * 4, 5), [2048, 4])
    const { rows, runs, counts } = pieces(long, 0, { from: 0, to: 1 }, x, 0)
    expect(rows.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 2048 }, (_, i) => i))
    expect(counts).toEqual(runs.map(([a, b]) => b - a))
    // Ten runs of 204 or 205 rows in four windows: 3, 3, 2 and 2 of them.
    const windows = [615, 615, 410, 408]
    const spans = [rows.slice(0, 615), rows.slice(615, 1230), rows.slice(1230, 1640), rows.slice(1640)]
    for (const [w, span] of spans.entries())
      expect(Math.max(...span) - Math.min(...span)).toBe((windows[w] as number) - 1)
    expect(alikeFlops(long, 0, 0, 1, 4)).toBe(windows.reduce((sum, n) => sum + 2 * n * n * 4, 0))
    scope.dispose()
  })

  test('too many rows to compare are refused', () => {
    const make = () => createPlan({ shape, rows: [131_080], want: 'all', devices: 2 }, { bounds: 'alike' })
    expect(make).toThrow(/^plan: bounds is "alike", but device 0 would merge 65539 rows; it takes 65535/)
  })
})
