/** Memory that was estimated before a request is what the request then uses, to the byte. */
import { createPlan, estimate, PlanError, type SharedRunner } from '@prismal/distribute'
import {
  aloneRunner,
  type Emitted,
  estimate as estimateAlone,
  type Head,
  InputError,
  loadModel,
  type Model,
} from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RUNS } from '../runs.js'
import { batches, generators, inMemory, load, sequencesOf, sharings, subjects, wantOf, wants } from './subjects.js'

const MOST_DEVICES = 4
/** Every model gets its part of the runs. */
const runsEach = Math.ceil((2 * RUNS) / Math.max(1, subjects.length))

const HEADS: readonly Head[] = ['pool', 'classify', 'vocabulary']
/** A head that the model has, or none. */
const headAt = (model: Model, i: number): Head | undefined => [undefined, ...HEADS.filter(h => model[h])][i % 4]
const peaks = (of: readonly { readonly peakBytes: number }[]): number[] => of.map(({ peakBytes }) => peakBytes)

describe.each(subjects)('$name', subject => {
  let runner: SharedRunner
  let models: readonly Model[]
  beforeAll(async () => {
    ;({ runner, models } = await inMemory(subject, MOST_DEVICES))
  })
  afterAll(() => runner.dispose())

  test('rows and heads, for any plan, batch and rows asked for', async () => {
    await fc.assert(
      fc.asyncProperty(
        sharings(MOST_DEVICES, runner.model.shape),
        batches(subject),
        wants,
        fc.nat(),
        async (sharing, batch, kind, seed) => {
          const { model } = runner
          const sequences = sequencesOf(model, batch)
          const head = headAt(model, seed)
          const request = runner.with(sharing.options, sharing.devices).begin()
          try {
            const rows = await request.rows(sequences, wantOf(kind, sequences, seed))
            if (head) model[head]!(rows)
            const output = kind === 'mean' ? 'mean' : 'rows'
            const estimated = await estimate(model, request.plan!, { output, ...(head && { head }) })
            const { devices } = request.report()
            // A head of no rows computes nothing, and then the report has no coordinator.
            expect(peaks(estimated.slice(0, devices.length))).toEqual(peaks(devices))
            for (const [i, { weightBytes, processBytes }] of estimated.entries()) {
              expect(weightBytes).toBe(model.engine.arena.kept.usedBytes)
              expect(models[i % sharing.devices]!.engine.memory.bytes).toBeGreaterThanOrEqual(processBytes)
            }
          } finally {
            request.end()
          }
        },
      ),
      { numRuns: runsEach },
    )
  })

  test('rows and heads on one device', async () => {
    await fc.assert(
      fc.asyncProperty(batches(subject, 6), wants, fc.nat(), async (batch, kind, seed) => {
        const { model } = runner
        const sequences = sequencesOf(model, batch)
        const want = wantOf(kind, sequences, seed)
        const head = headAt(model, seed)
        const rows = batch.map(([n]) => n)
        const estimated = await estimateAlone(model, { rows, want, ...(head && { head }) })
        const request = aloneRunner(model).begin()
        try {
          const found = await request.rows(sequences, want)
          if (head) model[head]!(found)
          expect(peaks([estimated])).toEqual(peaks(request.report().devices))
        } finally {
          request.end()
        }
      }),
      { numRuns: runsEach },
    )
  })

  test('rows on an engine of two threads, and what they take said by an engine of one', async () => {
    const engine = await createEngine({ threads: 2 })
    const model = await loadModel(await openFiles(subject.location), { engine, warn: () => {} })
    try {
      await fc.assert(
        fc.asyncProperty(batches(subject), async batch => {
          const request = aloneRunner(model).begin()
          await request.rows(sequencesOf(model, batch), 'all')
          request.end()
          const used = peaks(request.report().devices)
          const rows = batch.map(([n]) => n)
          expect(peaks([await estimateAlone(model, { rows })])).toEqual(used)
          const plan = createPlan({ shape: model.shape, rows, want: 'all', devices: 1 }, { strategy: 'isolated' })
          expect(peaks(await estimate(runner.model, plan, { threads: [2] }))).toEqual(used)
        }),
        { numRuns: 10 },
      )
    } finally {
      model.dispose()
    }
  })

  test('the memory of a fresh engine grows to what was estimated', async () => {
    await fc.assert(
      fc.asyncProperty(batches(subject, 6), async batch => {
        const model = await load(subject)
        try {
          const { processBytes } = await estimateAlone(model, { rows: batch.map(([n]) => n) })
          const request = aloneRunner(model).begin()
          await request.rows(sequencesOf(model, batch), 'all')
          request.end()
          expect(model.engine.memory.bytes).toBe(processBytes)
        } finally {
          model.dispose()
        }
      }),
      { numRuns: 5 },
    )
  })

  test('so do the memories of fresh devices that share', async () => {
    await fc.assert(
      fc.asyncProperty(sharings(3, runner.model.shape), batches(subject, 4), async (sharing, batch) => {
        const fresh = await inMemory(subject, sharing.devices)
        try {
          const request = fresh.runner.with(sharing.options).begin()
          await request.rows(sequencesOf(fresh.runner.model, batch), 'first')
          request.end()
          const estimated = await estimate(fresh.runner.model, request.plan!)
          const grown = fresh.models.map(({ engine }) => engine.memory.bytes)
          // Device 0's memory holds the coordinator's rows too.
          expect(estimated.map(e => e.processBytes).slice(1)).toEqual(grown.slice(1))
          expect(grown[0]).toBeGreaterThanOrEqual(estimated[0]!.processBytes)
        } finally {
          await fresh.runner.dispose()
        }
      }),
      { numRuns: 5 },
    )
  })

  test('what a request would refuse is refused', async () => {
    const { model } = runner
    const { layers, causal } = model.shape
    const plan = runner.with({ segments: 2 }, 2).begin()
    await plan.rows(sequencesOf(model, [[subject.rows.max, 1]]), 'all')
    plan.end()
    const good = plan.plan!
    const long = { ...good, sequences: good.sequences.map(s => ({ ...s, rows: 1000 })) }
    const refused: [Promise<unknown>, new (message: string) => Error, RegExp][] = [
      [estimate(model, long), InputError, /positions|image/],
      [estimateAlone(model, { rows: [1000] }), InputError, /positions|image/],
      [estimateAlone(model, { rows: [1.5] }), InputError, /1\.5 rows/],
      [estimate(model, good, { devices: [2] }), PlanError, /device 2 was asked for; the plan has 2/],
      [estimate(model, good, { maxNewTokens: 3 }), PlanError, /does not decode/],
      [estimate(model, { ...good, decodes: true }), PlanError, /maxNewTokens is not given/],
      [
        estimate(model, { ...good, layers: layers + 1 }),
        PlanError,
        new RegExp(`the plan is for ${layers + 1} .*has ${layers}`),
      ],
      [estimate(model, { ...good, causal: !causal }), PlanError, /causal layers/],
      [estimate(model, good, { head: 'other' as Head }), InputError, /no head for "other"/],
    ]
    for (const [estimated, type, why] of refused) {
      await expect(estimated).rejects.toThrow(why)
      await expect(estimated).rejects.toBeInstanceOf(type)
    }
  })
})

describe.each(generators)('$name generates', subject => {
  let runner: SharedRunner
  beforeAll(async () => {
    runner = (await inMemory(subject, MOST_DEVICES)).runner
  })
  afterAll(() => runner.dispose())

  const most = fc.integer({ min: 1, max: 6 })

  test('tokens, with any plan and either handoff', async () => {
    await fc.assert(
      fc.asyncProperty(
        sharings(MOST_DEVICES, runner.model.shape),
        batches(subject),
        most,
        async (sharing, batch, maxNewTokens) => {
          const sequences = sequencesOf(runner.model, batch)
          const request = runner.with(sharing.options, sharing.devices).begin()
          try {
            const emitted: Emitted[] = []
            for await (const token of request.tokens(sequences, { maxNewTokens })) emitted.push(token)
            const estimated = await estimate(runner.model, request.plan!, { maxNewTokens })
            expect(peaks(estimated)).toEqual(peaks(request.report().devices))
          } finally {
            request.end()
          }
        },
      ),
      { numRuns: runsEach },
    )
  })

  test('tokens on one device, and no more where texts end early', async () => {
    const ends = fc.array(fc.nat(96), { maxLength: 20 })
    await fc.assert(
      fc.asyncProperty(batches(subject, 5), most, ends, async (batch, maxNewTokens, endIds) => {
        const { model } = runner
        const sequences = sequencesOf(model, batch)
        const { peakBytes } = await estimateAlone(model, { rows: batch.map(([n]) => n), maxNewTokens })
        const used = async (ids: readonly number[]): Promise<number> => {
          const request = aloneRunner(model).begin()
          for await (const _ of request.tokens(sequences, { maxNewTokens, endIds: ids }));
          request.end()
          return request.report().devices[0]!.peakBytes
        }
        expect(await used([])).toBe(peakBytes)
        expect(await used(endIds)).toBeLessThanOrEqual(peakBytes)
      }),
      { numRuns: runsEach },
    )
  })
})
