import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import { indexOfMax, Sampler, type SamplingOptions } from './sampling.js'

const LOGITS = Float32Array.of(1, 3, -2, 2.5, 0, 3)
const DRAWS = 20_000
/** How often each token was drawn, as a share. */
function shares(options: SamplingOptions, seen: readonly number[] = [], logits = LOGITS): number[] {
  const sampler = new Sampler(options)
  const counts = new Array<number>(logits.length).fill(0)
  for (let i = 0; i < DRAWS; i++) counts[sampler.next(logits, seen)]!++
  return counts.map(count => count / DRAWS)
}
/** exp(logit / temperature) over the tokens that are kept, normed. */
function expected(temperature: number, keep: readonly number[], logits: readonly number[] = [...LOGITS]): number[] {
  const weights = logits.map((v, i) => (keep.includes(i) ? Math.exp(v / temperature) : 0))
  const total = weights.reduce((a, b) => a + b, 0)
  return weights.map(w => w / total)
}
/** Five standard deviations of a share, and none where it must be 0 or 1. */
function expectShares(got: readonly number[], want: readonly number[]): void {
  for (const [i, p] of want.entries())
    expect(Math.abs(got[i]! - p), `token ${i}`).toBeLessThanOrEqual(5 * Math.sqrt((p * (1 - p)) / DRAWS) + 1e-12)
}
const ALL = [0, 1, 2, 3, 4, 5]

describe('a sampler', () => {
  it('takes the most likely token, the lowest of equal ones, unless told otherwise', () => {
    expect(new Sampler().next(LOGITS, [])).toBe(1)
    expect(new Sampler({ temperature: 0, topK: 3, topP: 0.5, seed: 9 }).next(LOGITS, [])).toBe(1)
    expect(indexOfMax([-5, -1, -1])).toBe(1)
    expect(indexOfMax([-Infinity, -Infinity])).toBe(0)
  })

  it.each([0.5, 1, 3])('draws by the softmax of the logits at temperature %s', temperature => {
    expectShares(shares({ temperature }), expected(temperature, ALL))
  })

  it('draws from the k most likely tokens only', () => {
    expectShares(shares({ temperature: 1, topK: 3 }), expected(1, [1, 3, 5]))
    expectShares(shares({ temperature: 1, topK: 1 }), [0, 1, 0, 0, 0, 0])
    expectShares(shares({ temperature: 1, topK: 100 }), expected(1, ALL))
  })

  it('draws from the fewest tokens that reach the probability', () => {
    // Shares at temperature 1: 0.05, 0.37, 0.00, 0.22, 0.02, 0.37, taken from the largest on.
    expectShares(shares({ temperature: 1, topP: 0.3 }), expected(1, [1]))
    expectShares(shares({ temperature: 1, topP: 0.5 }), expected(1, [1, 5]))
    expectShares(shares({ temperature: 1, topP: 0.8 }), expected(1, [1, 5, 3]))
    expectShares(shares({ temperature: 1, topP: 1e-9 }), expected(1, [1]))
    // Of what top-k leaves: there 3 tokens are all, and the first two reach 0.76 of it.
    expectShares(shares({ temperature: 1, topK: 3, topP: 0.75 }), expected(1, [1, 5]))
  })

  it('divides the positive logits of tokens that occurred, and multiplies the others', () => {
    const penalised = [1 / 2, 3, -4, 2.5, 0, 3 / 2]
    const seen = [0, 2, 5, 5, 4]
    expectShares(shares({ temperature: 1, repetitionPenalty: 2 }, seen), expected(1, ALL, penalised))
    expect(new Sampler({ repetitionPenalty: 2 }).next(LOGITS, [1])).toBe(5)
    expect(new Sampler({ repetitionPenalty: 2 }).next(LOGITS, [1, 5])).toBe(3)
    expect([...LOGITS]).toEqual([1, 3, -2, 2.5, 0, 3])
  })

  it('is the same for the same seed and sequence, and another for others', () => {
    const draw = (seed: number, sequence = 0): string => {
      const sampler = new Sampler({ temperature: 1, seed }, sequence)
      return Array.from({ length: 64 }, () => sampler.next(LOGITS, [])).join('')
    }
    fc.assert(
      fc.property(fc.integer(), fc.integer(), (a, b) => {
        expect(draw(a)).toBe(draw(a))
        fc.pre(a !== b)
        expect(draw(a)).not.toBe(draw(b))
        expect(draw(a, 1)).not.toBe(draw(a))
      }),
      { numRuns: RUNS },
    )
  })

  it('never draws what has no probability, however extreme the logits', () => {
    const logits = Float32Array.of(-Infinity, 3e38, -3e38, -Infinity)
    for (const temperature of [1e-30, 1, 1e30]) expect(shares({ temperature }, [], logits)[0]).toBe(0)
    expect(shares({ temperature: 1 }, [], logits)).toEqual([0, 1, 0, 0])
  })
})
