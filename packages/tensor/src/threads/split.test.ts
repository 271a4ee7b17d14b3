/** Calls cut into parts: together they do what the whole call does, to the bit. */
import { catalogue, KERNEL_NAMES, type Kernel, PANEL } from '@prismal/kernels/catalogue'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyCase, buffersOf, type Case, call, layOut } from '../backends/kernel-cases.js'
import { reference, run, wasmBuilds } from '../backends/test-subjects.js'
import { GRAIN, MOST_PARTS, Split, splitsOf } from './split.js'

const RUNS = Number(process.env.PRISMAL_RUNS ?? (process.env.CI ? 500 : 60))
const FINE = { inlineNs: 0, leastNs: 1e-3, mostNs: GRAIN.mostNs, lineBytes: 1 }
const FINEST = { ...FINE, mostNs: 1e-3 }
const subjects = [...wasmBuilds, reference]

const argumentsOf = (kernel: Kernel, one: Case, addresses: Readonly<Record<string, number>>): number[] =>
  kernel.parameters.map(
    p => (p.kind === 'buffer' ? addresses : p.kind === 'size' ? one.sizes : one.reals)[p.name] as number,
  )
const cuttable = KERNEL_NAMES.filter((_, i) => splitsOf(KERNEL_NAMES)[i])

describe('a call in parts', () => {
  it.each(cuttable)('equals the whole, in any order: %s', name => {
    const kernel: Kernel = catalogue[name]
    const split = new Split(kernel)
    let cuts = 0
    fc.assert(
      fc.property(
        anyCase(kernel),
        fc.integer({ min: 2, max: 5 }),
        fc.constantFrom(FINE, FINEST),
        fc.boolean(),
        (one, threads, grain, reversed) => {
          const layout = layOut(kernel, one)
          const grid = { across: 1, down: 1, rowUnit: 1 }
          const args = argumentsOf(kernel, one, layout.addresses)
          split.plan(args, threads, grain, grid)
          const parts = grid.across * grid.down
          expect(Number.isInteger(parts) && parts >= 1 && parts <= MOST_PARTS).toBe(true)
          if (parts === 1) return
          cuts++
          const order = Array.from({ length: parts }, (_, i) => (reversed ? parts - 1 - i : i))
          for (const subject of subjects) {
            const whole = run(subject, layout.bytes, kernels => call(kernels, name, one, layout.addresses))
            const cut = run(subject, layout.bytes, kernels => {
              let first = 0
              const out = new Array<number>(split.parameters).fill(0)
              for (const i of order) {
                split.part(args, grid, i, 0, out)
                const reported = kernels[name](...out)
                if (reported > 0) first = Math.min(first || Number.POSITIVE_INFINITY, split.rowFrom + reported)
              }
              return first
            })
            expect(cut.returned).toBe(whole.returned)
            for (const p of buffersOf(kernel))
              if (p.use === 'scratch')
                for (const { after } of [whole, cut]) {
                  const at = layout.addresses[p.name] as number
                  after.fill(0, at, at + 4 * p.length(one.sizes))
                }
            expect(Buffer.compare(cut.after, whole.after), `${subject.build}, ${parts} parts`).toBe(0)
          }
        },
      ),
      { numRuns: RUNS },
    )
    expect(cuts).toBeGreaterThan(RUNS / 4)
  })
})

describe('how finely a call is cut', () => {
  const grid = { across: 0, down: 0, rowUnit: 0 }
  const gemm = new Split(catalogue.gemm)
  const parts = (m: number, n: number, k: number, threads: number): [number, number] => {
    gemm.plan([64, k, 64, 0, 0, n, 64, n, m, n, k, 0], threads, GRAIN, grid)
    return [grid.across, grid.down]
  }

  it('leaves small calls whole', () => {
    expect(parts(1, 64, 64, 2)).toEqual([1, 1])
    expect(parts(16, 128, 128, 8)).toEqual([1, 1])
    expect(parts(0, 768, 768, 8)).toEqual([1, 1])
  })
  it('gives every thread as many parts', () => {
    for (const threads of [2, 3, 4, 8]) {
      const [across, down] = parts(197, 768, 768, threads)
      expect([across % threads, down]).toEqual([0, 1])
    }
  })
  it('cuts products of few columns between rows', () => {
    expect(parts(4096, PANEL, 768, 2)).toEqual([1, 6])
  })
  it('keeps parts of large calls short', () => {
    const [across, down] = parts(16384, 3072, 768, 2)
    expect((2 * 16384 * 3072 * 768) / (across * down)).toBeLessThan(2e9)
  })
  it('cuts attention between heads, and between rows where heads do not go round', () => {
    const fold = new Split(catalogue.attentionFold)
    const cut = (n: number, m: number, H: number, threads: number): [number, number] => {
      const D = H * 64
      fold.plan([64, D, 64, D, 64, D, 0, 0, 64, 64, 64, n, m, H, 64, 0.125, 0, H], threads, GRAIN, grid)
      return [grid.across, grid.down]
    }
    expect(cut(197, 197, 12, 2)).toEqual([12, 1])
    expect(cut(1, 1024, 12, 2)[1]).toBe(1)
    expect(cut(1, 1024, 12, 2)[0]).toBeGreaterThanOrEqual(2)
    expect(cut(1000, 1000, 1, 3)[0]).toBe(1)
    expect(cut(1000, 1000, 1, 3)[1]).toBeGreaterThanOrEqual(3)
    expect(cut(16384, 16384, 12, 2)[1]).toBeGreaterThan(40)
  })
})
