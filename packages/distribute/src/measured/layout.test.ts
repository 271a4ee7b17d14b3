import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createPlan } from '../plan.js'
import { splitEven } from '../runs.js'
import { layout, type SharedWork } from './layout.js'
import { predict } from './predict.js'
import { gpt2, imagined, vitB } from './test-subjects.js'

const image: SharedWork = { shape: vitB, rows: [197], want: 'first' }

describe('a layout', () => {
  it.each([2, 3, 4])('of %i equal devices is even', devices => {
    const speeds = new Array<number>(devices).fill(5e10)
    const { weights } = layout(image, imagined({ speeds, bitsPerSecond: 1e9 }), { segments: 10 })
    expect(Math.max(...weights) - Math.min(...weights)).toBeLessThanOrEqual(1)
    expect(weights.reduce((a, b) => a + b)).toBe(197)
  })

  it('gives a device that is twice as fast about twice the rows', () => {
    const { weights } = layout(image, imagined({ speeds: [6e10, 3e10] }), { segments: 10 })
    expect((weights[0] as number) / (weights[1] as number)).toBeGreaterThan(1.7)
    expect((weights[0] as number) / (weights[1] as number)).toBeLessThan(2.3)
  })

  it('leaves a device out that would hold the others up', () => {
    const { weights } = layout(image, imagined({ speeds: [5e10, 5e10, 1e8] }), { segments: 10 })
    expect(weights[2]).toBe(0)
  })

  it('gives the first device more of a causal sequence where every row is sent: it has fewer keys', () => {
    const text: SharedWork = { shape: gpt2, rows: [1024], want: 'last' }
    const { weights } = layout(text, imagined({ speeds: [5e10, 5e10] }), { strategy: 'full' })
    expect(weights[0]).toBeGreaterThan((weights[1] as number) * 1.1)
  })

  it('deals whole sequences out by speed', () => {
    const batch: SharedWork = { ...image, rows: new Array<number>(9).fill(197) }
    const { weights } = layout(batch, imagined({ speeds: [6e10, 3e10] }), { strategy: 'whole' })
    const plan = createPlan({ ...batch, devices: 2 }, { strategy: 'whole', weights })
    expect(plan.sequences.filter(s => s.bounds[0]?.[1] === 197)).toHaveLength(6)
  })

  it('is never slower than even rows, and is a plan', () => {
    const speeds = fc.array(fc.double({ min: 1e9, max: 1e11, noNaN: true }), { minLength: 1, maxLength: 4 })
    const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 3 })
    const strategy = fc.constantFrom('means' as const, 'full' as const, 'whole' as const)
    fc.assert(
      fc.property(speeds, lengths, strategy, (given, rows, name) => {
        const work: SharedWork = { shape: { ...gpt2, layers: 2 }, rows, want: 'last' }
        const measured = imagined({ speeds: given, bitsPerSecond: 1e8, latencyMs: 1 })
        const { weights, prediction } = layout(work, measured, { strategy: name })
        // Of whole sequences equal shares, else an even share of the longest one, by which shorter ones are dealt too.
        const shares = splitEven(name === 'whole' ? given.length : Math.max(...rows), given.length)
        const evenly = shares.map(([from, to]) => to - from)
        const even = createPlan({ ...work, devices: given.length }, { strategy: name, weights: evenly })
        expect(prediction.milliseconds).toBeLessThanOrEqual(predict(even, work.shape, measured).milliseconds + 1e-9)
        const plan = createPlan({ ...work, devices: given.length }, { strategy: name, weights })
        expect(predict(plan, work.shape, measured).milliseconds).toBeCloseTo(prediction.milliseconds, 6)
      }),
      { numRuns: 50 },
    )
  })
})
