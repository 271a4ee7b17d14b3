import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cost } from '../cost.js'
import type { SharingOptions } from '../options.js'
import { createPlan } from '../plan.js'
import { predict } from './predict.js'
import { gpt2, type Imagined, imagined, vitB } from './test-subjects.js'

const strategies: fc.Arbitrary<SharingOptions> = fc.oneof(
  fc.record({ strategy: fc.constantFrom('full', 'isolated', 'whole') }),
  fc.record({ strategy: fc.constant('means'), segments: fc.integer({ min: 1, max: 40 }) }),
)
const setting = fc.record({
  shape: fc.constantFrom({ ...vitB, layers: 3 }, { ...gpt2, layers: 3 }),
  rows: fc.array(fc.integer({ min: 8, max: 200 }), { minLength: 1, maxLength: 3 }),
  speeds: fc.array(fc.double({ min: 1e9, max: 1e11, noNaN: true }), { minLength: 2, maxLength: 4 }),
  sharing: strategies,
})
type Setting = typeof setting extends fc.Arbitrary<infer S> ? S : never

const planned = ({ shape, rows, speeds, sharing }: Setting) =>
  createPlan({ shape, rows, want: 'all', devices: speeds.length }, sharing)
const timeOf = (s: Setting, more: Partial<Imagined>): number =>
  predict(planned(s), s.shape, imagined({ speeds: s.speeds, ...more })).milliseconds

describe('a prediction', () => {
  it('is compute alone where links cost nothing and devices are equal', () => {
    const plan = createPlan({ shape: vitB, rows: [196], want: 'all', devices: 2 }, { strategy: 'full' })
    const { devices } = predict(plan, vitB, imagined({ speeds: [5e10, 5e10], bitsPerSecond: 1e18 }))
    const layers = cost(plan, vitB).map(c => c.stages.slice(1, -1).reduce((sum, s) => sum + s.flops, 0))
    for (const [p, { computeMs, waitingMs }] of devices.entries()) {
      expect(computeMs).toBeCloseTo((layers[p] as number) / 5e7, 6)
      expect(waitingMs).toBeCloseTo(0, 6)
    }
  })

  it('has every operation that cost counts, at the speed of its device', () => {
    fc.assert(
      fc.property(setting, s => {
        const { devices } = predict(planned(s), s.shape, imagined(s))
        const layers = cost(planned(s), s.shape).map(c => c.stages.filter(stage => /^\d+$/.test(stage.stage)))
        for (const [p, { computeMs }] of devices.entries()) {
          const flops = (layers[p] as (typeof layers)[0]).reduce((sum, stage) => sum + stage.flops, 0)
          const due = (flops / (s.speeds[p] as number)) * 1000
          expect(Math.abs(computeMs - due)).toBeLessThanOrEqual(1e-9 * due)
        }
      }),
    )
  })

  it('is never longer with more bandwidth or less latency, nor shorter than the longest compute', () => {
    const bandwidth = fc.double({ min: 1e5, max: 1e10, noNaN: true })
    const latency = fc.double({ min: 0, max: 100, noNaN: true })
    fc.assert(
      fc.property(setting, bandwidth, bandwidth, latency, latency, (s, b1, b2, l1, l2) => {
        const [slower, faster] = [Math.min(b1, b2), Math.max(b1, b2)]
        const [sooner, later] = [Math.min(l1, l2), Math.max(l1, l2)]
        const worst = timeOf(s, { bitsPerSecond: slower, latencyMs: later })
        const best = timeOf(s, { bitsPerSecond: faster, latencyMs: sooner })
        expect(best).toBeLessThanOrEqual(worst * (1 + 1e-9))
        const { devices } = predict(planned(s), s.shape, imagined(s))
        expect(best).toBeGreaterThanOrEqual(Math.max(...devices.map(d => d.computeMs)) * (1 - 1e-9))
      }),
    )
  })

  it('is latency and transfer, layer after layer, where computing costs nothing', () => {
    const plan = createPlan({ shape: vitB, rows: [198], want: 'all', devices: 2 }, { strategy: 'full' })
    const { milliseconds } = predict(plan, vitB, imagined({ speeds: [1e18, 1e18], bitsPerSecond: 1e8, latencyMs: 3 }))
    const bytes = 24 + 99 * 768 * 4
    expect(milliseconds).toBeCloseTo(12 * (3 + (bytes * 8000) / 1e8), 1)
  })

  it('lets sends of a device wait for each other where they share its link', () => {
    const plan = createPlan({ shape: vitB, rows: [198], want: 'all', devices: 3 }, { strategy: 'full' })
    const apart = imagined({ speeds: [1e18, 1e18, 1e18], bitsPerSecond: 1e8 })
    const shared = { ...apart, sharedUplinks: [0, 1, 2] }
    const ratio = predict(plan, vitB, shared).milliseconds / predict(plan, vitB, apart).milliseconds
    expect(ratio).toBeCloseTo(2, 2)
  })

  it('is longer where devices vary: the slower one of each layer counts', () => {
    const plan = createPlan({ shape: vitB, rows: [196], want: 'all', devices: 2 }, { segments: 10 })
    const steady = predict(plan, vitB, imagined({ speeds: [5e10, 5e10] })).milliseconds
    const varied = imagined({ speeds: [5e10, 5e10], jitter: [0.5, 1.5] })
    const { milliseconds } = predict(plan, vitB, varied)
    expect(milliseconds / steady).toBeGreaterThan(1.1)
    expect(milliseconds / steady).toBeLessThan(1.5)
    expect(predict(plan, vitB, varied).milliseconds).toBe(milliseconds)
    expect(predict(plan, vitB, varied, { repeats: 1 }).milliseconds).toBe(steady)
  })

  it('of one device alone is by its speed alone', () => {
    const plan = createPlan(
      { shape: vitB, rows: [197], want: 'all', devices: 2 },
      { strategy: 'isolated', weights: [0, 1] },
    )
    const both = imagined({ speeds: [5e10, 5e10] })
    const faster = { ...both, devices: both.devices.map(d => ({ ...d, aloneFactor: 0.5 })) }
    const ratio = predict(plan, vitB, faster).milliseconds / predict(plan, vitB, both).milliseconds
    expect(ratio).toBeCloseTo(0.5, 2)
  })

  it('is refused for devices or links that were not measured', () => {
    const plan = createPlan({ shape: vitB, rows: [197], want: 'all', devices: 3 }, { segments: 4 })
    const two = imagined({ speeds: [1e9, 1e9] })
    expect(() => predict(plan, vitB, two)).toThrow('predict: the plan has 3 devices; 2 were measured')
    const three = imagined({ speeds: [1e9, 1e9, 1e9] })
    const without = { ...three, links: three.links.filter(l => l.from !== 2 || l.to !== 0) }
    expect(() => predict(plan, vitB, without)).toThrow('predict: the link from device 2 to device 0 was not measured')
  })
})
