/**
 * Patches of images as they travel. Pixels have 8 bits before they are scaled, so a channel's values are at most 256 different ones: one
 * byte each and a table of them say the same in a quarter of the bytes, bit for bit. Patches that are something else stay as they are.
 */
import { ConnectionError } from './errors.js'
import { bytesOf } from './wire.js'

/** How values lie: patches of `patchWidth` values, channel after channel. */
export interface PatchShape {
  readonly patchWidth: number
  /** Channels of an image; absent: 1. */
  readonly channels?: number
}

const ENTRIES = 256
/** Slots of the table that values are looked up in: a power of two, well above the entries. */
const SLOTS = 1024
const SHIFT = 32 - Math.log2(SLOTS)

const padded = (bytes: number): number => Math.ceil(bytes / 4) * 4
const packedBytes = (values: number, channels: number): number => channels * ENTRIES * 4 + padded(values)

/** Tables [channels, 256] f32 and one byte a value, filled up to a multiple of 4; undefined where that is not shorter or a channel has more than 256 values. */
export function packPatches(patches: Float32Array, { patchWidth, channels = 1 }: PatchShape): Uint8Array | undefined {
  const run = patchWidth / channels
  if (!Number.isInteger(run) || run < 1 || patches.length % patchWidth !== 0) return undefined
  const size = packedBytes(patches.length, channels)
  if (size >= patches.byteLength) return undefined
  const bits = new Int32Array(patches.buffer, patches.byteOffset, patches.length)
  const packed = new Uint8Array(size)
  const entries = new Int32Array(packed.buffer, 0, channels * ENTRIES)
  const codes = packed.subarray(channels * ENTRIES * 4)
  for (let c = 0; c < channels; c++) {
    const table = entries.subarray(c * ENTRIES, (c + 1) * ENTRIES)
    if (!packChannel(bits, codes, table, { begin: c * run, run, stride: patchWidth })) return undefined
  }
  return packed
}

/** The inverse: `length` values. Throws {@link ConnectionError} where the bytes are not as many as they take. */
export function unpackPatches(
  packed: Uint8Array,
  length: number,
  { patchWidth, channels = 1 }: PatchShape,
): Float32Array<ArrayBuffer> {
  if (packed.length !== packedBytes(length, channels) || length % patchWidth !== 0)
    throw new ConnectionError(`${packed.length} bytes came for ${length} values of patches of ${patchWidth}`)
  // As integers: a NaN that is read as a number may get another payload.
  const entries = new Int32Array(packed.slice(0, channels * ENTRIES * 4).buffer)
  const codes = packed.subarray(channels * ENTRIES * 4)
  const bits = new Int32Array(length)
  const run = patchWidth / channels
  for (let i = 0; i < length; i++) {
    const channel = Math.floor((i % patchWidth) / run)
    bits[i] = entries[channel * ENTRIES + (codes[i] as number)] as number
  }
  return new Float32Array(bits.buffer)
}

/** Bytes of packed values. */
export const packedPatchBytes = (length: number, { channels = 1 }: PatchShape): number => packedBytes(length, channels)

/** Bytes that patches take on their way. */
export const patchBytes = (patches: Float32Array, shape: PatchShape): number =>
  (packPatches(patches, shape) ?? bytesOf(patches)).length

interface Columns {
  readonly begin: number
  readonly run: number
  readonly stride: number
}

/** Codes the columns of one channel. False where it has too many values. */
function packChannel(bits: Int32Array, codes: Uint8Array, table: Int32Array, { begin, run, stride }: Columns): boolean {
  const slots = new Int16Array(SLOTS).fill(-1)
  let entries = 0
  for (let row = begin; row < bits.length; row += stride)
    for (let i = row; i < row + run; i++) {
      const value = bits[i] as number
      let slot = Math.imul(value, 0x9e3779b1) >>> SHIFT
      let code = slots[slot] as number
      while (code >= 0 && table[code] !== value) {
        slot = (slot + 1) % SLOTS
        code = slots[slot] as number
      }
      if (code < 0) {
        if (entries === ENTRIES) return false
        code = entries++
        slots[slot] = code
        table[code] = value
      }
      codes[i] = code
    }
  return true
}
