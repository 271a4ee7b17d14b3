/** Who holds which rows and what is sent of them, for any plan; the formulas are those of prism_reference.py. */
import type { Run } from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import { PlanError } from './errors.js'
import { POINTS, ROW_ORDERS, SEGMENT_BOUNDS, type SharingOptions, STRATEGIES, WIRE_FORMATS } from './options.js'
import {
  anchorRows,
  createPlan,
  decoderOf,
  haloRows,
  handedRun,
  handoffs,
  hasQueries,
  type Plan,
  rowsOf,
  type SequencePlan,
  sentBy,
  transfers,
  wantedHere,
} from './plan.js'

const weights = (least: number, most: number) =>
  fc
    .array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 9 }), fc.double({ min: 1e-3, max: 1e3, noNaN: true })), {
      minLength: least,
      maxLength: most,
    })
    .filter(all => all.some(w => w > 0))

const sizes = (runs: readonly Run[]): number[] => runs.map(([from, to]) => to - from)
/** Whether runs follow each other from `first` to `n` without a gap. */
const covers = (runs: readonly Run[], n: number, first = 0): boolean =>
  runs.every(([from, to], i) => from <= to && from === (runs[i - 1]?.[1] ?? first)) && (runs.at(-1)?.[1] ?? first) === n

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
    segments: fc.oneof(
      fc.integer({ min: 1, max: 12 }),
      fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 3, maxLength: 3 }),
    ),
    sink: fc.integer({ min: 0, max: 5 }),
    tail: fc.integer({ min: 0, max: 5 }),
    near: fc.integer({ min: 0, max: 5 }),
    anchor: fc.integer({ min: 0, max: 5 }),
    halo: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.double({ min: 0.01, max: 0.99, noNaN: true })),
    bounds: fc.constantFrom(...SEGMENT_BOUNDS, 1.5),
    padTo: fc.integer({ min: 0, max: 80 }),
    handoff: fc.constantFrom('means' as const, 'full' as const),
    want: fc.constantFrom('all' as const, 'first' as const, 'last' as const),
    seed: fc.nat(),
  })
  .chain(all =>
    fc.record({ all: fc.constant(all), weights: fc.option(weights(all.devices, all.devices), { nil: undefined }) }),
  )
  .map(({ all: { devices, rows, causal, decodes, want, seed, halo: most, ...options }, weights }) => {
    const halo = causal ? most : 0
    const lost = seed % 3 === 0 ? ([seed % devices, seed % 4] as const) : undefined
    const request = { shape: { layers: 3, causal }, rows, want, devices, decodes }
    return createPlan(request, { ...options, halo, ...(weights && { weights }), ...(lost && { lost }) })
  })

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)
/** The places of the rows that a device computes. */
const placesOn = (sequence: SequencePlan, p: number): number[] =>
  rowsOf(sequence, p).map(row => sequence.order?.indexOf(row) ?? row)
/** The last device before p that has rows of a sequence. */
const holderBefore = ({ bounds }: SequencePlan, p: number): number =>
  bounds.findLastIndex(([from, to], q) => q < p && to > from)

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
        for (const sequence of sequences)
          for (const each of sequence.sent)
            for (const [p, [from, to]] of sequence.bounds.entries()) {
              if (strategy === 'full') expect(sizes(each[p]!)).toEqual(new Array(to - from).fill(1))
              else if (strategy === 'means') expect(covers(each[p]!, to - from, handedRun(sequence, p)[0])).toBe(true)
              else expect(each[p]).toEqual([])
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
              const want = plan.sequences.flatMap((sequence, s) => {
                const { bounds, wanted, halo, sentNext } = sequence
                const sent = halo && halo[to]! > 0 && from === holderBefore(sequence, to) ? sentNext! : sequence.sent
                const [a, b] = bounds[to]!
                const hasQueries = layer < layers - 1 ? b > a : wanted.some(r => r >= a && r < b)
                return isHeard && sent[layer]![from]!.length > 0 && hasQueries ? [s] : []
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
          const computed = new Set(placesOn(sequence, decoder))
          const holders = sequence.bounds.flatMap(([from, to], p) => {
            const lacking = range(from, to).filter(place => !computed.has(place))
            const [first, end] = handedRun(sequence, p)
            if (p !== decoder) expect(range(from + first, from + end)).toEqual(lacking)
            return lacking.length > 0 ? [p] : []
          })
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
    expect(plan.sequences[0]!.sent[0]!.map(runs => runs.length)).toEqual(new Array(devices).fill(segments))
  })

  test('what is not said is the default: as recommended, a mean for two rows; full sends inputs in f32', () => {
    const plan = planOf({}, { rows: [60], devices: 2 })
    expect(plan).toMatchObject({ strategy: 'means', point: 'normed', wire: 'int4', handoff: 'means', decodes: false })
    const sequence = plan.sequences[0]!
    expect(sequence.sent[2]!.map(runs => runs.length)).toEqual([16, 15])
    expect(sequence.sent[2]![0]![0]).toEqual([0, 1])
    expect(sequence.merged).toBeDefined()
    expect(sequence.order).not.toEqual(sequence.order!.toSorted((a, b) => a - b))
    const causal = planOf({}, { rows: [60], devices: 2, causal: true }).sequences[0]!
    expect(causal).not.toHaveProperty('order')
    expect(causal.sent[0]!.map(runs => runs.length)).toEqual([15, 15])
    expect(causal).toMatchObject({ halo: [0, 1], merged: [expect.anything(), expect.anything()] })
    expect(planOf({ strategy: 'full' })).toMatchObject({ point: 'input', wire: 'f32' })
    expect(planOf({ strategy: 'full' }).sequences[0]).not.toHaveProperty('order')
  })
})

describe('what is dealt and sent', () => {
  test('anchored rows are computed by every device with later ones, and sent by none', () => {
    fc.assert(
      fc.property(anyPlan, plan => {
        for (const sequence of plan.sequences) {
          const { anchor, bounds, sent } = sequence
          const holders = bounds.flatMap(([from, to], p) => (to > from ? [p] : []))
          for (const [i, p] of holders.entries()) {
            const [from, to] = bounds[p]!
            const own = range(from, to)
            const anchors = range(0, anchorRows(sequence, p))
            expect(anchors).toHaveLength(i === 0 ? 0 : anchor)
            const halo = range(from - haloRows(sequence, p), from)
            expect(placesOn(sequence, p)).toEqual([...anchors, ...halo, ...own])
            for (const each of sent)
              for (const [a] of each[p]!) if (anchor > 0) expect(from + a).toBeGreaterThanOrEqual(anchor)
          }
          if (holders.length === 0 || plan.strategy !== 'means') expect(anchor).toBe(0)
        }
      }),
      { numRuns: RUNS },
    )
  })

  test('each row that a device may attend to it computes, or is sent in one mean', () => {
    fc.assert(
      fc.property(anyPlan, plan => {
        fc.pre(plan.strategy === 'means')
        for (const sequence of plan.sequences)
          for (const [p, [from, to]] of sequence.bounds.entries()) {
            if (to === from) continue
            for (let layer = 0; layer < plan.layers; layer++) {
              const heard = sequence.bounds.flatMap(([start], q) =>
                q === p || (plan.causal && q > p)
                  ? []
                  : sentBy(sequence, layer, q, p).flatMap(([a, b]) => range(start + a, start + b)),
              )
              const seen = [...placesOn(sequence, p), ...heard].sort((a, b) => a - b)
              expect(seen).toEqual(range(0, plan.causal ? to : sequence.rows))
            }
          }
      }),
      { numRuns: RUNS },
    )
  })

  test('an anchor is no longer than the first partition', () => {
    const plan = planOf({ anchor: 5, sink: 0, segments: 2 }, { rows: [8], devices: 3 })
    const [sequence] = plan.sequences
    expect([0, 1, 2].map(p => rowsOf(sequence!, p))).toEqual([
      [0, 1, 2],
      [0, 1, 2, 3, 4, 5],
      [0, 1, 2, 6, 7],
    ])
    expect(sequence!.sent[0]!.map(sizes)).toEqual([[], [2, 1], [1, 1]])
  })

  test('padded: rows are dealt as though there were more, and those of short sequences end early', () => {
    const { sequences } = planOf({ padTo: 24, compressionRate: 4, sink: 0 }, { rows: [20, 9, 30], devices: 3 })
    expect(sequences.map(s => sizes(s.bounds))).toEqual([
      [8, 8, 4],
      [8, 1, 0],
      [10, 10, 10],
    ])
    expect(sequences.map(s => s.sent[0]!.map(runs => runs.length))).toEqual([
      [2, 2, 2],
      [2, 1, 0],
      [3, 3, 3],
    ])
  })

  test('each layer has as many segments as its number says; 0 leaves what is sent exactly', () => {
    const lengths = (options: SharingOptions): number[][] =>
      planOf({ segments: [3, 0, 1], ...options }, { rows: [20], devices: 2 }).sequences[0]!.sent.map(each =>
        each.map(runs => runs.length),
      )
    expect(lengths({ sink: 0 })).toEqual([
      [3, 3],
      [0, 0],
      [1, 1],
    ])
    expect(lengths({ sink: 2, tail: 1 })).toEqual([
      [5, 4],
      [2, 1],
      [3, 2],
    ])
    const plan = planOf({ segments: [3, 0, 1], sink: 0 }, { rows: [20], devices: 2 })
    expect([0, 1, 2].map(layer => transfers(plan, layer, 0, 1))).toEqual([[0], [], [0]])
  })

  const image = { layers: 2, causal: false, prefixRows: 1, patchGrid: [4, 4] as const, patchWidth: 3 }
  const imagePlan = (options: SharingOptions, want: 'all' | 'first' | number[][], devices = 2): Plan =>
    createPlan({ shape: image, rows: [17], want, devices }, options)

  test.each(ROW_ORDERS.slice(1))(
    '%s: every row is computed once, CLS first, and what is asked for is where it lies',
    order => {
      const [sequence] = imagePlan({ order }, [[0, 2, 16]]).sequences
      const computed = [0, 1].flatMap(p => rowsOf(sequence!, p))
      expect(computed).toEqual(sequence!.order)
      expect(computed.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 17 }, (_, i) => i))
      expect(computed[0]).toBe(0)
      expect(sequence!.wanted.map(place => computed[place]!).toSorted((a, b) => a - b)).toEqual([0, 2, 16])
      expect(sequence!.wanted).toEqual(sequence!.wanted.toSorted((a, b) => a - b))
    },
  )

  test('in turn: each device has rows from everywhere, in proportion; those that are sent exactly keep their places', () => {
    const held = (options: SharingOptions, rows: number, devices: number): number[][] => {
      const [sequence] = planOf({ order: 'in-turn', turn: 1, ...options }, { rows: [rows], devices }).sequences
      return sequence!.bounds.map((_, p) => rowsOf(sequence!, p))
    }
    expect(held({}, 9, 2)).toEqual([
      [0, 1, 3, 5, 7],
      [2, 4, 6, 8],
    ])
    expect(held({ tail: 2, sink: 0 }, 10, 3)).toEqual([
      [0, 1, 3, 6],
      [2, 4, 7],
      [5, 8, 9],
    ])
    expect(held({ weights: [1, 3], sink: 1 }, 9, 2)).toEqual([
      [0, 4],
      [1, 2, 3, 5, 6, 7, 8],
    ])
    expect(held({ anchor: 2 }, 8, 2)).toEqual([
      [0, 1, 3, 6],
      [0, 1, 2, 4, 5, 7],
    ])
    expect(held({ order: 'in-turn' }, 1, 2)).toEqual([[0], []])
    expect(held({ turn: 3, sink: 0 }, 12, 2)).toEqual([
      [0, 4, 5, 6, 10, 11],
      [1, 2, 3, 7, 8, 9],
    ])
  })

  test('a sequence that one device has stays as it is', () => {
    for (const options of [{ strategy: 'whole' }, { weights: [0, 1] }] as const)
      expect(imagePlan({ order: 'hilbert', ...options }, 'all').sequences[0]!.order).toBeUndefined()
    expect(imagePlan({ order: 'hilbert' }, 'all', 1).sequences[0]!.order).toBeUndefined()
  })

  test('an image of other sizes than the model has is dealt as it comes, unless an order is asked for', () => {
    const sequence = (rows: number) => createPlan({ shape: image, rows: [rows], want: 'all', devices: 3 }).sequences[0]!
    expect(sequence(17).order).toBeDefined()
    expect(sequence(16).order).toBeUndefined()
  })

  test('a model without a grid has no curve', () => {
    expect(() => planOf({ order: 'hilbert' })).toThrow(/^plan: order is "hilbert", but the model has no grid/)
    expect(() => planOf({ order: 'in-turn' }, { causal: true })).toThrow(
      /^plan: order is "in-turn", but the model is causal/,
    )
    expect(() => createPlan({ shape: image, rows: [16], want: 'all', devices: 2 }, { order: 'hilbert' })).toThrow(
      /^plan: order is "hilbert", but a sequence has 16 rows, not 1 and 4×4 patches/,
    )
  })

  test('rows are all that a device sends, exact ones among them', () => {
    const counts = (options: SharingOptions): number[] =>
      planOf(options, { rows: [30], devices: 3 }).sequences[0]!.sent[0]!.map(runs => runs.length)
    expect(counts({ rows: 4, sink: 1, tail: 2 })).toEqual([4, 4, 4])
    expect(counts({ rows: 2, sink: 5 })).toEqual([5, 2, 2])
    expect(counts({ rows: 50, sink: 1 })).toEqual([10, 10, 10])
    expect(() => planOf({ rows: 2, segments: 2 })).toThrow(/^plan: either segments or rows is given, not both/)
  })

  test('gains are one a layer', () => {
    expect(planOf({}).gains).toEqual([1, 1, 1])
    expect(planOf({ gain: 0.5 }).gains).toEqual([0.5, 0.5, 0.5])
    expect(planOf({ gain: [0, 1, 2] }).gains).toEqual([0, 1, 2])
  })
})

describe('an option that cannot be is refused by name', () => {
  const cases: [string, unknown][] = [
    ['order', 'zigzag'],
    ['turn', 0],
    ['turn', 1.5],
    ['rows', 0],
    ['rows', 1.5],
    ['bounds', 'some'],
    ['bounds', 0.9],
    ['bounds', 17],
    ['bounds', Number.NaN],
    ['bounds', [2]],
    ['segments', []],
    ['segments', [1, 2]],
    ['segments', [1, 2, -1]],
    ['segments', [1, 2, 0.5]],
    ['tail', -1],
    ['tail', 0.5],
    ['near', -1],
    ['near', 0.5],
    ['halo', -1],
    ['halo', 1.5],
    ['halo', -0.5],
    ['halo', Number.NaN],
    ['anchor', -1],
    ['anchor', Number.NaN],
    ['padTo', -1],
    ['padTo', 1.5],
    ['gain', -0.1],
    ['gain', 4.1],
    ['gain', Number.NaN],
    ['gain', [1, 1]],
    ['gain', [1, 1, 5]],
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
          for (const bounds of SEGMENT_BOUNDS)
            expect(planOf({ strategy, point, wire, bounds })).toMatchObject({ strategy, point, wire })
    for (const order of ROW_ORDERS) expect(planOf({ order }, { rows: [] }).sequences).toEqual([])
  })
})
