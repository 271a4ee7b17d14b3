/** Batches and caches: whatever is computed together must be what it is alone, to the last bit. */
import {
  aloneRunner,
  type Emitted,
  type GenerateOptions,
  type Model,
  type Part,
  textPart,
  type Want,
} from '@prismal/models'
import { availableBuilds } from '@prismal/tensor'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { bits, distance } from '../compare.js'
import { RUNS } from '../runs.js'
import { FAMILIES, loadFolder, POSITIONS, randomInput, temporaryFolders, tinyModel, writeModel } from './tiny-model.js'

const newFolder = temporaryFolders()
const builds = availableBuilds()

async function rowsOf(model: Model, sequences: readonly Part[], want: Want): Promise<Float32Array> {
  const request = aloneRunner(model).begin()
  try {
    return (await request.rows(sequences, want)).floats()
  } finally {
    request.end()
  }
}
async function tokensOf(model: Model, prompts: readonly Part[], options: GenerateOptions): Promise<Emitted[]> {
  const request = aloneRunner(model).begin()
  try {
    const tokens: Emitted[] = []
    for await (const token of request.tokens(prompts, { withLogits: true, ...options })) tokens.push(token)
    return tokens
  } finally {
    request.end()
  }
}
const listed = fc.array(fc.nat(), { maxLength: 4 })
const cases = fc.array(fc.record({ rows: fc.integer({ min: 1, max: POSITIONS }), seed: fc.nat(), picks: listed }), {
  minLength: 1,
  maxLength: 4,
})
const wants = fc.constantFrom('all' as const, 'first' as const, 'last' as const, 'mean' as const, 'listed' as const)

describe.each(builds.flatMap(build => FAMILIES.map(family => [family, build] as const)))(
  '%s on %s',
  (family, build) => {
    const runs = build === builds[0] ? RUNS : Math.ceil(RUNS / 10)
    let model: Model
    let before: number
    beforeAll(async () => {
      model = await loadFolder(writeModel(newFolder(), tinyModel(family)), { backend: build })
      before = model.engine.arena.usedBytes
    })
    afterAll(() => {
      expect(model.engine.arena.usedBytes).toBe(before)
      model.dispose()
    })

    it('gives a ragged batch the rows of each sequence alone, bit by bit', async () => {
      await fc.assert(
        fc.asyncProperty(cases, wants, async (list, kind) => {
          const sequences = list.map(({ rows, seed }) => randomInput(model, rows, seed))
          const want = (of: readonly number[]): Want =>
            kind === 'listed' ? of.map(i => list[i]!.picks.map(p => p % sequences[i]!.to)) : kind
          const together = await rowsOf(model, sequences, want([...sequences.keys()]))
          const apart: number[] = []
          for (const [i, sequence] of sequences.entries())
            apart.push(...bits(await rowsOf(model, [sequence], want([i]))))
          expect(bits(together)).toEqual(apart)
        }),
        { numRuns: runs },
      )
    })

    it('computes the rows that are asked for as they are among all', async () => {
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: POSITIONS }), fc.nat(), listed, async (rows, seed, picks) => {
          const sequence = randomInput(model, rows, seed)
          const all = await rowsOf(model, [sequence], 'all')
          const width = model.shape.width
          const row = (i: number): number[] => bits(all.subarray(i * width, (i + 1) * width))
          expect(all).toHaveLength(sequence.to * width)
          expect(bits(await rowsOf(model, [sequence], 'first'))).toEqual(row(0))
          expect(bits(await rowsOf(model, [sequence], 'last'))).toEqual(row(sequence.to - 1))
          const named = [...new Set(picks.map(p => p % sequence.to))].sort((a, b) => a - b)
          expect(bits(await rowsOf(model, [sequence], [[...named].reverse()]))).toEqual(named.flatMap(row))
          const mean = Array.from({ length: width }, (_, c) => {
            let sum = 0
            for (let r = 0; r < sequence.to; r++) sum += all[r * width + c]!
            return sum / sequence.to
          })
          expect(distance(await rowsOf(model, [sequence], 'mean'), mean)).toBeLessThan(2e-6)
        }),
        { numRuns: Math.ceil(runs / 4) },
      )
    })

    it('takes the same memory for the same request, however often', async () => {
      const sequences = [randomInput(model, 7, 1), randomInput(model, 23, 2)]
      await rowsOf(model, sequences, 'all')
      const [peak, bytes] = [model.engine.arena.peakBytes, model.engine.memory.bytes]
      for (let i = 0; i < 5; i++) await rowsOf(model, sequences, 'all')
      expect([model.engine.arena.peakBytes, model.engine.memory.bytes]).toEqual([peak, bytes])
    })

    it('answers two requests at once as one after the other', async () => {
      const sequences = [randomInput(model, 30, 1), randomInput(model, 9, 2), randomInput(model, 17, 3)]
      const alone = []
      for (const s of sequences) alone.push(bits(await rowsOf(model, [s], 'all')))
      const atOnce = await Promise.all(sequences.map(s => rowsOf(model, [s], 'all')))
      expect(atOnce.map(bits)).toEqual(alone)
    })

    it('lets events through between short requests', async () => {
      const fired = vi.fn()
      setTimeout(fired, 20)
      const began = performance.now()
      while (!fired.mock.calls.length && performance.now() - began < 1000)
        await rowsOf(model, [randomInput(model, 3, 1)], 'first')
      expect(fired).toHaveBeenCalled()
    })

    it('stops where the signal says so', async () => {
      const request = aloneRunner(model).begin(AbortSignal.abort(new Error('enough')))
      await expect(request.rows([randomInput(model, 9, 1)], 'all')).rejects.toThrow('enough')
      request.end()
      request.end()
      const controller = new AbortController()
      const running = aloneRunner(model).begin(controller.signal)
      const rows = running.rows([randomInput(model, 9, 1)], 'all')
      controller.abort(new Error('enough now'))
      await expect(rows).rejects.toThrow('enough now')
      running.end()
    })
  },
)

describe.each(builds)('generation on %s', build => {
  const runs = Math.ceil(build === builds[0] ? RUNS / 4 : RUNS / 20)
  let model: Model
  let before: number
  beforeAll(async () => {
    model = await loadFolder(writeModel(newFolder(), tinyModel('gpt2')), { backend: build })
    before = model.engine.arena.usedBytes
  })
  afterAll(() => {
    expect(model.engine.arena.usedBytes).toBe(before)
    model.dispose()
  })

  it('is forced to ids as though they had been chosen, then goes on by itself', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(60), { minLength: 1, maxLength: 6 }), fc.nat(), async (ids, seed) => {
        const prompts = [randomInput(model, 9, seed), randomInput(model, 4, seed + 1)]
        const maxNewTokens = ids.length + 2
        const forced = await tokensOf(model, prompts, { maxNewTokens, forced: [ids] })
        const of = (sequence: number): Emitted[] => forced.filter(t => t.sequence === sequence)
        expect(
          of(0)
            .slice(0, -2)
            .map(t => t.id),
        ).toEqual(ids)
        // What follows is what would follow the longer prompt; the other prompt is left to itself.
        const longer = textPart([...prompts[0]!.ids!, ...ids])
        const after = await tokensOf(model, [longer], { maxNewTokens: 2 })
        expect(
          of(0)
            .slice(-2)
            .map(t => [t.id, bits(t.logits!)]),
        ).toEqual(after.map(t => [t.id, bits(t.logits!)]))
        const alone = await tokensOf(model, prompts.slice(1), { maxNewTokens })
        expect(of(1).map(t => t.id)).toEqual(alone.map(t => t.id))
      }),
      { numRuns: runs },
    )
  })

  it('from a cache equals recomputing the whole prefix, bit by bit', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 20 }), fc.nat(), async (rows, seed) => {
        const prompt = randomInput(model, rows, seed)
        const ids = [...prompt.ids!]
        for (const { id, logits } of await tokensOf(model, [prompt], { maxNewTokens: 8 })) {
          const request = aloneRunner(model).begin()
          const last = await request.rows([{ from: 0, to: ids.length, ids: Int32Array.from(ids) }], 'last')
          expect(bits(logits!)).toEqual(bits(model.vocabulary!(last).floats()))
          request.end()
          ids.push(id)
        }
      }),
      { numRuns: runs },
    )
  })

  it('of a batch equals that of each prompt, ids and logits, bit by bit', async () => {
    const prompts = fc.array(fc.record({ rows: fc.integer({ min: 1, max: POSITIONS }), seed: fc.nat() }), {
      minLength: 2,
      maxLength: 4,
    })
    await fc.assert(
      fc.asyncProperty(prompts, fc.nat(60), async (list, endId) => {
        const batch = list.map(({ rows, seed }) => randomInput(model, rows, seed))
        const options = { maxNewTokens: 7, endIds: [endId] }
        const together = await tokensOf(model, batch, options)
        const plain = ({ id, end, logits }: Emitted) => ({ id, end, logits: bits(logits!) })
        for (const [i, prompt] of batch.entries()) {
          const mine = together.filter(({ sequence }) => sequence === i).map(plain)
          expect(mine).toEqual((await tokensOf(model, [prompt], options)).map(plain))
        }
      }),
      { numRuns: runs },
    )
  })

  it('ends at the length, at an end token, and where the positions end', async () => {
    const prompt = randomInput(model, 5, 3)
    const ends = (tokens: readonly Emitted[]) => tokens.map(({ end }) => end)
    const ten = await tokensOf(model, [prompt], { maxNewTokens: 10 })
    expect(ends(ten)).toEqual([...new Array(9).fill(undefined), 'length'])
    const stop = ten[6]!.id
    const first = ten.findIndex(({ id }) => id === stop)
    const ended = await tokensOf(model, [prompt], { maxNewTokens: 10, endIds: [stop] })
    expect(ended.map(({ id }) => id)).toEqual(ten.slice(0, first + 1).map(({ id }) => id))
    expect(ended.at(-1)?.end).toBe('end-token')
    // A row at each position is read once, and the last one still gives a token.
    for (const [rows, count] of [
      [POSITIONS, 1],
      [POSITIONS - 1, 2],
      [POSITIONS - 4, 5],
    ] as const)
      expect(ends(await tokensOf(model, [randomInput(model, rows, 4)], { maxNewTokens: 10 }))).toEqual([
        ...new Array(count - 1).fill(undefined),
        'positions',
      ])
  })

  it('continues after masked rows at the positions that follow', async () => {
    const ids = Int32Array.of(3, 14, 15, 9, 26)
    const gap: Part = { from: 0, to: 3, ids: ids.slice(0, 3), positions: Int32Array.of(0, 2, 5) }
    const [, second] = await tokensOf(model, [gap], { maxNewTokens: 2 })
    const [firstToken] = await tokensOf(model, [gap], { maxNewTokens: 1 })
    const whole: Part = {
      from: 0,
      to: 4,
      ids: Int32Array.of(3, 14, 15, firstToken!.id),
      positions: Int32Array.of(0, 2, 5, 6),
    }
    const [recomputed] = await tokensOf(model, [whole], { maxNewTokens: 1 })
    expect(bits(second!.logits!)).toEqual(bits(recomputed!.logits!))
  })

  it('draws the same for the same seed, and differently for each sequence of a batch', async () => {
    const prompt = randomInput(model, 5, 3)
    const draw = async (prompts: Part[], seed: number): Promise<string[]> => {
      const tokens = await tokensOf(model, prompts, { maxNewTokens: 12, sampling: { temperature: 3, seed } })
      return prompts.map((_, i) => tokens.flatMap(({ sequence, id }) => (sequence === i ? [id] : [])).join())
    }
    const [one] = await draw([prompt], 1)
    expect(await draw([prompt], 1)).toEqual([one])
    expect(await draw([prompt], 2)).not.toEqual([one])
    const [first, second] = await draw([prompt, prompt], 1)
    expect(first).toBe(one)
    expect(second).not.toBe(one)
  })

  it('gives its memory back when nobody reads on', async () => {
    const request = aloneRunner(model).begin()
    for await (const _ of request.tokens([randomInput(model, 5, 3)], { maxNewTokens: 10 })) break
    request.end()
    expect(model.engine.arena.usedBytes).toBe(before)
  })
})
