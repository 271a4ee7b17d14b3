import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import { packedPatchBytes, packPatches, patchBytes, unpackPatches } from './palette.js'

const bitsOf = (values: Float32Array): Int32Array => new Int32Array(values.buffer, values.byteOffset, values.length)
/** Any f32, among them both zeros, infinities and NaNs of every payload. */
const anyBits = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const shapes = fc.record({ channels: fc.integer({ min: 1, max: 4 }), run: fc.integer({ min: 1, max: 300 }) })

describe('patches of few different values', () => {
  test('come back bit for bit in a quarter of the bytes', () => {
    fc.assert(
      fc.property(
        shapes,
        fc.integer({ min: 1, max: 40 }),
        fc.array(anyBits, { minLength: 1, maxLength: 256 }),
        fc.nat(),
        ({ channels, run }, count, values, seed) => {
          const shape = { channels, patchWidth: channels * run }
          const patches = new Float32Array(count * shape.patchWidth)
          for (let i = 0, state = seed; i < patches.length; i++) {
            state = (Math.imul(state, 1664525) + 1013904223) >>> 0
            bitsOf(patches)[i] = values[(state >>> 8) % values.length] as number
          }
          const packed = packPatches(patches, shape)
          const size = packedPatchBytes(patches.length, shape)
          expect(packed?.length).toBe(size < patches.byteLength ? size : undefined)
          if (packed) expect(bitsOf(unpackPatches(packed, patches.length, shape))).toEqual(bitsOf(patches))
        },
      ),
      { numRuns: RUNS / 4 },
    )
  })

  test('channels have tables of their own', () => {
    const shape = { channels: 3, patchWidth: 3 * 256 }
    const patches = Float32Array.from({ length: 10 * shape.patchWidth }, (_, i) => (i % shape.patchWidth) / 7)
    const packed = packPatches(patches, shape) as Uint8Array
    expect(packed.length).toBe(3 * 1024 + patches.length)
    expect(unpackPatches(packed, patches.length, shape)).toEqual(patches)
    expect(packPatches(patches, { patchWidth: shape.patchWidth })).toBeUndefined() // 768 in one table
  })
})

test('others stay as they are', () => {
  const shape = { channels: 1, patchWidth: 257 }
  const patches = Float32Array.from({ length: 100 * 257 }, (_, i) => i % 257)
  expect(packPatches(patches, shape)).toBeUndefined()
  expect(patchBytes(patches, shape)).toBe(patches.byteLength)
  expect(packPatches(new Float32Array(0), shape)).toBeUndefined()
})

test('bytes that are too few or too many are refused', () => {
  const shape = { channels: 3, patchWidth: 768 }
  const packed = packPatches(new Float32Array(98 * 768), shape) as Uint8Array
  for (const wrong of [packed.subarray(4), new Uint8Array(packed.length + 4)])
    expect(() => unpackPatches(wrong, 98 * 768, shape)).toThrow(/bytes came for 75264 values/)
})
