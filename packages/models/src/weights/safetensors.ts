/** The safetensors format: 8 bytes header length (little-endian), a JSON header, then the tensors' bytes. */
import { ModelError } from '../errors.js'

export interface TensorEntry {
  readonly dtype: string
  readonly shape: readonly number[]
  /** Bytes [begin, end) of the file. */
  readonly begin: number
  readonly end: number
}

/** A tensor, and where it lies. */
export interface StoredTensor extends TensorEntry {
  readonly file: string
  readonly storedName: string
}

/** Bits of an element, for the dtypes of the format. */
const BITS: Readonly<Record<string, number>> = {
  BOOL: 8, U8: 8, I8: 8, F8_E4M3: 8, F8_E5M2: 8, U16: 16, I16: 16, F16: 16, BF16: 16,
  U32: 32, I32: 32, F32: 32, U64: 64, I64: 64, F64: 64,
} // biome-ignore format: a table
/** The format's own limit of a header. */
const MAX_HEADER_BYTES = 100_000_000

/** Length of the header, from the file's first 8 bytes. Throws {@link ModelError} where it cannot be one. */
export function headerLength(first: Uint8Array, fileBytes: number, where: string): number {
  if (first.length < 8 || fileBytes < 8)
    throw new ModelError(`${where} is not safetensors: it has ${fileBytes} bytes, fewer than the 8 of a header length`)
  const length = Number(new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true))
  if (new TextDecoder().decode(first.subarray(0, 8)) === 'version ')
    throw new ModelError(`${where} is a pointer of Git LFS to the file, not the file: git lfs pull fetches it`)
  if (length > MAX_HEADER_BYTES || 8 + length > fileBytes)
    throw new ModelError(
      `${where} is damaged or not safetensors: a header of ${length} bytes in a file of ${fileBytes} (truncated?)`,
    )
  return length
}

/** Tensors by name, from the header's JSON. Every offset is checked against shape, dtype and file. */
export function parseHeader(json: Uint8Array, fileBytes: number, where: string): Map<string, TensorEntry> {
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json))
  } catch (cause) {
    throw new ModelError(`${where} is damaged: its header is not JSON (${(cause as Error).message})`, { cause })
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    throw new ModelError(`${where} is damaged: its header is not an object`)
  const start = 8 + json.length
  const entries = new Map<string, TensorEntry>()
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') continue
    entries.set(name, parseEntry(value, start, fileBytes, `${where}: tensor ${name}`))
  }
  refuseOverlap(entries, where)
  return entries
}

function refuseOverlap(entries: ReadonlyMap<string, TensorEntry>, where: string): void {
  const inOrder = [...entries].filter(([, e]) => e.end > e.begin).sort(([, a], [, b]) => a.begin - b.begin)
  for (const [i, [name, entry]] of inOrder.entries()) {
    const [other, before] = inOrder[i - 1] ?? []
    if (before && before.end > entry.begin)
      throw new ModelError(`${where} is damaged: the bytes of tensors ${other} and ${name} overlap`)
  }
}

function parseEntry(value: unknown, start: number, fileBytes: number, where: string): TensorEntry {
  const { dtype, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>
  const isSize = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0
  if (typeof dtype !== 'string') throw new ModelError(`${where} has no dtype`)
  const bits = Object.hasOwn(BITS, dtype) ? BITS[dtype] : undefined
  if (!bits) throw new ModelError(`${where} has the unknown dtype ${JSON.stringify(dtype)}`)
  if (!Array.isArray(shape) || !shape.every(isSize)) throw new ModelError(`${where} has no list of sizes for a shape`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    throw new ModelError(`${where} has no pair of sizes for data_offsets`)
  const [from, to] = offsets as [number, number]
  const bytes = (shape.reduce((a, b) => a * b, 1) * bits) / 8
  if (to - from !== bytes)
    throw new ModelError(`${where}: ${dtype} [${shape}] takes ${bytes} bytes, its offsets span ${to - from}`)
  if (start + to > fileBytes)
    throw new ModelError(`${where} ends at byte ${start + to} of a file of ${fileBytes} bytes: truncated`)
  return { dtype: dtype as string, shape, begin: start + from, end: start + to }
}

export interface StoredArray {
  readonly dtype: string
  readonly shape: readonly number[]
  /** The values; F16 and BF16 as their bits. */
  readonly values: Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array
}

const ARRAYS = {
  F32: Float32Array,
  F64: Float64Array,
  I32: Int32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  U8: Uint8Array,
}

/** All tensors of a small file that is in memory. Throws {@link ModelError} where it is damaged. */
export function parseSafetensors(bytes: Uint8Array, where: string): Map<string, StoredArray> {
  const length = headerLength(bytes, bytes.length, where)
  const arrays = new Map<string, StoredArray>()
  for (const [name, { dtype, shape, begin, end }] of parseHeader(bytes.subarray(8, 8 + length), bytes.length, where)) {
    const array = ARRAYS[dtype as keyof typeof ARRAYS]
    if (!array) throw new ModelError(`${where}: tensor ${name} has dtype ${dtype}, which is not read here`)
    arrays.set(name, { dtype, shape, values: new array(Uint8Array.from(bytes.subarray(begin, end)).buffer) })
  }
  return arrays
}
