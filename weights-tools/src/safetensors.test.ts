import { PrismalError } from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CheckpointTensor, contiguousBytes, type Dtype, ELEMENT_BYTES, elementsOf, view } from './checkpoint.js'
import { CheckpointError } from './errors.js'
import { readSafetensors, writeSafetensors } from './safetensors.js'

const DTYPES = Object.keys(ELEMENT_BYTES) as Dtype[]

const filled = (dtype: Dtype, shape: number[]): CheckpointTensor => {
  const length = elementsOf(shape)
  const bytes = Uint8Array.from({ length: length * ELEMENT_BYTES[dtype] }, (_, i) => (i * 37) & 255)
  return view({ dtype, length, bytes: () => bytes }, shape)
}
const tensorOf = fc
  .tuple(fc.constantFrom(...DTYPES), fc.array(fc.nat(3), { maxLength: 3 }))
  .map(([dtype, shape]) => filled(dtype, shape))

describe('safetensors', () => {
  it('gives back what was written, each tensor aligned to its width', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), tensorOf), named => {
        const tensors = new Map(Object.entries(named).filter(([name]) => name !== '__metadata__'))
        const file = writeSafetensors(tensors)
        const read = readSafetensors(file)
        expect(new Set(read.keys())).toEqual(new Set(tensors.keys()))
        for (const [name, tensor] of tensors) {
          const back = read.get(name)!
          expect([back.storage.dtype, back.shape]).toEqual([tensor.storage.dtype, tensor.shape])
          expect(contiguousBytes(back)).toEqual(contiguousBytes(tensor))
          expect(contiguousBytes(back).byteOffset % ELEMENT_BYTES[back.storage.dtype]).toBe(0)
        }
      }),
    )
  })

  it('lays the file out as the format says: header padded to 8 bytes, names in order, nothing between tensors', () => {
    const file = writeSafetensors(
      new Map([
        ['b', filled('F32', [2])],
        ['narrow', filled('F16', [1])],
        ['a', filled('F32', [1])],
      ]),
    )
    const headerBytes = Number(new DataView(file.buffer).getBigUint64(0, true))
    expect(headerBytes % 8).toBe(0)
    expect(new TextDecoder().decode(file.subarray(8, 8 + headerBytes)).trimEnd()).toBe(
      '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},' +
        '"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},' +
        '"narrow":{"dtype":"F16","shape":[1],"data_offsets":[12,14]}}',
    )
    expect(file.length).toBe(8 + headerBytes + 14)
  })

  it('a file cut short anywhere is a CheckpointError', () => {
    const file = writeSafetensors(new Map([['a', filled('F32', [2, 2])]]))
    for (let length = 0; length < file.length; length++)
      expect(() => readSafetensors(file.subarray(0, length)), `${length} bytes`).toThrow(CheckpointError)
  })

  it('changed bytes end in tensors or a PrismalError', () => {
    const file = writeSafetensors(new Map([['a', filled('F32', [2, 2])]]))
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.nat(255), (at, byte) => {
        const damaged = file.slice()
        damaged[at] = byte
        try {
          for (const tensor of readSafetensors(damaged).values()) contiguousBytes(tensor)
        } catch (error) {
          if (!(error instanceof PrismalError)) throw error
        }
      }),
      { numRuns: 2000 },
    )
  })
})
