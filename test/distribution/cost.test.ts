/** What a run counts is what its plan said that it would cost, to the operation and byte. */
import { cost, type SharedRunner } from '@prismal/distribute'
import type { Emitted, Report } from '@prismal/models'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RUNS } from '../runs.js'
import { batches, generators, inMemory, sequencesOf, sharings, subjects, wantOf, wants } from './subjects.js'

const MOST_DEVICES = 5
/** Every model gets its part of the runs. */
const runsEach = Math.ceil((2 * RUNS) / Math.max(1, subjects.length))

const counted = ({ devices }: Report, P: number) =>
  devices.slice(0, P).map(({ rows, stages, flops, bytesSent, bytesReceived, inputBytes, outputBytes }) => {
    const counted = stages.map(({ milliseconds: _, ...stage }) => stage)
    return { rows, stages: counted, flops, bytesSent, bytesReceived, inputBytes, outputBytes }
  })

describe.each(subjects)('$name', subject => {
  let runner: SharedRunner
  beforeAll(async () => {
    runner = (await inMemory(subject, MOST_DEVICES)).runner
  })
  afterAll(() => runner.dispose())

  test('rows, for any plan, batch and rows asked for', async () => {
    await fc.assert(
      fc.asyncProperty(
        sharings(MOST_DEVICES, runner.model.shape),
        batches(subject),
        wants,
        fc.nat(),
        async (sharing, batch, kind, seed) => {
          const sequences = sequencesOf(runner.model, batch)
          const request = runner.with(sharing.options, sharing.devices).begin()
          try {
            await request.rows(sequences, wantOf(kind, sequences, seed))
            const output = kind === 'mean' ? 'mean' : 'rows'
            const planned = cost(request.plan!, runner.model.shape, { sequences, output })
            expect(counted(request.report(), sharing.devices)).toEqual(planned)
          } finally {
            request.end()
          }
        },
      ),
      { numRuns: runsEach },
    )
  })
})

describe.each(generators)('$name generates', subject => {
  let runner: SharedRunner
  beforeAll(async () => {
    runner = (await inMemory(subject, MOST_DEVICES)).runner
  })
  afterAll(() => runner.dispose())

  test('tokens, with any plan and either handoff', async () => {
    const ends = fc.array(fc.nat(96), { maxLength: 20 })
    const most = fc.integer({ min: 1, max: 6 })
    await fc.assert(
      fc.asyncProperty(
        sharings(MOST_DEVICES, runner.model.shape),
        batches(subject),
        most,
        ends,
        async (sharing, batch, maxNewTokens, endIds) => {
          const sequences = sequencesOf(runner.model, batch)
          const request = runner.with(sharing.options, sharing.devices).begin()
          try {
            const emitted: Emitted[] = []
            for await (const token of request.tokens(sequences, { maxNewTokens, endIds })) emitted.push(token)
            const tokens = sequences.map((_, s) => emitted.filter(e => e.sequence === s).length)
            const [, vocabulary] = runner.model.headProducts.vocabulary![0]!
            const planned = cost(request.plan!, runner.model.shape, { sequences, decoding: { tokens, vocabulary } })
            expect(counted(request.report(), sharing.devices)).toEqual(planned)
          } finally {
            request.end()
          }
        },
      ),
      { numRuns: runsEach },
    )
  })
})
