/** Groups of rows that are alike, as they are defined, and what travels of them. */
import { createEngine, type Engine } from '@prismal/tensor'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { normals } from '../../../test/random.js'
import { RUNS } from '../../../test/runs.js'
import { alike, alikeFlops, countBytes, countsOf, encodeCounts, meansOf, pieces, plannedCounts } from './alike.js'
import { ConnectionError } from './errors.js'
import { createPlan } from './plan.js'

/** The definition: all pairs of groups are looked at again for each merge, with means and sums over their rows. */
function defined(rows: Float32Array, width: number, clusters: number): number[][] {
  const spread = (group: readonly number[]): number => {
    let sum = 0
    for (let c = 0; c < width; c++) {
      const values = group.map(r => rows[r * width + c]!)
      const mean = values.reduce((a, b) => a + b, 0) / values.length
      sum += values.reduce((total, x) => total + (x - mean) ** 2, 0)
    }
    return sum
  }
  let groups = Array.from({ length: rows.length / width }, (_, i) => [i])
  while (groups.length > clusters) {
    const pairs = groups.flatMap((a, i) => groups.slice(i + 1).map(b => [a, b] as const))
    const growth = pairs.map(([a, b]) => spread([...a, ...b]) - spread(a) - spread(b))
    const [a, b] = pairs[growth.indexOf(Math.min(...growth))]!
    groups = groups
      .filter(group => group !== b)
      .map(group => (group === a ? [...a, ...b].sort((x, y) => x - y) : group))
  }
  return groups
}

describe('alike', () => {
  test('merges what the definition merges', () => {
    const sizing = fc
      .integer({ min: 1, max: 14 })
      .chain(n => fc.tuple(fc.constant(n), fc.integer({ min: 1, max: n }), fc.nat(10_000)))
    fc.assert(
      fc.property(sizing, ([n, clusters, seed]) => {
        const rows = normals(n * 5, seed)
        expect(alike(rows, 5, clusters)).toEqual(defined(rows, 5, clusters))
      }),
      { numRuns: Math.ceil(RUNS / 2) },
    )
  })

  test('rows that are the same are one group, wherever they lie; an outlier stays alone', () => {
    const rows = Float32Array.from([1, 1, 0, 0, 90, 9, 1, 1, 0, 0.1, 1, 1])
    expect(alike(rows, 2, 3)).toEqual([[0, 3, 5], [1, 4], [2]])
    expect(alike(new Float32Array(8), 2, 2).flat().sort()).toEqual([0, 1, 2, 3])
    expect(alike(new Float32Array(8).fill(Number.NaN), 2, 3)).toHaveLength(3)
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
    const found = [0, 1].map(p => pieces(sequence, 0, p, x, 0))
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
      expect(countsOf(plan, 0, [0], p, encodeCounts(counts))).toEqual([sizes])
    }
    scope.dispose()
  })

  test('layers without means have no counts', () => {
    expect([0, 1].map(layer => countBytes(plan, layer, [0], 0))).toEqual([6, 0])
    expect([0, 1].map(layer => alikeFlops(sequence, layer, 0, 4))).toEqual([(7 * 6 * 3 * 4) / 2, 0])
    expect(countsOf(plan, 1, [0], 1, new Uint8Array(0))).toEqual([[1, 1]])
    expect(plannedCounts(plan, 0, [0], 0)).toEqual([3, 2, 2])
  })

  test.each([[[3, 3, 2]], [[7, 0, 0]], [[1, 1, 1]], [[65535, 1, 7]]])('counts %j are refused', counts => {
    const read = () => countsOf(plan, 0, [0], 0, encodeCounts(counts))
    expect(read).toThrow(ConnectionError)
    expect(read).toThrow(/^device 0 sent means of \d+ rows \(3 counts\); it has 7/)
  })

  test('too many rows to compare are refused', () => {
    const make = () => createPlan({ shape, rows: [4200], want: 'all', devices: 2 }, { bounds: 'alike' })
    expect(make).toThrow(/^plan: bounds is "alike", but device 0 would compare 2099 rows; it takes 2048/)
  })
})
