/** Who holds which rows and what is sent of them, for any plan; the formulas are those of prism_reference.py. */
import type { Run } from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import { PlanError } from './errors.js'
import {
  createPlan,
  decoderOf,
  handoffs,
  hasQueries,
  type Plan,
  POINTS,
  type SharingOptions,
  STRATEGIES,
  sentRuns,
  splitEven,
  splitWeighted,
  transfers,
  WIRE_FORMATS,
  wantedHere,
} from './plan.js'

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
    expect(sizes(sentRuns(run, sink, segments))).toEqual(want),
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
          const runs = sentRuns([from, from + n], sink, L)
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
        expect(sizes(sentRuns([0, n], sink, Math.max(1, n) + more))).toEqual(new Array(n).fill(1))
      }),
      { numRuns: RUNS },
    )
  })
})

const shape = { layers: 3, causal: false }
const planOf = (options: SharingOptions, more: { rows?: number[]; devices?: number; causal?: boolean } = {}): Plan => {
  const { rows = [20], devices = 3, causal = false } = more
  return createPlan({ shape: { layers: 3, causal }, rows, want: 'all', devices }, options)
}

const anyPlan = fc
  .record({
    devices: fc.integer({ min: 1, max: 9 }),
    rows: fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 }),
    causal: fc.boolean(),
    decodes: fc.boolean(),
    strategy: fc.constantFrom(...STRATEGIES),
    segments: fc.integer({ min: 1, max: 12 }),
    sink: fc.integer({ min: 0, max: 5 }),
    handoff: fc.constantFrom('means' as const, 'full' as const),
    want: fc.constantFrom('all' as const, 'first' as const, 'last' as const),
    seed: fc.nat(),
  })
  .chain(all =>
    fc.record({ all: fc.constant(all), weights: fc.option(weights(all.devices, all.devices), { nil: undefined }) }),
  )
  .map(({ all: { devices, rows, causal, decodes, want, seed, ...options }, weights }) => {
    const lost = seed % 3 === 0 ? ([seed % devices, seed % 4] as const) : undefined
    const request = { shape: { layers: 3, causal }, rows, want, devices, decodes }
    return createPlan(request, { ...options, ...(weights && { weights }), ...(lost && { lost }) })
  })

describe('createPlan', () => {
  test('every sequence is covered once, in order, and every wanted row lies on one device', () => {
    fc.assert(
      fc.property(anyPlan, plan => {
        for (const sequence of plan.sequences) {
          expect(sequence.bounds).toHaveLength(plan.devices)
          expect(covers(sequence.bounds, sequence.rows)).toBe(true)
          const found = sequence.bounds.flatMap(([from], p) => wantedHere(sequence, p).map(r => from + r))
          expect(found).toEqual(sequence.wanted)
          if (plan.strategy === 'whole') expect(sizes(sequence.bounds).filter(n => n > 0)).toEqual([sequence.rows])
        }
      }),
      { numRuns: RUNS },
    )
  })

  test('sends what its strategy says', () => {
    fc.assert(
      fc.property(anyPlan, ({ strategy, sequences }) => {
        for (const { bounds, sent } of sequences)
          for (const [p, [from, to]] of bounds.entries()) {
            if (strategy === 'full') expect(sizes(sent[p]!)).toEqual(new Array(to - from).fill(1))
            else if (strategy === 'means') expect(covers(sent[p]!, to - from)).toBe(true)
            else expect(sent[p]).toEqual([])
          }
      }),
      { numRuns: RUNS },
    )
  })

  test('rows travel once they are there, to devices with queries; onwards only where the model is causal', () => {
    fc.assert(
      fc.property(anyPlan, plan => {
        const { devices, causal, lost, layers } = plan
        for (let layer = 0; layer < layers; layer++)
          for (let from = 0; from < devices; from++)
            for (let to = 0; to < devices; to++) {
              const isHeard = from !== to && !(causal && to < from) && !(lost?.[0] === from && layer >= lost[1])
              const want = plan.sequences.flatMap(({ sent, bounds, wanted }, s) => {
                const [a, b] = bounds[to]!
                const hasQueries = layer < layers - 1 ? b > a : wanted.some(r => r >= a && r < b)
                return isHeard && sent[from]!.length > 0 && hasQueries ? [s] : []
              })
              expect(transfers(plan, layer, from, to)).toEqual(want)
            }
      }),
      { numRuns: RUNS },
    )
  })

  test('each sequence is decoded by the device that holds its last row, which is handed all others where that is asked for', () => {
    fc.assert(
      fc.property(anyPlan, plan => {
        for (const [s, sequence] of plan.sequences.entries()) {
          const decoder = decoderOf(sequence)
          expect(sequence.bounds[decoder]![1]).toBe(sequence.rows)
          expect(sizes(sequence.bounds)[decoder]).toBeGreaterThan(0)
          const givers = sequence.bounds.flatMap((_, p) => (handoffs(plan, p, decoder).includes(s) ? [p] : []))
          const holders = sequence.bounds.flatMap(([from, to], p) => (to > from && p !== decoder ? [p] : []))
          expect(givers).toEqual(plan.decodes && plan.handoff === 'full' ? holders : [])
        }
      }),
      { numRuns: RUNS },
    )
  })

  test('whole deals sequences to whoever has the least to do for its weight', () => {
    const owners = (options: SharingOptions, rows: number[], devices: number): number[] =>
      planOf({ strategy: 'whole', ...options }, { rows, devices }).sequences.map(decoderOf)
    expect(owners({}, [5, 5, 5, 5], 2)).toEqual([0, 1, 0, 1])
    expect(owners({}, [9, 2, 2, 2], 2)).toEqual([0, 1, 1, 1])
    expect(owners({ weights: [1, 3] }, [4, 4, 4, 4], 2)).toEqual([1, 1, 0, 1])
    expect(owners({ weights: [0, 1, 0] }, [4, 4], 3)).toEqual([1, 1])
  })

  test('only the last layer leaves out rows that nobody asked for', () => {
    const plan = createPlan({ shape, rows: [9], want: 'first', devices: 3 })
    const queries = [0, 1, 2].map(layer => [0, 1, 2].map(p => hasQueries(plan, layer, plan.sequences[0]!, p)))
    expect(queries).toEqual([
      [true, true, true],
      [true, true, true],
      [true, false, false],
    ])
  })

  test('more devices than rows: some have none, and nothing goes to them', () => {
    const plan = planOf({ strategy: 'full' }, { rows: [2], devices: 5 })
    expect(sizes(plan.sequences[0]!.bounds)).toEqual([1, 1, 0, 0, 0])
    expect([1, 2, 3, 4].map(to => transfers(plan, 0, 0, to))).toEqual([[0], [], [], []])
    expect(transfers(plan, 0, 4, 0)).toEqual([])
  })

  test.each([
    { rows: 197, devices: 2, compressionRate: 9.9, segments: 10 },
    { rows: 197, devices: 2, compressionRate: 4.95, segments: 20 },
    { rows: 197, devices: 2, compressionRate: 3.3, segments: 30 },
    { rows: 256, devices: 2, compressionRate: 128, segments: 1 },
    { rows: 256, devices: 2, compressionRate: 1000, segments: 1 },
    { rows: 256, devices: 2, compressionRate: 1, segments: 128 },
  ])('a compression rate of $compressionRate for $rows rows on $devices is L = $segments', one => {
    const { rows, devices, compressionRate, segments } = one
    const plan = planOf({ compressionRate, sink: 0 }, { rows: [rows], devices })
    expect(plan.sequences[0]!.sent.map(runs => runs.length)).toEqual(new Array(devices).fill(segments))
  })

  test('what is not said is the default: means of a tenth, one sink row, normed; full sends inputs', () => {
    const plan = planOf({}, { rows: [60], devices: 2 })
    expect(plan).toMatchObject({ strategy: 'means', point: 'normed', wire: 'f32', handoff: 'means', decodes: false })
    expect(plan.sequences[0]!.sent.map(sizes)).toEqual([
      [1, 10, 10, 9],
      [10, 10, 10],
    ])
    expect(planOf({ strategy: 'full' }).point).toBe('input')
  })
})

describe('an option that cannot be is refused by name', () => {
  const cases: [string, unknown][] = [
    ['strategy', 'some'],
    ['strategy', null],
    ['point', 'output'],
    ['wire', 'f64'],
    ['handoff', 'some'],
    ['segments', 0],
    ['segments', -1],
    ['segments', 1.5],
    ['segments', Number.NaN],
    ['compressionRate', 0.5],
    ['compressionRate', Number.NaN],
    ['compressionRate', Number.POSITIVE_INFINITY],
    ['sink', -1],
    ['sink', 0.5],
    ['sink', Number.NaN],
    ['weights', []],
    ['weights', [1, 2]],
    ['weights', [1, -1, 1]],
    ['weights', [1, Number.NaN, 1]],
    ['weights', [0, 0, 0]],
    ['weights', [1, Number.POSITIVE_INFINITY, 1]],
    ['weights', [1e308, 1e308, 1e308]],
    ['lost', [3, 0]],
    ['lost', [-1, 0]],
    ['lost', [0, -1]],
    ['lost', [0, 0.5]],
  ]
  test.each(cases)('%s %j', (name, value) => {
    const make = (): Plan => planOf({ [name]: value } as SharingOptions)
    expect(make).toThrow(PlanError)
    expect(make).toThrow(new RegExp(`^plan: .*${name}`))
  })

  test.each([0, -1, 1.5, Number.NaN])('devices %d', devices => {
    expect(() => planOf({}, { devices })).toThrow(PlanError)
    expect(() => planOf({}, { devices })).toThrow(/^plan: devices is/)
  })

  test('every choice that is offered is taken', () => {
    for (const strategy of STRATEGIES)
      for (const point of POINTS)
        for (const wire of WIRE_FORMATS)
          expect(planOf({ strategy, point, wire })).toMatchObject({ strategy, point, wire })
  })
})
