/** An answer's bits depend on the plan alone: not on which message arrives first, over what, or with which other sequences. */
import { cluster, type SharedRunner, type SharingOptions } from '@prismal/distribute'
import { thread } from '@prismal/distribute/threads'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bits } from '../compare.js'
import { RUNS } from '../runs.js'
import {
  batches,
  bitsOfTokens,
  families,
  generators,
  inMemory,
  load,
  rowsOf,
  sequencesOf,
  sharings,
  tokensOf,
} from './subjects.js'

const MOST_DEVICES = 4
const runsEach = Math.ceil(RUNS / Math.max(1, families.length))

const exchanging: fc.Arbitrary<{ devices: number; options: SharingOptions }> = fc.record({
  devices: fc.integer({ min: 2, max: MOST_DEVICES }),
  options: fc.record({
    strategy: fc.constantFrom('means' as const, 'full' as const),
    segments: fc.integer({ min: 1, max: 6 }),
    sink: fc.nat(2),
    handoff: fc.constantFrom('means' as const, 'full' as const),
  }),
})

describe.each(families)('$name', subject => {
  const inOrder = queueMicrotask
  let schedule: (deliver: () => void) => void = inOrder
  let runner: SharedRunner
  beforeAll(async () => {
    runner = (await inMemory(subject, MOST_DEVICES, { schedule: deliver => schedule(deliver) })).runner
  })
  afterAll(() => runner.dispose())

  /** Runs a request while the scheduler decides which connection delivers next. */
  async function shuffled<T>(scheduler: fc.Scheduler, request: () => Promise<T>): Promise<T> {
    schedule = deliver => void scheduler.schedule(Promise.resolve()).then(deliver)
    try {
      return await scheduler.waitFor(request())
    } finally {
      schedule = inOrder
    }
  }

  test('rows come out the same whichever message arrives first', async () => {
    const orders = new Set<string>()
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), exchanging, batches(subject, 2), async (scheduler, sharing, batch) => {
        const sharer = runner.with(sharing.options, sharing.devices)
        const sequences = sequencesOf(runner.model, batch)
        const want = await rowsOf(sharer, sequences, 'all')
        const got = await shuffled(scheduler, () => rowsOf(sharer, sequences, 'all'))
        expect(bits(got)).toEqual(bits(want))
        orders.add(
          scheduler
            .report()
            .map(r => r.taskId)
            .join(),
        )
      }),
      { numRuns: runsEach },
    )
    expect(orders.size, 'different orders').toBeGreaterThan(runsEach / 2)
  })

  if (generators.includes(subject))
    test('tokens come out the same whichever message arrives first', async () => {
      await fc.assert(
        fc.asyncProperty(fc.scheduler(), exchanging, batches(subject, 2), async (scheduler, sharing, batch) => {
          const sharer = runner.with(sharing.options, sharing.devices)
          const prompts = sequencesOf(runner.model, batch)
          const want = await tokensOf(sharer, prompts, { maxNewTokens: 3 })
          const got = await shuffled(scheduler, () => tokensOf(sharer, prompts, { maxNewTokens: 3 }))
          expect(bitsOfTokens(got)).toEqual(bitsOfTokens(want))
        }),
        { numRuns: runsEach },
      )
    })

  test('a batch gives the same bits as each of its sequences alone, sharing in the same way', async () => {
    await fc.assert(
      fc.asyncProperty(sharings(MOST_DEVICES), batches(subject, 4), async (sharing, batch) => {
        const sharer = runner.with(sharing.options, sharing.devices)
        const sequences = sequencesOf(runner.model, batch)
        const together = await rowsOf(sharer, sequences, 'all')
        const apart: number[] = []
        for (const sequence of sequences) apart.push(...(await rowsOf(sharer, [sequence], 'all')))
        expect(bits(together)).toEqual(bits(Float32Array.from(apart)))
      }),
      { numRuns: runsEach },
    )
  })
})

describe.each(families)('$name over message ports', subject => {
  let inThread: SharedRunner
  let between: SharedRunner
  beforeAll(async () => {
    inThread = (await inMemory(subject, MOST_DEVICES)).runner
    const others = new Array(MOST_DEVICES - 1).fill(thread())
    between = await cluster(['local', ...others]).runner(await load(subject))
  })
  afterAll(async () => {
    await inThread.dispose()
    await between.dispose()
  })

  test('rows have the same bits as over memory', async () => {
    await fc.assert(
      fc.asyncProperty(sharings(MOST_DEVICES), batches(subject), async ({ options, devices }, batch) => {
        const sequences = sequencesOf(inThread.model, batch)
        const want = await rowsOf(inThread.with(options, devices), sequences, 'all')
        const got = await rowsOf(between.with(options, devices), sequences, 'all')
        expect(bits(got)).toEqual(bits(want))
      }),
      { numRuns: Math.ceil(runsEach / 2) },
    )
  })

  if (generators.includes(subject))
    test('tokens have the same bits as over memory', async () => {
      await fc.assert(
        fc.asyncProperty(sharings(MOST_DEVICES), batches(subject), async ({ options, devices }, batch) => {
          const prompts = sequencesOf(inThread.model, batch)
          const want = await tokensOf(inThread.with(options, devices), prompts, { maxNewTokens: 4 })
          const got = await tokensOf(between.with(options, devices), prompts, { maxNewTokens: 4 })
          expect(bitsOfTokens(got)).toEqual(bitsOfTokens(want))
        }),
        { numRuns: Math.ceil(runsEach / 2) },
      )
    })
})
