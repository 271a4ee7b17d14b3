/** Writes safetensors of random weights, tensor after tensor, so that a model of any size needs little memory to make. */
import { closeSync, ftruncateSync, openSync, renameSync, writeSync } from 'node:fs'

/** `random`: uniform around 0 with deviation 0.02, as models are initialised; `ones`: the gain of a norm. */
export type Fill = 'random' | 'ones'

export interface RandomTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly fill: Fill
}

export type StoredDtype = 'F32' | 'F16'

const DEVIATION = 0.02
/** Elements that are made at a time. */
const CHUNK = 1 << 20
const BYTES: Readonly<Record<StoredDtype, number>> = { F32: 4, F16: 2 }

/** Writes `path` with these tensors in this order. The same seed gives the same bytes. */
export function writeRandomWeights(
  path: string,
  tensors: readonly RandomTensor[],
  dtype: StoredDtype,
  seed: number,
): void {
  const header = Buffer.from(headerOf(tensors, dtype))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  // Whoever finds the file finds a whole one.
  const unfinished = `${path}.part`
  const file = openSync(unfinished, 'w')
  ftruncateSync(file, 0)
  writeSync(file, length)
  writeSync(file, header)
  const fill = dtype === 'F32' ? floats(seed) : halves(seed)
  for (const { shape, fill: kind } of tensors)
    for (let left = sizeOf(shape); left > 0; left -= CHUNK) writeSync(file, fill(kind, Math.min(CHUNK, left)))
  closeSync(file)
  renameSync(unfinished, path)
}

function headerOf(tensors: readonly RandomTensor[], dtype: StoredDtype): string {
  let begin = 0
  const entries = tensors.map(({ name, shape }) => {
    const end = begin + sizeOf(shape) * BYTES[dtype]
    const entry = [name, { dtype, shape, data_offsets: [begin, end] }] as const
    begin = end
    return entry
  })
  const json = JSON.stringify(Object.fromEntries(entries))
  // The format wants the data at a multiple of 8 bytes.
  return json.padEnd(Math.ceil(json.length / 8) * 8)
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

type Filler = (fill: Fill, count: number) => Uint8Array

function floats(seed: number): Filler {
  const values = new Float32Array(CHUNK)
  const next = bitsFrom(seed)
  const step = (DEVIATION * Math.sqrt(3)) / 2 ** 31
  return (fill, count) => {
    if (fill === 'ones') values.fill(1, 0, count)
    else for (let i = 0; i < count; i++) values[i] = next() * step
    return new Uint8Array(values.buffer, 0, count * 4)
  }
}

function halves(seed: number): Filler {
  const values = new Uint16Array(CHUNK)
  const next = bitsFrom(seed)
  const table = Uint16Array.from({ length: 1 << 16 }, (_, i) => f16((DEVIATION * Math.sqrt(3) * (i - 32768)) / 32768))
  return (fill, count) => {
    if (fill === 'ones') values.fill(f16(1), 0, count)
    else for (let i = 0; i < count; i++) values[i] = table[next() >>> 16]!
    return new Uint8Array(values.buffer, 0, count * 2)
  }
}

/** 32 random bits as an integer, signed: xorshift32. */
function bitsFrom(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state
  }
}

/** The f16 nearest to a value of at most 1, towards zero. */
function f16(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!
  const exponent = ((bits >>> 23) & 0xff) - 112
  const sign = (bits >>> 16) & 0x8000
  return exponent <= 0 ? sign : sign | (exponent << 10) | ((bits >>> 13) & 0x3ff)
}
