import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fitLink } from './links.js'
import { fitDevice, fitLine, quantiles } from './speed.js'

const positive = (max: number) => fc.double({ min: 0.01, max, noNaN: true })

describe('a link that was probed', () => {
  it('has the latency and bandwidth that its round trips were made of', () => {
    fc.assert(
      fc.property(positive(100), fc.double({ min: 1e4, max: 1e10, noNaN: true }), (latencyMs, bitsPerSecond) => {
        const sizes = [0, 1024, 4096, 16384, 65536, 262144]
        const fit = fitLink(
          sizes.map(bytes => ({ bytes, milliseconds: 2 * latencyMs + (bytes * 8000) / bitsPerSecond })),
        )
        expect(fit.latencyMs).toBeCloseTo(latencyMs, 6)
        expect(fit.bitsPerSecond / bitsPerSecond).toBeCloseTo(1, 3)
      }),
    )
  })

  it('has a bandwidth that is a number where sizes make no difference', () => {
    const { bitsPerSecond } = fitLink([0, 1024].map(bytes => ({ bytes, milliseconds: 0.02 })))
    expect(bitsPerSecond).toBe(1e13)
  })
})

describe('a device that was timed', () => {
  it('has what is fixed and what grows told apart', () => {
    fc.assert(
      fc.property(positive(10), positive(10), (fixed, slope) => {
        const samples = [1, 3, 10].map(work => ({ units: 1, work, milliseconds: fixed + slope * work }))
        const line = fitLine(samples)
        expect(line.fixed / fixed).toBeCloseTo(1, 4)
        expect(line.slope / slope).toBeCloseTo(1, 4)
      }),
    )
  })

  it('has neither part below 0, whatever was measured', () => {
    const time = fc.double({ min: 1e-6, max: 1000, noNaN: true })
    fc.assert(
      fc.property(fc.array(time, { minLength: 1, maxLength: 4 }), times => {
        const { fixed, slope } = fitLine(times.map((milliseconds, i) => ({ units: 2, work: 10 ** i, milliseconds })))
        expect(fixed).toBeGreaterThanOrEqual(0)
        expect(slope).toBeGreaterThanOrEqual(0)
      }),
    )
  })

  it('varies around 1, in order', () => {
    fc.assert(
      fc.property(fc.array(positive(50), { maxLength: 200 }), values => {
        const shares = quantiles(values)
        expect(shares.reduce((a, b) => a + b) / shares.length).toBeCloseTo(1, 9)
        expect(shares).toEqual(shares.toSorted((a, b) => a - b))
      }),
    )
  })

  it('must have computed something', () => {
    expect(() => fitDevice('a board', [])).toThrow('a board was given no row of the requests that measure')
  })
})
