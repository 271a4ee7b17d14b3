/** Candidates in order of bytes, and what fits a budget. */
import { createPlan, PlanError, recommended } from '@prismal/distribute'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EXACT } from './candidates.js'
import { describeSharing } from './describe.js'
import { exact, ladder, type Requests, within } from './ladder.js'

const shape = {
  ...{ layers: 3, width: 48, heads: 3, headWidth: 16, inner: 192, positions: 512 },
  ...{ patchWidth: 0, prefixRows: 0 },
}
const requests: fc.Arbitrary<Requests> = fc.record({
  model: fc.constantFrom<Requests['model']>(
    { family: 'vit', shape: { ...shape, causal: false } },
    { family: 'bert', shape: { ...shape, causal: false } },
    { family: 'gpt2', shape: { ...shape, causal: true } },
  ),
  devices: fc.integer({ min: 2, max: 5 }),
  lengths: fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 6 }),
  want: fc.constantFrom('first', 'last', 'mean'),
})

describe('ladder', () => {
  it('ascends in bytes, from nothing to every row, and all of it can be planned', () => {
    fc.assert(
      fc.property(requests, asked => {
        const rungs = ladder(asked)
        expect(rungs[0]).toMatchObject({ bytes: 0, sharing: { strategy: 'isolated' } })
        expect(rungs.at(-1)?.sharing).toMatchObject({ strategy: 'full', wire: 'int8' })
        for (const [i, { bytes, mostBytes }] of rungs.entries()) {
          if (i > 1) expect(bytes).toBeGreaterThanOrEqual(rungs[i - 1]!.bytes)
          expect(mostBytes).toBeGreaterThanOrEqual(bytes)
        }
        const { model, devices, want } = asked
        for (const { sharing } of rungs) createPlan({ shape: model.shape, rows: [64], want, devices }, sharing)
      }),
    )
  })

  it('shares as is recommended for so many means', () => {
    const image = { ...shape, causal: false, patchWidth: 48, prefixRows: 1, patchGrid: [8, 8] as const }
    const rungs = ladder({ model: { family: 'vit', shape: image }, devices: 2, lengths: [65], want: 'first' })
    for (const { sharing } of rungs.filter(r => r.sharing.segments !== undefined)) {
      const segments = sharing.segments as number
      expect(sharing).toEqual({ ...recommended(image, 2, { segments }), segments })
    }
    expect(new Set(rungs.map(r => r.sharing.order))).toEqual(new Set(['hilbert-in-turn', 'raster', undefined]))
  })

  it('gives no two candidates for the same bytes, but where nothing at all travels', () => {
    fc.assert(
      fc.property(requests, asked => {
        const bytes = ladder(asked)
          .map(r => r.bytes)
          .filter(b => b > 0)
        expect(new Set(bytes).size).toBe(bytes.length)
      }),
    )
  })
})

describe('a budget', () => {
  const asked: Requests = {
    model: { family: 'vit', shape: { ...shape, causal: false } },
    ...{ devices: 2, lengths: [65], want: 'first' },
  }

  it('is kept for every input, by as many means as fit', () => {
    fc.assert(
      fc.property(requests, fc.integer({ min: 1, max: 200_000 }), (asked, budget) => {
        let found: ReturnType<typeof within>
        try {
          found = within(budget, asked)
        } catch (error) {
          expect(error).toBeInstanceOf(PlanError)
          return
        }
        for (const { mostBytes } of found) expect(mostBytes).toBeLessThanOrEqual(budget)
      }),
    )
  })

  it('of a language model has a way for texts unlike its own', () => {
    const model = { family: 'gpt2', shape: { ...shape, causal: true } } as const
    const found = within(2000, { ...asked, model, want: 'last' })
    expect(found.map(({ sharing: { point, gain = 1 } }) => [point, gain])).toContainEqual(['input', 0.7])
    expect(within(2000, asked).map(({ sharing }) => sharing.point)).toEqual(['normed', 'normed', 'normed'])
  })

  it('of more than everything takes is exact sharing', () => {
    expect(within(1e9, asked).map(c => c.sharing)).toEqual([EXACT])
    expect(within(exact(asked).mostBytes - 1, asked)[0]?.sharing).toMatchObject({ strategy: 'full', wire: 'int8' })
  })

  it('that nothing fits says how much would', () => {
    expect(() => within(10, asked)).toThrow(
      /^plan: a budget of 10 bytes is too small: one mean a device takes \d+ bytes/,
    )
  })
})

describe('descriptions', () => {
  it('say what people would', () => {
    expect(describeSharing({ segments: 16, wire: 'int8', sink: 0 })).toBe('16 means a device, int8')
    expect(describeSharing({ segments: 2, point: 'input', gain: 0.7 })).toBe(
      '2 means a device of the block input, f32, gain 0.7',
    )
    expect(describeSharing({ segments: 1, sink: 1 })).toBe('1 mean a device, f32, sink 1')
    expect(describeSharing({ strategy: 'full', wire: 'int8', point: 'normed' })).toBe('every row, int8')
    expect(describeSharing({ strategy: 'isolated' })).toBe('nothing sent')
  })
})
