/**
 * The safetensors format, both ways (https://github.com/huggingface/safetensors#format):
 *
 *     [header bytes: u64][header: JSON, spaces up to a multiple of 8][tensors, little-endian, one after the other]
 */
import {
  type CheckpointTensor,
  contiguousBytes,
  type Dtype,
  ELEMENT_BYTES,
  elementsOf,
  type StateDict,
  view,
} from './checkpoint.js'
import { CheckpointError } from './errors.js'

const LENGTH_BYTES = 8
const ALIGNMENT_BYTES = 8
/** What the format allows; a larger header is no header. */
const LONGEST_HEADER_BYTES = 100_000_000

/** A tensor of a file to be written. */
export interface Entry {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
}

/**
 * A file's header, padded, and where each entry's bytes begin in the file. Widest elements first, so that each tensor is
 * aligned to its own width; alphabetical among equals. `format` says who can read it: transformers wants `pt`.
 */
export function layOut<T extends Entry>(
  entries: readonly T[],
  format: string,
): { front: Uint8Array; sorted: readonly (T & { readonly begin: number })[]; end: number } {
  const width = ({ dtype }: Entry) => ELEMENT_BYTES[dtype]
  const inOrder = entries.toSorted((a, b) => width(b) - width(a) || (a.name < b.name ? -1 : 1))
  const header: Record<string, unknown> = Object.create(null)
  header.__metadata__ = { format }
  let end = 0
  const begins = inOrder.map(entry => {
    const { name, dtype, shape } = entry
    const begin = end
    end += elementsOf(shape) * width(entry)
    header[name] = { dtype, shape, data_offsets: [begin, end] }
    return begin
  })
  const json = new TextEncoder().encode(JSON.stringify(header))
  const headerBytes = Math.ceil(json.length / ALIGNMENT_BYTES) * ALIGNMENT_BYTES
  const front = new Uint8Array(LENGTH_BYTES + headerBytes).fill(0x20)
  new DataView(front.buffer).setBigUint64(0, BigInt(headerBytes), true)
  front.set(json, LENGTH_BYTES)
  const sorted = inOrder.map((entry, i) => ({ ...entry, begin: front.length + (begins[i] as number) }))
  return { front, sorted, end: front.length + end }
}

/**
 * A safetensors file piece by piece: the header, then each tensor, so that no more than one is unpacked at a time.
 */
export function* safetensorsPieces(tensors: StateDict): Generator<Uint8Array, void, undefined> {
  const entries = [...tensors].map(([name, tensor]) => {
    return { name, dtype: tensor.storage.dtype, shape: tensor.shape, tensor }
  })
  const { front, sorted } = layOut(entries, 'pt')
  yield front
  for (const { tensor } of sorted) yield contiguousBytes(tensor)
}

/** A whole safetensors file in memory. */
export function writeSafetensors(tensors: StateDict): Uint8Array {
  const pieces = [...safetensorsPieces(tensors)]
  const file = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    file.set(piece, at)
    at += piece.length
  }
  return file
}

/** Reads a safetensors file; its tensors are views of `file`. Throws `CheckpointError`. */
export function readSafetensors(file: Uint8Array): StateDict {
  if (file.length < LENGTH_BYTES) throw new CheckpointError(`no safetensors file has only ${file.length} bytes`)
  const headerBytes = Number(new DataView(file.buffer, file.byteOffset, LENGTH_BYTES).getBigUint64(0, true))
  const dataAt = LENGTH_BYTES + headerBytes
  if (headerBytes > LONGEST_HEADER_BYTES || dataAt > file.length)
    throw new CheckpointError(`a safetensors header of ${headerBytes} bytes in a file of ${file.length}`)
  const header = parseHeader(file.subarray(LENGTH_BYTES, dataAt))
  const data = file.subarray(dataAt)
  const tensors = new Map<string, CheckpointTensor>()
  for (const [name, entry] of Object.entries(header)) {
    if (name !== '__metadata__') tensors.set(name, readTensor(name, entry, data))
  }
  return tensors
}

function parseHeader(bytes: Uint8Array): object {
  try {
    const header: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    if (typeof header === 'object' && header !== null && !Array.isArray(header)) return header
  } catch (cause) {
    throw new CheckpointError('the safetensors header is no JSON', { cause })
  }
  throw new CheckpointError('the safetensors header is no object')
}

function readTensor(name: string, entry: unknown, data: Uint8Array): CheckpointTensor {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>
  if (!isDtype(dtype)) throw new CheckpointError(`${name}: dtype ${JSON.stringify(dtype)} is not read`)
  if (!isSizes(shape) || !isSizes(offsets) || offsets.length !== 2)
    throw new CheckpointError(`${name}: its shape or offsets are no list of sizes`)
  const [begin, end] = offsets as [number, number]
  const length = elementsOf(shape)
  if (begin > end || end > data.length || end - begin !== length * ELEMENT_BYTES[dtype])
    throw new CheckpointError(`${name}: bytes ${begin} to ${end} of ${data.length} are not [${shape}] of ${dtype}`)
  return view({ dtype, length, bytes: () => data.subarray(begin, end) }, shape)
}

function isDtype(value: unknown): value is Dtype {
  return typeof value === 'string' && Object.hasOwn(ELEMENT_BYTES, value)
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(item => Number.isSafeInteger(item) && item >= 0)
}
