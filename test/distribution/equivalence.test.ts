/** Where sharing is exact it gives what one device gives, and where it is not, it is another answer. */
import { POINTS, PUBLISHED, SEGMENT_BOUNDS, type SharedRunner, type SharingOptions } from '@prismal/distribute'
import { aloneRunner, type Emitted, type Model, type Runner } from '@prismal/models'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bits, distance } from '../compare.js'
import { RUNS } from '../runs.js'
import {
  batches,
  generators,
  inMemory,
  ordersOf,
  rowsOf,
  sequenceFor,
  sequencesOf,
  sharings,
  subjects,
  tokensOf,
  wantOf,
  wants,
} from './subjects.js'

const MOST_DEVICES = 5
const runsEach = Math.ceil(RUNS / Math.max(1, subjects.length))
/** float32 over two or three layers, blocks folded in another order: errors lie near 5e-7. */
const TOLERANCE = 5e-6
/** More than any sequence here has rows, so that every row is a segment. */
const ALL = 1000

const exact = (shape: Model['shape']): fc.Arbitrary<SharingOptions> => {
  const point = fc.constantFrom(...POINTS)
  const dealing = {
    order: fc.constantFrom(...ordersOf(shape)),
    padTo: fc.nat(60),
  }
  const means = fc.record({
    strategy: fc.constant('means' as const),
    segments: fc.constantFrom(ALL, new Array<number>(shape.layers).fill(ALL)),
    ...{ sink: fc.nat(3), tail: fc.nat(3), anchor: fc.nat(3), point, ...dealing },
    ...{
      bounds: fc.constantFrom(...SEGMENT_BOUNDS),
      gain: fc.constantFrom(0, 1, 2),
      wire: fc.constant('f32' as const),
      halo: shape.causal ? fc.nat(12) : fc.constant(0),
    },
  })
  return fc.oneof(fc.record({ strategy: fc.constant('full' as const), point, ...dealing }), means)
}
const devices = fc.integer({ min: 1, max: MOST_DEVICES })

describe.each(subjects)('$name', subject => {
  let runner: SharedRunner
  let alone: Runner
  beforeAll(async () => {
    runner = (await inMemory(subject, MOST_DEVICES)).runner
    alone = aloneRunner(runner.model)
  })
  afterAll(() => runner.dispose())

  test('every row sent, as `full` or as a segment of its own: what one device gives', async () => {
    await fc.assert(
      fc.asyncProperty(
        exact(runner.model.shape),
        devices,
        batches(subject),
        wants,
        fc.nat(),
        async (options, P, batch, kind, seed) => {
          const sequences = sequencesOf(runner.model, batch)
          const want = wantOf(kind, sequences, seed)
          const shared = await rowsOf(runner.with(options, P), sequences, want)
          expect(distance(shared, await rowsOf(alone, sequences, want))).toBeLessThanOrEqual(TOLERANCE)
        },
      ),
      { numRuns: runsEach },
    )
  })

  test('as many segments as rows: the same bits as `full`', async () => {
    const points = fc.constantFrom('input' as const, 'normed' as const)
    await fc.assert(
      fc.asyncProperty(points, fc.nat(3), devices, batches(subject), async (point, sink, P, batch) => {
        const sequences = sequencesOf(runner.model, batch)
        const full = await rowsOf(runner.with({ strategy: 'full', point }, P), sequences, 'all')
        const means = await rowsOf(runner.with({ ...PUBLISHED, segments: ALL, point, sink }, P), sequences, 'all')
        expect(bits(means)).toEqual(bits(full))
      }),
      { numRuns: runsEach },
    )
  })

  test('`whole`: the same bits as one device', async () => {
    await fc.assert(
      fc.asyncProperty(devices, batches(subject, 6), wants, fc.nat(), async (P, batch, kind, seed) => {
        const sequences = sequencesOf(runner.model, batch)
        const want = wantOf(kind, sequences, seed)
        const whole = await rowsOf(runner.with({ strategy: 'whole' }, P), sequences, want)
        expect(bits(whole)).toEqual(bits(await rowsOf(alone, sequences, want)))
      }),
      { numRuns: runsEach },
    )
  })

  test('one device: the same bits, whatever the options say about others', async () => {
    await fc.assert(
      fc.asyncProperty(
        sharings(1, runner.model.shape),
        batches(subject),
        wants,
        fc.nat(),
        async ({ options }, batch, kind, seed) => {
          const sequences = sequencesOf(runner.model, batch)
          const want = wantOf(kind, sequences, seed)
          const shared = await rowsOf(runner.with(options, 1), sequences, want)
          expect(bits(shared)).toEqual(bits(await rowsOf(alone, sequences, want)))
        },
      ),
      { numRuns: runsEach },
    )
  })

  test('the mean of a sequence is the mean of all its rows, however they are shared', async () => {
    await fc.assert(
      fc.asyncProperty(
        sharings(MOST_DEVICES, runner.model.shape),
        batches(subject),
        async ({ options, devices }, batch) => {
          const sequences = sequencesOf(runner.model, batch)
          const sharer = runner.with(options, devices)
          const all = await rowsOf(sharer, sequences, 'all')
          const { width } = runner.model.shape
          let at = 0
          const means = sequences.map(({ to }) => {
            const first = at
            at += to * width
            return Float32Array.from({ length: width }, (_, c) => {
              let sum = 0
              for (let r = 0; r < to; r++) sum += all[first + r * width + c]!
              return sum / to
            })
          })
          const want = Float32Array.from(means.flatMap(row => [...row]))
          expect(distance(await rowsOf(sharer, sequences, 'mean'), want)).toBeLessThanOrEqual(TOLERANCE)
        },
      ),
      { numRuns: runsEach },
    )
  })

  test('rows that are asked for are those of all rows, bit by bit', async () => {
    await fc.assert(
      fc.asyncProperty(
        sharings(MOST_DEVICES, runner.model.shape),
        batches(subject),
        fc.nat(),
        async ({ options, devices }, batch, seed) => {
          const sequences = sequencesOf(runner.model, batch)
          const sharer = runner.with(options, devices)
          const { width } = runner.model.shape
          const all = await rowsOf(sharer, sequences, 'all')
          const lists = wantOf('lists', sequences, seed) as readonly (readonly number[])[]
          let at = 0
          const picked = lists.flatMap((rows, s) => {
            const first = at
            at += sequences[s]!.to
            return [...new Set(rows)]
              .sort((a, b) => a - b)
              .flatMap(r => [...all.subarray((first + r) * width, (first + r + 1) * width)])
          })
          expect(bits(await rowsOf(sharer, sequences, lists))).toEqual(bits(Float32Array.from(picked)))
        },
      ),
      { numRuns: runsEach },
    )
  })

  test('what is not exact is another answer: isolated by far, means by less', async () => {
    const sequences = Array.from({ length: 8 }, (_, seed) =>
      sequenceFor(runner.model, Math.min(17, subject.rows.max), seed),
    )
    if (subject.family === 'vit')
      for (const [i] of sequences.entries()) sequences[i] = sequenceFor(runner.model, subject.rows.max, i)
    const want = await rowsOf(alone, sequences, 'last')
    const off = async (options: SharingOptions): Promise<number> =>
      distance(await rowsOf(runner.with(options, 2), sequences, 'last'), want)
    const isolated = await off({ strategy: 'isolated' })
    const four = await off({ strategy: 'means', segments: 4 })
    expect(isolated).toBeGreaterThan(0.01)
    expect(four).toBeGreaterThan(0.001)
    expect(four).toBeLessThan(isolated)
  })
})

describe.each(subjects.filter(s => s.family !== 'vit'))('$name with more devices than rows', subject => {
  let runner: SharedRunner
  beforeAll(async () => {
    runner = (await inMemory(subject, MOST_DEVICES)).runner
  })
  afterAll(() => runner.dispose())

  test.each([1, 2, 3, 4])('%i rows on 5 devices', async rows => {
    const sequence = sequenceFor(runner.model, rows, rows)
    const want = await rowsOf(aloneRunner(runner.model), [sequence], 'all')
    for (const strategy of ['full', 'means'] as const) {
      const got = await rowsOf(runner.with({ strategy, wire: 'f32' }), [sequence], 'all')
      expect(distance(got, want)).toBeLessThanOrEqual(TOLERANCE)
    }
  })
})

describe.each(generators)('$name generates', subject => {
  let runner: SharedRunner
  let alone: Runner
  beforeAll(async () => {
    runner = (await inMemory(subject, MOST_DEVICES)).runner
    alone = aloneRunner(runner.model)
  })
  afterAll(() => runner.dispose())

  function expectSameTokens(got: readonly Emitted[], want: readonly Emitted[]): void {
    for (const s of new Set(want.map(t => t.sequence))) {
      const [ours, theirs] = [got, want].map(all => all.filter(t => t.sequence === s))
      expect(ours).toHaveLength(theirs!.length)
      for (const [i, { id, logits }] of theirs!.entries()) {
        expect(distance(ours![i]!.logits!, logits!)).toBeLessThanOrEqual(TOLERANCE)
        // Two tokens that are equally likely may change places; what follows is then another text.
        if (ours![i]!.id !== id) break
      }
    }
  }

  const handoffs = fc.constantFrom('means' as const, 'full' as const)

  test('a halo of all earlier rows: what one device gives, without a byte', async () => {
    await fc.assert(
      fc.asyncProperty(handoffs, fc.nat(3), batches(subject), async (handoff, anchor, batch) => {
        const prompts = sequencesOf(runner.model, batch)
        const sharer = runner.with({ ...PUBLISHED, segments: 1, halo: ALL, anchor, handoff }, 2)
        const request = sharer.begin()
        try {
          const rows = await request.rows(prompts, 'all')
          expect(distance(rows.floats(), await rowsOf(alone, prompts, 'all'))).toBeLessThanOrEqual(TOLERANCE)
          expect(request.report().devices.map(d => d.bytesSent)).toEqual([0, 0])
        } finally {
          request.end()
        }
        const want = await tokensOf(alone, prompts, { maxNewTokens: 4 })
        expectSameTokens(await tokensOf(sharer, prompts, { maxNewTokens: 4 }), want)
      }),
      { numRuns: runsEach },
    )
  })

  test('every row sent: the tokens of one device, from either handoff', async () => {
    await fc.assert(
      fc.asyncProperty(
        exact(runner.model.shape),
        handoffs,
        devices,
        batches(subject),
        async (options, handoff, P, batch) => {
          const prompts = sequencesOf(runner.model, batch)
          const want = await tokensOf(alone, prompts, { maxNewTokens: 6 })
          const got = await tokensOf(runner.with({ ...options, handoff }, P), prompts, { maxNewTokens: 6 })
          expectSameTokens(got, want)
        },
      ),
      { numRuns: runsEach },
    )
  })

  test('`whole`: the same tokens and bits as one device', async () => {
    await fc.assert(
      fc.asyncProperty(devices, batches(subject, 5), async (P, batch) => {
        const prompts = sequencesOf(runner.model, batch)
        const want = await tokensOf(alone, prompts, { maxNewTokens: 5 })
        const got = await tokensOf(runner.with({ strategy: 'whole' }, P), prompts, { maxNewTokens: 5 })
        for (const [s] of prompts.entries()) {
          const [ours, theirs] = [got, want].map(all => all.filter(t => t.sequence === s))
          expect(ours!.map(t => ({ ...t, logits: bits(t.logits!) }))).toEqual(
            theirs!.map(t => ({ ...t, logits: bits(t.logits!) })),
          )
        }
      }),
      { numRuns: runsEach },
    )
  })

  test('sampling draws the same from the same seed, alone or dealt out', async () => {
    const sampling = { temperature: 0.9, topK: 20, repetitionPenalty: 1.3, seed: 7 }
    const prompts = [5, 9, 3].map(rows => sequenceFor(runner.model, rows, rows))
    const texts = async (sharer: Runner): Promise<number[][]> => {
      const all = await tokensOf(sharer, prompts, { maxNewTokens: 12, sampling })
      return prompts.map((_, s) => all.filter(t => t.sequence === s).map(t => t.id))
    }
    const want = await texts(alone)
    expect(await texts(runner.with({ strategy: 'whole' }, 3))).toEqual(want)
    expect(await texts(runner.with({ strategy: 'full' }, 3))).toEqual(want)
  })
})
