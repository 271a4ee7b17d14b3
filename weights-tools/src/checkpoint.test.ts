import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { contiguousBytes, elementsOf, type Storage, Taker, view } from './checkpoint.js'
import { CheckpointError, ConversionError } from './errors.js'

const counting = (length: number): Storage => ({
  dtype: 'F32',
  length,
  bytes: () => new Uint8Array(Float32Array.from({ length }, (_, i) => i).buffer),
})
const elements = (bytes: Uint8Array) => [...new Float32Array(bytes.slice().buffer)]

describe('strided views', () => {
  it('gives the elements that their strides walk over, in row-major order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
        fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 4, maxLength: 4 }),
        fc.integer({ min: 0, max: 5 }),
        (shape, allStrides, offset) => {
          const strides = allStrides.slice(0, shape.length)
          const storage = counting(600)
          // The plain definition: all indices, the last fastest.
          let wanted = [offset]
          for (const [i, size] of shape.entries())
            wanted = wanted.flatMap(at => Array.from({ length: size }, (_, n) => at + n * strides[i]!))
          expect(elements(contiguousBytes(view(storage, shape, strides, offset)))).toEqual(wanted)
        },
      ),
    )
  })

  it.each([
    ['more elements than there are', [3, 3], [0, 0], 0],
    ['an end beyond the storage', [2, 2], [4, 3], 1],
    ['an offset beyond the storage', [1], [1], 8],
    ['a negative size', [-1], [1], 0],
    ['a negative stride', [2], [-1], 1],
    ['a fraction', [1.5], [1], 0],
    ['fewer strides than sizes', [2, 2], [1], 0],
    ['sizes whose product overflows', [2 ** 50, 2 ** 50, 2 ** 50], [1, 1, 1], 0],
    ['too many dimensions', new Array(65).fill(1), new Array(65).fill(1), 0],
  ])('refuses %s', (_, shape: number[], strides: number[], offset: number) => {
    expect(() => view(counting(8), shape, strides, offset)).toThrow(CheckpointError)
  })

  it('counts no elements where a size is 0, however large the others', () => {
    expect(elementsOf([1e300, 1e300, 0])).toBe(0)
  })
})

describe('taking tensors', () => {
  const taker = () => new Taker(new Map([['a', view(counting(6), [2, 3])]]))

  it('names what is missing, what is of another shape and what is left', () => {
    expect(() => taker().take('b', [2, 3])).toThrow(new ConversionError('the checkpoint has no b'))
    expect(() => taker().take('a', [3, 2])).toThrow(new ConversionError('a is [2,3], expected [3,2]'))
    expect(() => taker().finish()).toThrow(/no place in the model for 1 tensor of the checkpoint: a$/)
  })
})
