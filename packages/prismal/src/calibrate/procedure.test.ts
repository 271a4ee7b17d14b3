/** The procedure's promises, on losses that are made up. */
import { describe, expect, it } from 'vitest'
import { normalFrom, randomFrom } from '../../../../test/random.js'
import { spearmanOf } from '../evaluate/correlation.js'
import { type Bound, correlationLossBound, severityBound } from './bounds.js'
import { certify, neededInputs, race, type Tell } from './procedure.js'

/** Candidates that differ from one device in these shares of the inputs, by half a point each; costlier ones where cheaper ones do too. */
function tellOf(rates: readonly number[], inputs: number, seed: number): { tell: Tell<number>; calls: number[][] } {
  const random = randomFrom(seed)
  const luck = Array.from({ length: inputs }, random)
  const calls: number[][] = []
  return {
    calls,
    async tell(candidate, count, alpha) {
      calls.push([candidate, count])
      const differing = luck.slice(0, count).filter(u => u < (rates[candidate] as number)).length
      return severityBound(count, differing / 2, differing / 4, alpha)
    },
  }
}
/** What each loses, percent: half of the share. */
const RATES = [0.08, 0.05, 0.03, 0.021, 0.015, 0.01, 0.005, 0.002, 0]
const candidates = RATES.map((_, i) => i)
const lossOf = (candidate: number): number => 50 * (RATES[candidate] as number)

describe('certify', () => {
  const limits = { inputs: 2000, alpha: 0.05, maxLoss: 1 }

  it('chooses what loses too much in 5 % of all cases at most, and hardly ever nothing', async () => {
    const trials = 400
    let [wrong, none, bytes] = [0, 0, 0]
    for (let seed = 1; seed <= trials; seed++) {
      const tested = await certify(candidates, tellOf(RATES, limits.inputs, seed).tell, limits)
      const chosen = tested.findLast(t => t.holds)
      if (!chosen) none++
      else if (lossOf(chosen.candidate) > limits.maxLoss) wrong++
      else bytes += chosen.candidate
    }
    expect(wrong / trials).toBeLessThan(0.07)
    expect(none).toBe(0)
    // The cheapest that is allowed is number 4; the one beside it is reached on average.
    expect(bytes / (trials - wrong)).toBeLessThan(5.5)
  })

  it.each([20, 40, 100])('hardly ever chooses what changes ranks too much, of %i pairs', async inputs => {
    const trials = 600
    const rows = Array.from({ length: inputs }, (_, i) => i)
    for (const rho of [0.99, 0.995, 0.998, 0.9995]) {
      // The rank correlation of normal variables, and a little less than what is really lost.
      const maxLoss = 0.99 * 100 * (1 - (6 / Math.PI) * Math.asin(rho / 2))
      let wrong = 0
      for (let seed = 1; seed <= trials; seed++) {
        const normal = normalFrom.bind(null, randomFrom(seed))
        const one = Array.from({ length: inputs }, normal)
        const shared = one.map(v => rho * v + Math.sqrt(1 - rho * rho) * normal())
        const tell: Tell<number> = async (_, count, alpha) =>
          correlationLossBound(spearmanOf(one, shared, rows.slice(0, count)), count, alpha)
        const [tested] = await certify([0], tell, { inputs, alpha: 0.05, maxLoss })
        if (tested?.holds) wrong++
      }
      expect(wrong / trials, `ρ = ${rho}`).toBeLessThan(0.05)
    }
  })

  it('ends at the first candidate that fails, and does not try what is cheaper', async () => {
    const { tell, calls } = tellOf(RATES, 2000, 3)
    const tested = await certify(candidates, tell, limits)
    expect(tested.map(t => t.candidate)).toEqual(candidates.toReversed().slice(0, tested.length))
    expect(tested.slice(0, -1).every(t => t.holds)).toBe(true)
    expect(tested.at(-1)?.holds).toBe(false)
    expect(Math.min(...calls.map(([candidate]) => candidate!))).toBe(tested.at(-1)?.candidate)
  })

  it('tries what is clear on a part of the inputs only', async () => {
    const { tell, calls } = tellOf([0.5, 0], 2000, 5)
    const [all, half] = await certify([0, 1], tell, { ...limits, maxLoss: 2 })
    expect(all).toMatchObject({ candidate: 1, inputs: 500, holds: true })
    expect(half).toMatchObject({ candidate: 0, inputs: 500, holds: false })
    expect(calls).toEqual([
      [1, 500],
      [0, 500],
    ])
  })

  it('says how many inputs would do where there are too few', async () => {
    const { tell } = tellOf([0], 100, 1)
    const [first] = await certify([0], tell, { inputs: 100, alpha: 0.05, maxLoss: 0.5 })
    expect(first).toMatchObject({ holds: false, inputs: 100 })
    const needed = first?.neededInputs as number
    expect(needed).toBeGreaterThan(550)
    expect(needed).toBeLessThan(800)
    const enough = await certify([0], tellOf([0], needed, 1).tell, { inputs: needed, alpha: 0.05, maxLoss: 0.5 })
    expect(enough[0]?.holds).toBe(true)
  })
})

describe('needed inputs', () => {
  const bound = (estimate: number, upper: number): Bound => ({ estimate, lower: 0, upper })
  it('grow with the square of how near it is, and are not told where nothing helps', () => {
    expect(neededInputs(bound(0.5, 1.5), 1000, 1)).toBe(4000)
    expect(neededInputs(bound(0, 1.5), 1000, 0.5)).toBe(3000)
    expect(neededInputs(bound(1, 1.5), 1000, 1)).toBeUndefined()
    expect(neededInputs(bound(0.9999, 1.5), 1000, 1)).toBeUndefined()
    expect(neededInputs(bound(0.5, Infinity), 5, 1)).toBeUndefined()
    expect(neededInputs({ ...bound(1.5, Infinity), leastInputs: 8 }, 5, 1)).toBe(8)
  })
})

describe('race', () => {
  it('finds what loses least, by trying the others on less', async () => {
    const rates = [0.2, 0.15, 0.02, 0.18]
    const { tell, calls } = tellOf(rates, 1600, 2)
    const [best, ...others] = await race([0, 1, 2, 3], tell, { inputs: 1600, alpha: 0.05 })
    expect(best).toMatchObject({ candidate: 2, inputs: 1600 })
    expect(others.map(t => t.candidate).sort()).toEqual([0, 1, 3])
    const work = calls.reduce((sum, [, count]) => sum + count!, 0)
    expect(work).toBeLessThan(0.75 * 4 * 1600)
  })

  it('of one candidate is a trial on all inputs', async () => {
    const { tell } = tellOf([0.1], 300, 2)
    expect(await race([0], tell, { inputs: 300, alpha: 0.05 })).toMatchObject([{ candidate: 0, inputs: 300 }])
    expect(await race([], tell, { inputs: 300, alpha: 0.05 })).toEqual([])
  })
})
