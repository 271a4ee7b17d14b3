/** Memory is back after every request, requests in a row need no more of it, and those that interleave do not meet in it. */
import type { SharedRunner, SharingOptions } from '@prismal/distribute'
import {
  alone,
  aloneRunner,
  type Context,
  type Emitted,
  type Model,
  type Part,
  type Runner,
  StageMeter,
  wholeLayout,
} from '@prismal/models'
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
  sequenceFor,
  sequencesOf,
  sharings,
  tokensOf,
  usedBytes,
  wantOf,
  wants,
} from './subjects.js'

const DEVICES = 3
const runsEach = Math.ceil(RUNS / Math.max(1, families.length))

describe.each(families)('$name', subject => {
  const inOrder = queueMicrotask
  let schedule: (deliver: () => void) => void = inOrder
  let runner: SharedRunner
  let models: readonly Model[]
  beforeAll(async () => {
    ;({ runner, models } = await inMemory(subject, DEVICES, { schedule: deliver => schedule(deliver) }))
  })
  afterAll(() => runner.dispose())

  test('every device has its memory back when a request has ended', async () => {
    const idle = usedBytes(models)
    await fc.assert(
      fc.asyncProperty(sharings(DEVICES), batches(subject), wants, fc.nat(), async (sharing, batch, kind, seed) => {
        const sequences = sequencesOf(runner.model, batch)
        await rowsOf(runner.with(sharing.options, sharing.devices), sequences, wantOf(kind, sequences, seed))
        expect(usedBytes(models)).toEqual(idle)
        if (subject.family !== 'gpt2') return
        await tokensOf(runner.with(sharing.options, sharing.devices), sequences, { maxNewTokens: 3 })
        expect(usedBytes(models)).toEqual(idle)
      }),
      { numRuns: runsEach },
    )
  })

  test('1,000 requests in a row need what the first one needed', async () => {
    const sequence = sequenceFor(runner.model, subject.rows.max, 1)
    const once = async (): Promise<void> => {
      const request = runner.begin()
      await request.rows([sequence], 'all')
      request.end()
    }
    const needed = () =>
      models.map(({ engine }) => [engine.memory.bytes, engine.arena.peakBytes, engine.arena.usedBytes])
    await once()
    const first = needed()
    for (let i = 0; i < 1000; i++) await once()
    expect(needed()).toEqual(first)
  })

  test('a request that is refused takes nothing', async () => {
    const idle = usedBytes(models)
    const long: Part = { from: 0, to: 1000, ids: new Int32Array(1000) }
    const refused: [Promise<unknown>, RegExp][] = [
      [rowsOf(runner, [long], 'all'), /positions|image/],
      [rowsOf(aloneRunner(runner.model), [long], 'all'), /positions|image/],
      [rowsOf(runner, [sequenceFor(runner.model, subject.rows.max, 1)], [[-1]]), /row -1 was asked for/],
      [rowsOf(runner.with({ segments: 0 }), [sequenceFor(runner.model, subject.rows.max, 1)], 'all'), /segments is 0/],
    ]
    for (const [request, why] of refused) await expect(request).rejects.toThrow(why)
    expect(usedBytes(models)).toEqual(idle)
  })

  /** What one of two requests that run at the same time is. */
  const one = fc.record({
    batch: batches(subject, 2),
    kind: wants,
    seed: fc.nat(),
    segments: fc.integer({ min: 1, max: 6 }),
    strategy: fc.constantFrom('means' as const, 'full' as const, 'whole' as const),
  })

  test('two requests that share the devices, interleaved at will, give what each gives by itself', async () => {
    const idle = usedBytes(models)
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), one, one, async (scheduler, ...both) => {
        const run = ({ batch, kind, seed, strategy, segments }: (typeof both)[0]): Promise<Float32Array> => {
          const sequences = sequencesOf(runner.model, batch)
          const options: SharingOptions = { strategy, segments }
          return rowsOf(runner.with(options), sequences, wantOf(kind, sequences, seed))
        }
        const want = [await run(both[0]), await run(both[1])]
        schedule = deliver => void scheduler.schedule(Promise.resolve()).then(deliver)
        const got = await scheduler.waitFor(Promise.all(both.map(run))).finally(() => {
          schedule = inOrder
        })
        expect(got.map(bits)).toEqual(want.map(bits))
        expect(usedBytes(models)).toEqual(idle)
      }),
      { numRuns: runsEach },
    )
  })

  test('two forwards on one engine, interleaved layer by layer and block by block, give what each gives by itself', async () => {
    // A fresh engine: its memory grows, and moves, in the middle of them.
    const model = await load(subject)
    const { bytes } = model.engine.memory
    const idle = model.engine.arena.usedBytes
    /** One forward that waits before every block until it is its turn. */
    const forward = async (sequences: readonly Part[], turn: () => Promise<void>): Promise<Float32Array> => {
      const placed = sequences.map(({ to }) => ({ rows: to, wanted: Array.from({ length: to }, (_, i) => i) }))
      const scope = model.engine.scope()
      try {
        const context = alone(wholeLayout(placed, model.shape), new StageMeter())
        const x = await model.forward(model.embed(scope, sequences), inTurns(context, turn))
        return model.finish(x).floats()
      } finally {
        scope.dispose()
      }
    }
    try {
      await fc.assert(
        fc.asyncProperty(fc.scheduler(), batches(subject), batches(subject), async (scheduler, ...both) => {
          const turn = (): Promise<void> => scheduler.schedule(Promise.resolve())
          const together = both.map(batch => forward(sequencesOf(model, batch), turn))
          const got = await scheduler.waitFor(Promise.all(together))
          const want: Float32Array[] = []
          for (const batch of both) want.push(await forward(sequencesOf(model, batch), async () => {}))
          expect(got.map(bits)).toEqual(want.map(bits))
          expect(model.engine.arena.usedBytes).toBe(idle)
        }),
        { numRuns: runsEach },
      )
      expect(model.engine.memory.bytes).toBeGreaterThan(bytes)
    } finally {
      model.dispose()
    }
  })
})

function inTurns(context: Context, turn: () => Promise<void>): Context {
  return {
    wanted: (layer, x) => context.wanted(layer, x),
    keys(layer, x, projection) {
      const { normed, blocks } = context.keys(layer, x, projection)
      const waiting = async function* () {
        for await (const block of blocks) {
          await turn()
          yield block
        }
      }
      return { normed, blocks: waiting() }
    },
  }
}

describe.each(generators)('$name generates', subject => {
  let runner: SharedRunner
  let models: readonly Model[]
  beforeAll(async () => {
    ;({ runner, models } = await inMemory(subject, DEVICES))
  })
  afterAll(() => runner.dispose())

  test('two texts whose tokens are taken in any order are those that each gives by itself, alone and shared', async () => {
    const idle = usedBytes(models)
    const turns = fc.array(fc.nat(1), { minLength: 12, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(batches(subject, 2), batches(subject, 2), turns, fc.boolean(), async (a, b, order, isShared) => {
        const sharer: Runner = isShared ? runner : aloneRunner(runner.model)
        const prompts = [a, b].map(batch => sequencesOf(runner.model, batch))
        const options = { maxNewTokens: 4, withLogits: true }
        const requests = prompts.map(() => sharer.begin())
        const iterators = requests.map((r, i) => r.tokens(prompts[i]!, options)[Symbol.asyncIterator]())
        const got = prompts.map((): Emitted[] => [])
        for (const i of [...order, ...new Array<number>(9).fill(0), ...new Array<number>(9).fill(1)]) {
          const next = await iterators[i]!.next()
          if (!next.done) got[i]!.push(next.value)
        }
        for (const request of requests) request.end()
        for (const [i, sequences] of prompts.entries()) {
          const want = await tokensOf(sharer, sequences, options)
          expect(bitsOfTokens(got[i]!)).toEqual(bitsOfTokens(want))
        }
        expect(usedBytes(models)).toEqual(idle)
      }),
      { numRuns: runsEach },
    )
  })
})
