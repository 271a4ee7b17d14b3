import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RUNS } from '../../../../test/runs.js'
import { ModelError } from '../errors.js'
import { parseSafetensors } from './safetensors.js'

/** A file of this header and so many bytes 0, 1, 2, … of data. */
function fileOf(header: unknown, dataBytes: number, headerBytes?: bigint): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header))
  const file = new Uint8Array(8 + json.length + dataBytes)
  new DataView(file.buffer).setBigUint64(0, headerBytes ?? BigInt(json.length), true)
  file.set(json, 8)
  for (let i = 0; i < dataBytes; i++) file[8 + json.length + i] = i
  return file
}

const HEADER = {
  __metadata__: { format: 'pt' },
  a: { dtype: 'F32', shape: [2, 1], data_offsets: [0, 8] },
  b: { dtype: 'F16', shape: [3], data_offsets: [8, 14] },
  nothing: { dtype: 'F32', shape: [0, 4], data_offsets: [14, 14] },
  c: { dtype: 'U8', shape: [], data_offsets: [14, 15] },
}
const whole = fileOf(HEADER, 15)

/** The message of the ModelError that a file must raise. */
function refusal(file: Uint8Array): string {
  try {
    parseSafetensors(file, 'w')
  } catch (error) {
    expect(error).toBeInstanceOf(ModelError)
    return (error as ModelError).message
  }
  throw new Error('the file was taken')
}
const withEntry = (change: object): Uint8Array => fileOf({ a: { ...HEADER.a, ...change } }, 64)

describe('reading safetensors', () => {
  it('gives every tensor its dtype, shape and bytes', () => {
    const arrays = parseSafetensors(whole, 'w')
    expect([...arrays.keys()]).toEqual(['a', 'b', 'nothing', 'c'])
    expect(arrays.get('a')).toEqual({
      dtype: 'F32',
      shape: [2, 1],
      values: new Float32Array(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7).buffer),
    })
    expect([...(arrays.get('b')?.values ?? [])]).toEqual([0x0908, 0x0b0a, 0x0d0c])
    expect(arrays.get('nothing')?.values.length).toBe(0)
    expect([...(arrays.get('c')?.values ?? [])]).toEqual([14])
  })

  it("reads Node's buffers, which lie somewhere in a larger one, and views at odd places", () => {
    expect(parseSafetensors(Buffer.from(whole), 'w')).toEqual(parseSafetensors(whole, 'w'))
    const shifted = new Uint8Array(whole.length + 3)
    shifted.set(whole, 3)
    expect(parseSafetensors(shifted.subarray(3), 'w')).toEqual(parseSafetensors(whole, 'w'))
  })

  it('keeps names apart that mean something to JavaScript', () => {
    const entry = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    expect([...parseSafetensors(fileOf(`{"__proto__":${entry}}`, 1), 'w').keys()]).toEqual(['__proto__'])
  })
})

describe('a damaged file is refused with a ModelError', () => {
  it('truncated at any byte', () => {
    for (let length = 0; length < whole.length; length++) {
      const message = refusal(whole.subarray(0, length))
      expect(message).toMatch(/^w(: tensor [abc])? (is not safetensors|is damaged|ends at byte)/)
    }
    expect(refusal(whole.subarray(0, whole.length - 1))).toBe(
      `w: tensor c ends at byte ${whole.length} of a file of ${whole.length - 1} bytes: truncated`,
    )
    expect(refusal(whole.subarray(0, 5))).toBe(
      'w is not safetensors: it has 5 bytes, fewer than the 8 of a header length',
    )
  })

  it.each([
    [1_000n, '1000'],
    [100_000_001n, '100000001'],
    [2n ** 63n, '9223372036854776000'],
    [2n ** 64n - 1n, '18446744073709552000'],
  ])('with a header of %s bytes', (length, named) => {
    const file = fileOf(HEADER, 15, length)
    expect(refusal(file)).toBe(
      `w is damaged or not safetensors: a header of ${named} bytes in a file of ${file.length} (truncated?)`,
    )
  })

  it('that is a pointer of Git LFS', () => {
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 15\n'
    expect(refusal(new TextEncoder().encode(pointer))).toBe(
      'w is a pointer of Git LFS to the file, not the file: git lfs pull fetches it',
    )
  })

  it('with any byte of its header changed, or else it is read', () => {
    const headerEnd = whole.length - 15
    fc.assert(
      fc.property(fc.nat(headerEnd - 1), fc.nat(255), (at, byte) => {
        const damaged = whole.slice()
        damaged[at] = byte
        try {
          parseSafetensors(damaged, 'w')
        } catch (error) {
          if (!(error instanceof ModelError)) throw error
        }
      }),
      { numRuns: RUNS * 10 },
    )
  })

  it.each<[string, string | object, RegExp]>([
    ['no JSON', '{"a": ', /^w is damaged: its header is not JSON \(/],
    ['JSON that is no object', '[1, 2]', /^w is damaged: its header is not an object$/],
    ['null', 'null', /^w is damaged: its header is not an object$/],
    ['an entry that is no object', { a: 3 }, /^w: tensor a has no dtype$/],
    ['an entry of null', { a: null }, /^w: tensor a has no dtype$/],
  ])('with a header of %s', (_, header, message) => {
    expect(refusal(fileOf(header, 64))).toMatch(message)
  })

  it('with a header that is not UTF-8', () => {
    const file = fileOf(HEADER, 15)
    file[12] = 0xff
    expect(refusal(file)).toMatch(/its header is not JSON/)
  })

  it.each<[string, object, string]>([
    ['an unknown dtype', { dtype: 'F33' }, 'w: tensor a has the unknown dtype "F33"'],
    ['a dtype that objects have', { dtype: 'constructor' }, 'w: tensor a has the unknown dtype "constructor"'],
    ['a dtype that is not read', { dtype: 'I64', shape: [1] }, 'w: tensor a has dtype I64, which is not read here'],
    ['no shape', { shape: undefined }, 'w: tensor a has no list of sizes for a shape'],
    ['a negative size', { shape: [-2, -1] }, 'w: tensor a has no list of sizes for a shape'],
    ['half a size', { shape: [0.5, 4] }, 'w: tensor a has no list of sizes for a shape'],
    ['sizes as text', { shape: ['2', '1'] }, 'w: tensor a has no list of sizes for a shape'],
    ['no offsets', { data_offsets: undefined }, 'w: tensor a has no pair of sizes for data_offsets'],
    ['one offset', { data_offsets: [8] }, 'w: tensor a has no pair of sizes for data_offsets'],
    ['a negative offset', { data_offsets: [-8, 0] }, 'w: tensor a has no pair of sizes for data_offsets'],
    ['offsets too near', { data_offsets: [0, 7] }, 'w: tensor a: F32 [2,1] takes 8 bytes, its offsets span 7'],
    ['offsets turned round', { data_offsets: [8, 0] }, 'w: tensor a: F32 [2,1] takes 8 bytes, its offsets span -8'],
    [
      'a huge shape',
      { shape: [2 ** 52, 2 ** 52] },
      'w: tensor a: F32 [4503599627370496,4503599627370496] takes 8.112963841460668e+31 bytes, its offsets span 8',
    ],
  ])('with %s', (_, change, message) => {
    expect(refusal(withEntry(change))).toBe(message)
  })

  it('with a shape as deep as a stack', () => {
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`
    const file = fileOf(`{"a":{"dtype":"F32","shape":${deep},"data_offsets":[0,8]}}`, 8)
    expect(refusal(file)).toBe('w: tensor a has no list of sizes for a shape')
  })

  it('with tensors that overlap', () => {
    const entry = (begin: number, end: number) => ({ dtype: 'U8', shape: [end - begin], data_offsets: [begin, end] })
    const overlap = (other: object) => refusal(fileOf({ x: entry(4, 8), y: other }, 16))
    expect(overlap(entry(7, 9))).toBe('w is damaged: the bytes of tensors x and y overlap')
    expect(overlap(entry(0, 5))).toBe('w is damaged: the bytes of tensors y and x overlap')
    expect(overlap(entry(4, 8))).toBe('w is damaged: the bytes of tensors x and y overlap')
    expect(overlap(entry(5, 6))).toBe('w is damaged: the bytes of tensors x and y overlap')
    const beside = parseSafetensors(fileOf({ x: entry(4, 8), y: entry(8, 9), z: entry(6, 6), u: entry(0, 4) }, 16), 'w')
    expect(beside.size).toBe(4)
  })
})
