/** The published count against every figure of the tables in prism.md, which are those of arXiv 2507.12145. */
import type { StackShape } from '@prismal/models'
import { describe, expect, test } from 'vitest'
import { cost } from './cost.js'
import type { SharingOptions } from './options.js'
import { createPlan } from './plan.js'

const base = { layers: 12, width: 768, heads: 12, headWidth: 64, inner: 3072, causal: false }
const vitBase: StackShape = { ...base, positions: 197, patchWidth: 768, prefixRows: 1 }
const bertBase: StackShape = { ...base, positions: 512, patchWidth: 0, prefixRows: 0 }

const alone: SharingOptions = { strategy: 'isolated' }
const voltage: SharingOptions = { strategy: 'full' }
const prism = (segments: number): SharingOptions => ({ strategy: 'means', segments, sink: 0 })

function published(shape: StackShape, rows: number, devices: number, options: SharingOptions) {
  const count = (devices: number, options: SharingOptions) => {
    const plan = createPlan({ shape, rows: [rows], want: 'all', devices }, options)
    return cost(plan, shape, { asPublished: true })[0]!
  }
  const one = count(1, alone)
  const each = count(devices, options)
  return {
    gigaflops: each.flops / 1e9,
    lessCompute: 100 * (1 - each.flops / one.flops),
    lessTraffic: 100 * (1 - each.bytesReceived / count(devices, voltage).bytesReceived),
    compressionRate: Math.ceil(rows / devices) / Number(options.segments),
  }
}

/** Ours may differ from a published figure by a thousandth, and from our own by its last digit's half. */
const near = (got: number, paper: number): void =>
  expect(Math.abs(got - paper) / Math.abs(paper), `${got} where ${paper} was published`).toBeLessThanOrEqual(1e-3)

describe('ViT-B/16, N = 197', () => {
  test.each([
    { name: 'one device', devices: 1, options: alone, ours: 35.13, paper: 35.15 },
    { name: 'Voltage', devices: 2, options: voltage, ours: 20.35, paper: 20.37, less: [42.06, 42.05] },
    {
      name: 'L = 10',
      devices: 2,
      options: prism(10),
      ours: 17.52,
      paper: 17.54,
      less: [50.11, 50.11],
      cr: 9.9,
      traffic: 89.9,
    },
    {
      name: 'L = 20',
      devices: 2,
      options: prism(20),
      ours: 17.84,
      paper: 17.86,
      less: [49.2, 49.2],
      cr: 4.95,
      traffic: 79.8,
    },
    {
      name: 'L = 30',
      devices: 2,
      options: prism(30),
      ours: 18.16,
      paper: 18.18,
      less: [48.29, 48.29],
      cr: 3.3,
      traffic: 69.7,
    },
  ])('$name: $paper GF', ({ devices, options, ours, paper, less, cr, traffic }) => {
    const got = published(vitBase, 197, devices, options)
    expect(got.gigaflops).toBeCloseTo(ours, 2)
    near(got.gigaflops, paper)
    if (less) {
      expect(got.lessCompute).toBeCloseTo(less[0]!, 2)
      near(got.lessCompute, less[1]!)
    }
    if (cr) expect(got.compressionRate).toBeCloseTo(cr, 2)
    if (traffic) expect(got.lessTraffic).toBeCloseTo(traffic, 2)
  })
})

describe('BERT-base, N = 256, L = 1', () => {
  test('one device: 45.90 GF', () => expect(published(bertBase, 256, 1, alone).gigaflops).toBeCloseTo(45.9, 2))

  test('two devices: CR 128, 51.24 % less compute, 99.22 % less traffic', () => {
    const got = published(bertBase, 256, 2, prism(1))
    expect(got.compressionRate).toBe(128)
    expect(got.lessCompute).toBeCloseTo(51.24, 2)
    expect(got.lessTraffic).toBeCloseTo(99.22, 2)
    near(got.lessTraffic, 99.2)
  })

  test('three devices: 14.83 GF, 67.7 % less compute, 98.8 % less traffic', () => {
    const got = published(bertBase, 256, 3, prism(1))
    expect(got.gigaflops).toBeCloseTo(14.83, 2)
    expect(got.lessCompute).toBeCloseTo(67.7, 1)
    expect(got.lessTraffic).toBeCloseTo(98.8, 1)
  })
})

test('every device is sent (P−1)·L·D elements a layer, or (P−1)·⌈N/P⌉·D where all rows are sent', () => {
  const bytes = (options: SharingOptions, devices: number): number[] => {
    const plan = createPlan({ shape: vitBase, rows: [197], want: 'all', devices }, options)
    return cost(plan, vitBase, { asPublished: true }).map(c => c.bytesReceived)
  }
  expect(bytes(prism(10), 2)).toEqual(new Array(2).fill(12 * 10 * 768 * 4))
  expect(bytes(prism(7), 4)).toEqual(new Array(4).fill(12 * 3 * 7 * 768 * 4))
  expect(bytes(voltage, 3)).toEqual(new Array(3).fill(12 * 2 * 66 * 768 * 4))
  expect(bytes(alone, 2)).toEqual([0, 0])
})
