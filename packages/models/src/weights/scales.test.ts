/** Codes and their scales: whatever pieces and order they come in, a matrix holds just those. */
import { createEngine, type Matrix, pack, rehearsalEngine } from '@prismal/tensor'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { randomFrom } from '../../../../test/random.js'
import { RUNS } from '../../../../test/runs.js'
import type { ModelFiles } from '../files.js'
import { WeightReader } from './reader.js'

const FILE = 'model.safetensors'

interface Codes {
  readonly n: number
  readonly k: number
  /** [n, k], with a 127 or −127 in every column. */
  readonly codes: Int8Array
  readonly scales: Float32Array
}

function draw(k: number, n: number, random: () => number): Codes {
  const codes = Int8Array.from({ length: n * k }, () => Math.floor(random() * 255) - 127)
  for (let j = 0; j < n; j++) codes[j * k + Math.floor(random() * k)] = random() < 0.5 ? 127 : -127
  return { n, k, codes, scales: Float32Array.from({ length: n }, () => random()) }
}
const turned = ({ n, k, codes }: Codes): Int8Array =>
  Int8Array.from({ length: n * k }, (_, i) => codes[(i % n) * k + Math.floor(i / n)] as number)

type Stored = readonly [name: string, values: Int8Array | Float32Array, shape: readonly number[]]

/** A file of these tensors in an order that `random` gives, in pieces of sizes that it gives. */
function filesOf(stored: readonly Stored[], random: () => number): ModelFiles {
  const shuffled = stored.map(tensor => ({ tensor, at: random() })).sort((a, b) => a.at - b.at)
  let end = 0
  const header: Record<string, unknown> = {}
  const parts = shuffled.map(({ tensor: [name, values, shape] }) => {
    const begin = end
    end += values.byteLength
    header[name] = { dtype: values instanceof Int8Array ? 'I8' : 'F32', shape, data_offsets: [begin, end] }
    return Buffer.from(values.buffer)
  })
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  const file = new Uint8Array(Buffer.concat([length, json, ...parts]))
  return {
    location: 'memory',
    size: async name => (name === FILE ? file.length : undefined),
    range: async (_, begin, end) => file.slice(begin, end),
    async *chunks(_, begin, end) {
      for (let at = begin; at < end; ) {
        const until = Math.min(end, at + 1 + Math.floor(random() ** 3 * file.length))
        yield file.slice(at, until)
        at = until
      }
    },
  }
}

/** The matrix holds the codes of these columns, side by side, and their scales. */
function expectHeld(matrix: Matrix, ...parts: readonly Codes[]): void {
  const scope = matrix.packed.engine.scope()
  const columns = Float32Array.from(parts.flatMap(({ codes }) => [...codes]))
  const want = pack(scope, scope.tensor(columns, [matrix.n, matrix.k]), 'out,in', undefined, 'q8')
  const same = (a: ArrayBufferView, b: ArrayBufferView): boolean =>
    Buffer.compare(new Uint8Array(a.buffer as ArrayBuffer), new Uint8Array(b.buffer as ArrayBuffer)) === 0
  expect(same(matrix.packed.data(), want.packed.data())).toBe(true)
  expect(same(matrix.sums!.data(), want.sums!.data())).toBe(true)
  const scales = Float32Array.from(parts.flatMap(({ scales }) => [...scales]))
  expect(same(matrix.scales!.floats().slice(0, matrix.n), scales)).toBe(true)
  scope.dispose()
}

/** Reads matrices of every kind, one of them with rows of `width` values, and compares. */
async function check(k: number, n: number, width: number, seed: number): Promise<void> {
  const random = randomFrom(seed)
  const [key, value, attention] = [draw(k, n, random), draw(k, n, random), draw(k, 3 * n, random)]
  const wide = draw(2, width, random)
  const files = filesOf(
    [
      ['key.weight', key.codes, [n, k, 1]],
      ['key.weight_scale', key.scales, [n]],
      ['value.weight', value.codes, [n, k, 1]],
      ['value.weight_scale', value.scales, [n]],
      ['attention.weight', turned(attention), [k, 3 * n]],
      ['attention.weight_scale', attention.scales, [3 * n]],
      ['wide.weight', turned(wide), [2, wide.n]],
      ['wide.weight_scale', wide.scales, [wide.n]],
    ],
    random,
  )
  const [engine, rehearsal] = [await createEngine(), rehearsalEngine()]
  const ask = (weights: WeightReader) => {
    const form = { k, layout: 'in,out', bias: false } as const
    return {
      joined: weights.matrix(['key', 'value'], { k, n, stored: [n, k, 1], bias: false }),
      query: weights.matrix('attention', { ...form, n, columns: { from: 0, of: 3 * n } }),
      rest: weights.matrix('attention', { ...form, n: 2 * n, columns: { from: n, of: 3 * n } }),
      wide: weights.matrix('wide', { ...form, k: 2, n: wide.n }),
    }
  }
  const open = (on: typeof engine) =>
    WeightReader.open(files, on.root, { prefixes: [], ignored: [] }, { precision: 'q8' })
  const [weights, counted] = [await open(engine), await open(rehearsal)]
  const found = ask(weights)
  ask(counted)
  await weights.read()
  await counted.read()
  expectHeld(found.joined, key, value)
  const part = (from: number, to: number): Codes => ({
    ...{ n: to - from, k },
    codes: attention.codes.slice(from * k, to * k),
    scales: attention.scales.slice(from, to),
  })
  expectHeld(found.query, part(0, n))
  expectHeld(found.rest, part(n, 3 * n))
  expectHeld(found.wide, wide)
  expect(rehearsal.arena.usedBytes).toBe(engine.arena.usedBytes)
  engine.dispose()
}

it('a matrix holds the codes and scales of the file, alone, joined and split', async () => {
  const size = fc.integer({ min: 1, max: 21 })
  const property = fc.asyncProperty(size, size, fc.integer(), (k, n, seed) => check(k, n, 3, seed))
  await fc.assert(property, { numRuns: RUNS / 2 })
})

it('and where a row is wider than what is staged', () => check(5, 9, 140_000, 1))
