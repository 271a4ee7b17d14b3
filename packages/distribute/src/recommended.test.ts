/** What is recommended can be planned, for every kind of model and number of devices, and is what a kind needs. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { SharingOptions } from './options.js'
import { createPlan } from './plan.js'
import { PUBLISHED, recommended } from './recommended.js'

const image = { layers: 2, causal: false, prefixRows: 1, patchGrid: [6, 6] as const, patchWidth: 3 }

test('any kind of model, devices and number of rows can be planned', () => {
  const kinds = fc.constantFrom(
    { shape: image, rows: 37 },
    ...[1, 5, 300].flatMap(rows => [true, false].map(causal => ({ shape: { layers: 2, causal }, rows }))),
  )
  fc.assert(
    fc.property(
      kinds,
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 40 }),
      ({ shape, rows }, devices, R) => {
        const plan = createPlan(
          { shape, rows: [rows], want: 'last', devices },
          { ...recommended(shape, devices), rows: R },
        )
        expect(plan.wire).toBe('int4')
        for (const sent of plan.sequences[0]!.sent[0]!) expect(sent.length).toBeLessThanOrEqual(R)
      },
    ),
  )
})

test('groups of like rows, and the first row exactly but for causal models', () => {
  const sent = (causal: boolean) =>
    createPlan(
      { shape: { layers: 1, causal }, rows: [200], want: 'last', devices: 2 },
      { ...recommended({ causal }, 2), rows: 16 },
    ).sequences[0]!
  for (const causal of [true, false]) expect(sent(causal).merged).toBeDefined()
  expect(sent(false).sent[0]![0]![0]).toEqual([0, 1])
  expect(sent(true).sent[0]![0]![0]).not.toEqual([0, 1])
})

test('two devices that send little of an image have every other patch of it, else a half', () => {
  const order = (options: SharingOptions, devices = 2) =>
    createPlan({ shape: image, rows: [37], want: 'first', devices }, options).sequences[0]!.order
  // An eighth of 18 patches is two and a quarter.
  for (const options of [{ rows: 2 }, { segments: 2 }, { segments: [0, 4] }, { compressionRate: 8 }]) {
    expect(order(options)).toEqual(order({ order: 'hilbert-in-turn' }))
    expect(order({ ...options, order: 'raster' })).toBeUndefined()
  }
  for (const options of [{}, { rows: 3 }, { segments: 3 }, { segments: [0, 5] }, { compressionRate: 7 }])
    expect(order(options)).toBeUndefined()
  for (const rows of [1, 9]) expect(order({ rows }, 3)).toEqual(order({ order: 'hilbert' }, 3))
})

test('later devices of a causal model compute a sixteenth more rows, unless bounds are asked for or there are no means', () => {
  const halo = (options: SharingOptions, causal = true) =>
    createPlan({ shape: { layers: 1, causal }, rows: [200], want: 'last', devices: 2 }, options).sequences[0]!.halo
  expect(halo({})).toEqual([0, 6])
  expect(halo({ segments: 3, wire: 'f32', weights: [1, 3] })).toEqual([0, 9])
  expect(halo({ halo: 2 })).toEqual([0, 2])
  const without: SharingOptions[] = [{ halo: 0 }, { bounds: 1.5 }, { bounds: 'uniform' }, PUBLISHED]
  for (const options of [...without, { strategy: 'full' } as const]) expect(halo(options)).toBeUndefined()
  expect(halo({}, false)).toBeUndefined()
})
