/** What is lost, told without labels, against what labels tell. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { normalFrom, randomFrom } from '../../../../test/random.js'
import { spearmanOf } from '../evaluate/correlation.js'
import { accuracyLoss, lossOf, severityOf, similarityLoss } from './losses.js'

const softmax = (logits: readonly number[]): number[] => {
  const weights = logits.map(Math.exp)
  const sum = weights.reduce((a, b) => a + b, 0)
  return weights.map(w => w / sum)
}
const indexOfMax = (values: readonly number[]): number => values.indexOf(Math.max(...values))

describe('severity', () => {
  it('is the difference of the two probabilities, sharpened, and nothing where both say the same', () => {
    const logits = fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: 3, maxLength: 3 })
    fc.assert(
      fc.property(logits, logits, (one, shared) => {
        const p = softmax(one.map(v => 1.5 * v))
        const expected = p[indexOfMax(one)]! - p[indexOfMax(shared)]!
        expect(severityOf(one, shared)).toBeCloseTo(expected, 9)
        expect(severityOf(one, one)).toBe(0)
      }),
    )
  })

  it('of a single logit is that of yes and no', () => {
    expect(severityOf([2], [-1])).toBeCloseTo(severityOf([0, 2], [0, -1]), 12)
    expect(severityOf([2], [1])).toBe(0)
  })
})

describe('losses', () => {
  it('in accuracy are what labels show, where the model is as sure as it says or surer', () => {
    const random = randomFrom(11)
    const normal = () => normalFrom(random)
    for (const sharpness of [1.5, 1]) {
      let lost = 0
      const differences = Array.from({ length: 20_000 }, () => {
        const one = Float32Array.from({ length: 4 }, () => 1.5 * normal())
        const shared = one.map(v => v + 0.5 * normal())
        // The truth is drawn from probabilities that are as sharp as this.
        const p = softmax([...one].map(v => sharpness * v))
        const luck = random()
        const truth = p.findIndex((_, k) => luck < p.slice(0, k + 1).reduce((a, b) => a + b, 0))
        lost += Number(indexOfMax([...one]) === truth) - Number(indexOfMax([...shared]) === truth)
        return accuracyLoss.compare(one, shared)
      })
      const { lower, estimate, upper } = accuracyLoss.bound(differences, 0.01)
      const really = (100 * lost) / differences.length
      expect(really).toBeLessThan(upper + 0.5)
      if (sharpness === 1.5) expect(really).toBeGreaterThan(lower - 0.7)
      else expect(really).toBeLessThan(estimate)
    }
  })

  it.each([0.02, 0.1, 0.3, 1])('in accuracy stay below their bounds where logits change by %f', noise => {
    const normal = normalFrom.bind(null, randomFrom(13))
    const differences = (n: number) =>
      Array.from({ length: n }, () => {
        const one = Float32Array.from({ length: 4 }, () => 2 * normal())
        return accuracyLoss.compare(
          one,
          one.map(v => v + noise * normal()),
        )
      })
    const all = differences(100_000)
    const really = (100 * all.reduce((sum, [lost]) => sum + lost, 0)) / all.length
    const uppers = Array.from({ length: 200 }, () => accuracyLoss.bound(differences(400), 0.05).upper)
    expect(uppers.filter(upper => upper >= really).length / uppers.length).toBeGreaterThan(0.95)
    // As many inputs without a single difference would tell no less than 0.75.
    if (noise === 0.02) expect(Math.max(...uppers)).toBeLessThan(0.5)
  })

  it.each([1, 3, 10])(
    'in accuracy stay below their bounds where answers are nearly by chance (logits change by %f)',
    noise => {
      const normal = normalFrom.bind(null, randomFrom(14))
      const differences = (n: number) =>
        Array.from({ length: n }, () => {
          const one = Float32Array.from({ length: 2 }, () => 3 * normal())
          return accuracyLoss.compare(
            one,
            one.map(v => v + noise * normal()),
          )
        })
      const all = differences(50_000)
      const really = (100 * all.reduce((sum, [lost]) => sum + lost, 0)) / all.length
      for (const inputs of [20, 60, 400]) {
        const uppers = Array.from({ length: 300 }, () => accuracyLoss.bound(differences(inputs), 0.05).upper)
        expect(uppers.filter(upper => upper >= really).length / uppers.length).toBeGreaterThan(0.95)
        expect(Math.max(...uppers)).toBeLessThanOrEqual(100)
      }
    },
  )

  it('in accuracy are told from amplified logits only where these lose little', () => {
    const { upper: few } = accuracyLoss.bound(new Array(100).fill([0, 0.02]), 0.05)
    const { upper: many } = accuracyLoss.bound(new Array(100).fill([0, 0.08]), 0.05)
    expect(few).toBeLessThan(2)
    expect(many).toBeCloseTo(1.15 * -Math.log(0.025), 1)
  })

  it('in accuracy are bounded by more than the probabilities say, since these may be off', () => {
    const { estimate, upper } = accuracyLoss.bound(new Array(1000).fill([0, 0]), 0.05)
    expect(estimate).toBe(0)
    expect(upper).toBeCloseTo((1.15 * 100 * -Math.log(0.025)) / 1000 / 4, 2)
    expect(accuracyLoss.bound(new Array(1000).fill([0.1, 0]), 0.05).upper).toBeCloseTo(11.5, 9)
  })

  it('in rank correlation are bounded by the rank agreement, where sharing adds noise', () => {
    const normal = normalFrom.bind(null, randomFrom(12))
    const truth = Array.from({ length: 4000 }, normal)
    const one = truth.map(t => t + 0.6 * normal())
    const shared = one.map(t => t + 0.3 * normal())
    const rows = truth.map((_, i) => i)
    const really = 100 * (spearmanOf(one, truth, rows) - spearmanOf(shared, truth, rows))
    const { estimate } = similarityLoss('mean').bound(
      one.map((v, i) => [v, shared[i]!] as const),
      0.05,
    )
    expect(really).toBeGreaterThan(0.5 * estimate)
    expect(really).toBeLessThan(estimate)
  })

  it('of other tasks are not known', () => {
    expect(() => lossOf('fill-mask', 2)).toThrow('calibrate: fill-mask cannot be calibrated')
  })
})
