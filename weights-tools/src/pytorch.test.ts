import { PrismalError } from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { contiguousBytes, type StateDict } from './checkpoint.js'
import { CheckpointError, RefusedGlobalError } from './errors.js'
import { readPytorch } from './pytorch.js'
import { archive, call, dict, FALSE, global, int, NONE, tensor, text, tuple } from './testing/write-checkpoint.js'

const six = Float32Array.of(0, 1, 2, 3, 4, 5)
const matrix = { key: '0', length: 6, shape: [2, 3], strides: [3, 1] }
const floats = (tensors: StateDict, name: string) => [
  ...new Float32Array(contiguousBytes(tensors.get(name)!).slice().buffer),
]

describe('PyTorch checkpoints', () => {
  it.each([0, 6] as const)('reads tensors, parameters and views of one storage (level %i)', level => {
    const parameter = call(global('torch._utils', '_rebuild_parameter'), tuple(tensor(matrix), FALSE, NONE))
    const file = archive(
      dict({
        whole: parameter,
        transposed: tensor({ ...matrix, shape: [3, 2], strides: [1, 3] }),
        lastColumn: tensor({ ...matrix, shape: [2], strides: [3], offset: 2 }),
        scalar: tensor({ ...matrix, shape: [], strides: [], offset: 4 }),
        none: tensor({ ...matrix, shape: [0, 3], strides: [3, 1] }),
      }),
      { 0: six },
      { level },
    )
    const tensors = readPytorch(file)
    expect([...tensors.keys()]).toEqual(['whole', 'transposed', 'lastColumn', 'scalar', 'none'])
    expect(floats(tensors, 'whole')).toEqual([0, 1, 2, 3, 4, 5])
    expect(floats(tensors, 'transposed')).toEqual([0, 3, 1, 4, 2, 5])
    expect(floats(tensors, 'lastColumn')).toEqual([2, 5])
    expect(floats(tensors, 'scalar')).toEqual([4])
    expect(floats(tensors, 'none')).toEqual([])
  })

  it.each([
    ['DoubleStorage', 'F64', 8],
    ['HalfStorage', 'F16', 2],
    ['BFloat16Storage', 'BF16', 2],
    ['LongStorage', 'I64', 8],
    ['IntStorage', 'I32', 4],
    ['ShortStorage', 'I16', 2],
    ['CharStorage', 'I8', 1],
    ['ByteStorage', 'U8', 1],
    ['BoolStorage', 'BOOL', 1],
  ])('reads a %s as %s', (type, dtype, width) => {
    const bytes = Uint8Array.from({ length: 6 * width }, (_, i) => i)
    const read = readPytorch(archive(dict({ a: tensor({ ...matrix, type }) }), { 0: bytes })).get('a')!
    expect(read.storage.dtype).toBe(dtype)
    expect(contiguousBytes(read)).toEqual(bytes)
  })

  it.each(['state_dict', 'model_state_dict', 'model'])('unwraps {"%s": …} and DataParallel\'s prefix', wrapper => {
    const file = archive(dict({ epoch: int(3), [wrapper]: dict({ 'module.a': tensor(matrix) }) }), { 0: six })
    expect([...readPytorch(file).keys()]).toEqual(['a'])
  })

  it.each<[string, Uint8Array, RegExp]>([
    ['no dict', archive(int(1), {}), /no dict of tensors/],
    ['a value that is no tensor', archive(dict({ epoch: int(3) }), {}), /"epoch" in the checkpoint is no tensor/],
    ['a storage that is not there', archive(dict({ a: tensor(matrix) }), {}), /lacks model\/data\/0/],
    ['a storage of another size', archive(dict({ a: tensor(matrix) }), { 0: six.subarray(1) }), /has 20 bytes/],
    [
      'a storage with two types',
      archive(dict({ a: tensor(matrix), b: tensor({ ...matrix, type: 'IntStorage' }) }), { 0: six }),
      /described in two ways/,
    ],
    [
      'a view beyond its storage',
      archive(dict({ a: tensor({ ...matrix, offset: 1 }) }), { 0: six }),
      /reaches beyond the storage/,
    ],
    ['a big-endian machine', archive(dict({ a: tensor(matrix) }), { 0: six }, { byteOrder: 'big' }), /big-endian/],
  ])('refuses %s', (_, file, message) => {
    expect(() => readPytorch(file)).toThrow(CheckpointError)
    expect(() => readPytorch(file)).toThrow(message)
  })

  it('a wrapper that contains itself ends', () => {
    const self = [0x7d, 0x71, 0, ...text('model'), 0x68, 0, 0x73]
    expect(() => readPytorch(archive(self, {}))).toThrow(CheckpointError)
  })

  it('refuses code', () => {
    const file = archive(dict({ a: call(global('os', 'system'), tuple(text('true'))) }), {})
    expect(() => readPytorch(file)).toThrow(RefusedGlobalError)
  })

  it.each([0, 6] as const)('a file cut short anywhere is a CheckpointError (level %i)', level => {
    const file = archive(dict({ a: tensor(matrix) }), { 0: six }, { level })
    for (let length = 0; length < file.length; length++)
      expect(() => readPytorch(file.subarray(0, length)), `${length} bytes`).toThrow(CheckpointError)
  })

  it('changed bytes end in tensors or a PrismalError, never in tensors whose data changed', () => {
    const file = archive(dict({ a: tensor(matrix) }), { 0: six }, { level: 6 })
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = file.slice()
        damaged[at]! ^= change
        try {
          const tensors = readPytorch(damaged)
          for (const name of tensors.keys()) expect(floats(tensors, name)).toEqual([...six])
        } catch (error) {
          if (!(error instanceof PrismalError)) throw error
        }
      }),
      { numRuns: 2000 },
    )
  })
})
