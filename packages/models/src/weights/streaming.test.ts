/** Streaming: whatever pieces a file comes in, what is in the engine afterwards is the same, and little is held. */
import { createEngine, type Engine, type Matrix, pack, type Tensor } from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { normals, randomFrom } from '../../../../test/random.js'
import { RUNS } from '../../../../test/runs.js'
import { ModelError } from '../errors.js'
import type { ModelFiles } from '../files.js'
import { WeightReader } from './reader.js'
import type { LoadProgress } from './streaming.js'

const FILE = 'model.safetensors'
const NAMING = { prefixes: [], ignored: [] }
type Stored = readonly [name: string, shape: readonly number[], dtype?: 'F32' | 'F16' | 'BF16' | 'U8']
const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)
const BYTES = { F32: 4, F16: 2, BF16: 2, U8: 1 }

/** Random values with four bits of mantissa, which every dtype can hold; they recur where there are many. */
function valuesOf(shape: readonly number[], seed: number): Float32Array {
  const drawn = normals(Math.min(count(shape), 9973), seed)
  const words = new Uint32Array(drawn.buffer).map(word => word & 0xfff80000)
  const values = new Float32Array(words.buffer)
  return Float32Array.from({ length: count(shape) }, (_, i) => values[i % values.length] as number)
}
function encoded(values: Float32Array, dtype: keyof typeof BYTES): Uint8Array {
  const words = new Uint32Array(values.slice().buffer)
  if (dtype === 'F32') return new Uint8Array(words.buffer)
  if (dtype === 'U8') return new Uint8Array(values.length).fill(3)
  const half = (word: number): number => {
    const exponent = ((word >>> 23) & 255) - 112
    return ((word >>> 16) & 0x8000) | (exponent > 0 ? (exponent << 10) | ((word >>> 13) & 0x3ff) : 0)
  }
  return new Uint8Array(Uint16Array.from(words, dtype === 'F16' ? half : word => word >>> 16).buffer)
}
/** f16 has no room for the smallest of the values: they are zeros, in all dtypes. */
const flushed = (values: Float32Array): Float32Array => values.map(v => (Math.abs(v) < 2 ** -14 ? 0 : v))

function fileOf(stored: readonly Stored[]): Uint8Array<ArrayBuffer> {
  let end = 0
  const header: Record<string, { dtype: string; shape: readonly number[]; data_offsets: [number, number] }> = {}
  for (const [name, shape, dtype = 'F32'] of stored) {
    const begin = end
    end += count(shape) * BYTES[dtype]
    header[name] = { dtype, shape, data_offsets: [begin, end] }
  }
  const json = new TextEncoder().encode(JSON.stringify(header))
  const file = new Uint8Array(8 + json.length + end)
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true)
  file.set(json, 8)
  for (const [i, [name, shape, dtype = 'F32']] of stored.entries())
    file.set(encoded(flushed(valuesOf(shape, i)), dtype), 8 + json.length + (header[name]?.data_offsets[0] as number))
  return file
}

/** A file in memory that comes in pieces of the sizes that `next` gives, in one buffer that is used again and again. */
function filesOf(bytes: Uint8Array<ArrayBuffer>, next: () => number) {
  const runs: [number, number][] = []
  const files: ModelFiles = {
    location: 'memory',
    size: async name => (name === FILE ? bytes.length : undefined),
    range: async (_, begin, end) => bytes.slice(begin, end),
    async *chunks(_, begin, end) {
      runs.push([begin, end])
      const buffer = new Uint8Array(bytes.length)
      for (let at = begin; at < end; ) {
        const length = Math.min(end - at, Math.max(1, next()))
        buffer.fill(0xff)
        buffer.set(bytes.subarray(at, at + length))
        yield buffer.subarray(0, length)
        at += length
      }
    },
  }
  return { files, runs }
}

const sameBits = (a: Float32Array, b: Float32Array): boolean =>
  Buffer.compare(new Uint8Array(a.buffer), new Uint8Array(b.buffer)) === 0
const same = (a: Tensor, b: Tensor): boolean => sameBits(a.floats(), b.floats())
const open = async (files: ModelFiles, engine: Engine): Promise<WeightReader> =>
  WeightReader.open(files, engine.root, NAMING)

/** What the reader's matrix must equal: its columns, written out, packed at once. */
function expectMatrix(matrix: Matrix, columns: (j: number) => (p: number) => number, bias?: Float32Array): void {
  const { k, n } = matrix
  const scope = matrix.packed.engine.scope()
  const weight = new Float32Array(n * k)
  for (let j = 0; j < n; j++) for (let p = 0; p < k; p++) weight[j * k + p] = columns(j)(p)
  expect(same(matrix.packed, pack(scope, scope.tensor(weight, [n, k]), 'out,in').packed)).toBe(true)
  expect(matrix.bias?.floats()).toEqual(bias)
  scope.dispose()
}

describe('what is read', () => {
  it('is the same in whatever pieces it comes, in every dtype', async () => {
    const dtype = fc.constantFrom('F32' as const, 'F16' as const, 'BF16' as const)
    const width = fc.integer({ min: 1, max: 21 })
    await fc.assert(
      fc.asyncProperty(width, width, fc.tuple(dtype, dtype, dtype), fc.integer(), async (k, n, dtypes, seed) => {
        const [a, b, c] = dtypes
        const stored: Stored[] = [
          ['value.weight', [n, k], a], // before the keys, beside which it goes
          ['value.bias', [n], b],
          ['unused', [70], 'U8'],
          ['key.weight', [n, k], b],
          ['key.bias', [n], c],
          ['wide.weight', [k, 3 * n], c],
          ['wide.bias', [3 * n], a],
          ['nothing', [0, 4], a],
          ['table', [1, n, k], b],
        ]
        const values = new Map(stored.map(([name, shape], i) => [name, flushed(valuesOf(shape, i))]))
        const of = (name: string): Float32Array => values.get(name) as Float32Array
        const random = randomFrom(seed)
        const { files } = filesOf(fileOf(stored), () => Math.floor(random() ** 3 * 400))
        const engine = await createEngine()
        const weights = await open(files, engine)
        const fused = weights.matrix(['key', 'value'], { k, n })
        const columns = { from: n, of: 3 * n }
        const split = weights.matrix('wide', { k, n: 2 * n, layout: 'in,out', columns })
        const whole = weights.matrix('wide', { k, n: 3 * n, layout: 'in,out', bias: false })
        const packed = weights.matrix('key', { k, n, bias: 'value.bias' })
        const table = weights.tensor('table', [1, n, k])
        const nothing = weights.tensor('nothing', [0, 4])
        await weights.read()
        expectMatrix(
          fused,
          j => p => of(j < n ? 'key.weight' : 'value.weight')[(j % n) * k + p] as number,
          Float32Array.from([...of('key.bias'), ...of('value.bias')]),
        )
        const wide = (skip: number) => (j: number) => (p: number) => of('wide.weight')[p * 3 * n + skip + j] as number
        expectMatrix(split, wide(n), of('wide.bias').slice(n))
        expectMatrix(whole, wide(0))
        expectMatrix(packed, j => p => of('key.weight')[j * k + p] as number, of('value.bias'))
        expect(table.floats()).toEqual(of('table'))
        expect(nothing.size).toBe(0)
        expect(weights.unused()).toEqual(['unused'])
        engine.dispose()
      }),
      { numRuns: RUNS },
    )
  })

  // Each is more than the staging memory; of the last two, not eight rows fit it, and not one.
  it.each([
    ['tall.weight', [20_001, 24], 'out,in'],
    ['deep.weight', [31, 20_011], 'out,in'],
    ['conv1d.weight', [700, 1333], 'in,out'],
    ['wide.weight', [9, 60_000], 'out,in'],
    ['wider.weight', [2, 270_001], 'out,in'],
  ] as const)('is the same where it is more than is staged: %s %j', async (name, shape, layout) => {
    for (const dtype of ['F32', 'F16'] as const) {
      const { files } = filesOf(fileOf([[name, shape, dtype]]), () => 999_983)
      const engine = await createEngine()
      const weights = await open(files, engine)
      const [k, n] = layout === 'in,out' ? shape : [shape[1], shape[0]]
      const matrix = weights.matrix(name.replace('.weight', ''), { k, n, layout, bias: false })
      await weights.read()
      const values = flushed(valuesOf(shape, 0))
      const scope = engine.scope()
      expect(same(matrix.packed, pack(scope, scope.tensor(values, shape), layout).packed)).toBe(true)
      engine.dispose()
    }
  })
})

describe('while it is read', () => {
  const stored: Stored[] = [
    ['a', [3000, 500]],
    ['unused', [2000, 1000], 'U8'],
    ['b', [100]],
    ['c', [1500, 1000], 'F16'],
  ]
  const bytes = fileOf(stored)
  const declare = async (files: ModelFiles, engine: Engine): Promise<WeightReader> => {
    const weights = await open(files, engine)
    for (const [name, shape, dtype] of [...stored].reverse()) if (dtype !== 'U8') weights.tensor(name, shape)
    return weights
  }

  it('the memory beside the weights is at most 1.5 MB, at its low end, and free afterwards', async () => {
    const engine = await createEngine()
    const held = engine.tensor([1], [1])
    const weights = await declare(filesOf(bytes, () => 1 << 20).files, engine)
    await weights.read()
    const { usedBytes, peakBytes } = engine.arena
    expect(usedBytes).toBeGreaterThan(4 * (3000 * 500 + 1500 * 1000))
    expect(peakBytes - usedBytes).toBeGreaterThan(0)
    expect(peakBytes - usedBytes).toBeLessThanOrEqual(1.5 * 2 ** 20)
    expect(engine.root.empty([1000]).address).toBe(held.address + 64)
    engine.dispose()
  })

  it('the file is read forwards once, without what nobody asked for', async () => {
    const { files, runs } = filesOf(bytes, () => 1 << 20)
    const engine = await createEngine()
    const weights = await declare(files, engine)
    await weights.read()
    expect(runs.length).toBeGreaterThan(1)
    for (const [i, [begin]] of runs.entries()) expect(begin).toBeGreaterThanOrEqual(runs[i - 1]?.[1] ?? 8)
    const read = runs.reduce((sum, [begin, end]) => sum + end - begin, 0)
    expect(bytes.length - read).toBeGreaterThan(1_900_000)
    engine.dispose()
  })

  it('progress rises to all that the model uses', async () => {
    const engine = await createEngine()
    const weights = await declare(filesOf(bytes, () => 10_000).files, engine)
    const told: LoadProgress[] = []
    await weights.read({ progress: progress => told.push(progress) })
    const total = 4 * 3000 * 500 + 400 + 2 * 1500 * 1000
    expect(told.at(-1)).toEqual({ loadedBytes: total, totalBytes: total, file: FILE })
    expect(told.length).toBeGreaterThan(5)
    expect(told.length).toBeLessThan(12)
    for (const [i, { loadedBytes }] of told.entries())
      expect(loadedBytes).toBeGreaterThan(told[i - 1]?.loadedBytes ?? 0)
    engine.dispose()
  })

  it('an abort ends it with its reason', async () => {
    const engine = await createEngine()
    const weights = await declare(filesOf(bytes, () => 10_000).files, engine)
    const abort = new AbortController()
    const reason = new Error('enough')
    const reading = weights.read({ signal: abort.signal, progress: () => abort.abort(reason) })
    await expect(reading).rejects.toBe(reason)
    engine.dispose()
  })

  it('a source that gives too few bytes or too many is refused', async () => {
    for (const extra of [-1, 1]) {
      const { files } = filesOf(bytes, () => 1 << 20)
      const wrong: ModelFiles = {
        ...files,
        async *chunks(_, begin, end) {
          yield bytes.slice(begin, end - 5)
          yield new Uint8Array(5 + extra)
        },
      }
      const engine = await createEngine()
      const weights = await declare(wrong, engine)
      const error = await weights.read().catch(error => error)
      expect(error).toBeInstanceOf(ModelError)
      expect(error.message).toMatch(/^memory\/model.safetensors: bytes \d+…\d+ were asked for, \d+ came$/)
      engine.dispose()
    }
  })

  it('a source of ranges only serves too', async () => {
    const { chunks: _, ...ranges } = filesOf(bytes, () => 1).files
    const engine = await createEngine()
    const weights = await open(ranges, engine)
    const table = weights.tensor('a', [3000, 500])
    await weights.read()
    expect(sameBits(table.floats(), flushed(valuesOf([3000, 500], 0)))).toBe(true)
    engine.dispose()
  })
})
