/** Bounds against tables, and how often they hold on data that are made up. */
import { describe, expect, it } from 'vitest'
import { normalFrom, randomFrom } from '../../../../test/random.js'
import { spearmanOf } from '../evaluate/correlation.js'
import {
  correlationLossBound,
  gammaQuantile,
  normalQuantile,
  ratioBound,
  severityBound,
  studentQuantile,
} from './bounds.js'

describe('quantiles', () => {
  it('are those of tables', () => {
    for (const [p, z] of [
      [0.5, 0],
      [0.95, 1.6448536],
      [0.975, 1.959964],
      [0.999, 3.0902323],
      [0.001, -3.0902323],
    ])
      expect(normalQuantile(p!)).toBeCloseTo(z!, 6)
    for (const [p, degrees, t] of [
      [0.95, 7, 1.8946],
      [0.95, 30, 1.6973],
      [0.99, 19, 2.5395],
    ])
      expect(studentQuantile(p!, degrees!) / t!).toBeCloseTo(1, 2)
    // With shape 1 it is −ln(1 − p); a chi-square of 20 degrees, halved, has shape 10.
    for (const p of [0.9, 0.95, 0.99, 0.9975]) expect(gammaQuantile(p, 1) / -Math.log(1 - p)).toBeCloseTo(1, 1)
    expect(gammaQuantile(0.95, 10)).toBeCloseTo(31.4104 / 2, 2)
  })
})

/** How often it holds over so many made up samples. */
function share(trials: number, holds: (seed: number) => boolean): number {
  let hits = 0
  for (let i = 0; i < trials; i++) if (holds(i + 1)) hits++
  return hits / trials
}

describe('coverage', () => {
  it.each([
    [200, 0.01],
    [500, 0.01],
    [500, 0.05],
    [2000, 0.03],
  ])('of what %i inputs tell where a share of %f differ', (n, rate) => {
    const severity = (u: number): number => u * u
    const really = (100 * rate) / 3
    const alpha = 0.05
    const covered = share(1000, seed => {
      const random = randomFrom(seed)
      let [sum, squares] = [0, 0]
      for (let i = 0; i < n; i++) {
        if (random() >= rate) continue
        const lost = severity(random())
        sum += lost
        squares += lost * lost
      }
      return severityBound(n, sum, squares, alpha).upper >= really
    })
    expect(covered).toBeGreaterThan(0.945)
  })

  it('of the share of nats that is lost, by documents of all lengths', () => {
    const covered = share(1000, seed => {
      const random = randomFrom(seed)
      const base = Array.from({ length: 40 }, () => 20 + 100 * random())
      const more = base.map(b => b * (0.01 + 0.02 * normalFrom(random)))
      const { lower, upper } = ratioBound(more, base, 0.05)
      return lower <= 1 && 1 <= upper
    })
    expect(covered).toBeGreaterThan(0.87)
    expect(covered).toBeLessThan(0.93)
  })

  it('of the loss of rank agreement', () => {
    const r = 0.98
    const really = 100 * (1 - (6 / Math.PI) * Math.asin(r / 2))
    const covered = share(600, seed => {
      const random = randomFrom(seed)
      const a = Array.from({ length: 200 }, () => normalFrom(random))
      const b = a.map(v => r * v + Math.sqrt(1 - r * r) * normalFrom(random))
      const rows = a.map((_, i) => i)
      return correlationLossBound(spearmanOf(a, b, rows), 200, 0.05).upper >= really
    })
    expect(covered).toBeGreaterThan(0.92)
  })
})

describe('bounds', () => {
  it('of nothing that differs are a rule of three', () => {
    expect(severityBound(1000, 0, 0, 0.05).upper).toBeCloseTo(0.3, 2)
    expect(severityBound(1000, 0, 0, 0.05)).toMatchObject({ estimate: 0, lower: 0 })
    const { upper, ...nothing } = correlationLossBound(1, 1000, 0.05)
    expect(nothing).toEqual({ estimate: 0, lower: 0 })
    expect(upper).toBeGreaterThan(0)
    expect(upper).toBeLessThan(1e-5)
  })

  it('of too few inputs are none', () => {
    const none = { estimate: 10, lower: -Infinity, upper: Infinity, leastInputs: 8 }
    expect(ratioBound([1, 1], [10, 10], 0.05)).toEqual(none)
    expect(correlationLossBound(0.9, 5, 0.05)).toMatchObject({ upper: Infinity, leastInputs: 10 })
    expect(correlationLossBound(0, 29, 0.05).lower).toBe(0)
    expect(correlationLossBound(0, 30, 0.05).lower).toBeGreaterThan(50)
    expect(severityBound(2, 0, 0, 0.05).upper).toBe(100)
  })

  it('come closer with more inputs and a lower confidence', () => {
    const at = (n: number, alpha: number): number => severityBound(n, n * 0.004, n * 0.002, alpha).upper
    expect(at(1000, 0.05)).toBeGreaterThan(at(4000, 0.05))
    expect(at(1000, 0.05)).toBeGreaterThan(at(1000, 0.2))
    expect(at(1e6, 0.05)).toBeCloseTo(0.4, 1)
  })
})
