/** A halo: rows before its own that a device of a causal model computes too. */
import type { Run } from '@prismal/tensor'
import { describe, expect, test } from 'vitest'
import type { SharingOptions } from './options.js'
import { createPlan, mergedBy, type Plan, rowsOf, sentBy } from './plan.js'
import { PUBLISHED } from './recommended.js'

const sizes = (runs: readonly Run[]): number[] => runs.map(([from, to]) => to - from)
const planOf = (
  options: SharingOptions,
  { rows = 20, devices = 3, causal = true }: { rows?: number; devices?: number; causal?: boolean } = {},
): Plan => createPlan({ shape: { layers: 3, causal }, rows: [rows], want: 'all', devices }, options)

describe('a halo', () => {
  test('is the end of the partition before, as far as that is sent; devices farther on hear of all rows', () => {
    const { sequences } = planOf(
      { ...PUBLISHED, halo: 3, anchor: 1, segments: 2, weights: [2, 0, 5, 5] },
      { rows: 12, devices: 4 },
    )
    const [sequence] = sequences
    expect(sequence!.bounds.map((_, p) => rowsOf(sequence!, p))).toEqual([
      [0, 1],
      [],
      [0, 1, 2, 3, 4, 5, 6],
      [0, 4, 5, 6, 7, 8, 9, 10, 11],
    ])
    expect([2, 3].map(to => sentBy(sequence!, 0, 0, to))).toEqual([[], [[1, 2]]])
    expect(sizes(sentBy(sequence!, 0, 2, 3))).toEqual([1, 1])
    expect(sizes(sequence!.sent[0]![2]!)).toEqual([3, 2])
  })

  test('as a share is of the rows of the device that computes it, rounded down', () => {
    const { sequences } = planOf({ ...PUBLISHED, halo: 0.25, segments: 2, weights: [8, 7, 3] }, { rows: 18 })
    expect(sequences[0]!.halo).toEqual([0, 1, 0])
  })

  test('is not among the rows that are merged by likeness for who computes it', () => {
    const [sequence] = planOf({ bounds: 'alike', halo: 2, segments: 3, sink: 1 }, { rows: 18 }).sequences
    const merged = (from: number, to: number) => mergedBy(sequence!, from, to)
    expect([merged(0, 1), merged(0, 2), merged(1, 2)]).toEqual([
      [1, 4],
      [1, 6],
      [0, 4],
    ])
  })

  test('is refused without a causal model, and none without means', () => {
    expect(() => planOf({ halo: 2 }, { causal: false })).toThrow(
      /^plan: halo is 2, but the model is not causal: it takes 0$/,
    )
    for (const strategy of ['full', 'isolated', 'whole'] as const)
      expect(planOf({ strategy, halo: 2 }).sequences[0]).not.toHaveProperty('halo')
    expect(planOf({ halo: 0 }).sequences[0]).not.toHaveProperty('halo')
  })
})
