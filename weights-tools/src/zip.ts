/**
 * Reads zip archives as PyTorch writes them: entries stored or deflated, found through the central directory.
 *
 *     [local header · name · extra · data]…  [central directory: one record per entry]  [end record]
 *
 * Every offset and length is checked before use and every entry against its CRC-32.
 */
import { inflateSync } from 'fflate'
import { CheckpointError } from './errors.js'

/** A file inside an archive. */
export interface ZipEntry {
  readonly name: string
  /** Bytes once unpacked. */
  readonly size: number
  /** Unpacks it. Throws `CheckpointError` if it is damaged. */
  readonly bytes: () => Uint8Array
}

const LOCAL_HEADER = 0x04034b50
const LOCAL_HEADER_BYTES = 30
const DIRECTORY_RECORD = 0x02014b50
const DIRECTORY_RECORD_BYTES = 46
const END_RECORD = 0x06054b50
const END_RECORD_BYTES = 22
const LONGEST_COMMENT = 0xffff
/** Deflate cannot expand a byte to more than this many; a larger claim is a lie about the size. */
const MOST_EXPANSION = 1032

/** Whether the bytes begin like a zip archive. */
export function looksLikeZip(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && viewOf(bytes).getUint32(0, true) === LOCAL_HEADER
}

/** Lists an archive's entries by name. Unpacks nothing yet. Throws `CheckpointError`. */
export function readZip(archive: Uint8Array): Map<string, ZipEntry> {
  const data = viewOf(archive)
  const end = findEnd(data)
  const count = data.getUint16(end + 10, true)
  const directoryBytes = data.getUint32(end + 12, true)
  const directory = data.getUint32(end + 16, true)
  if (count === 0xffff || directory === 0xffffffff || directoryBytes === 0xffffffff)
    throw new CheckpointError('zip64 archives (over 4 GiB or 65,534 entries) are not read; save it in shards')
  if (directory + directoryBytes > end) throw new CheckpointError('the zip directory lies outside the file')

  const entries = new Map<string, ZipEntry>()
  let at = directory
  for (let i = 0; i < count; i++) {
    if (at + DIRECTORY_RECORD_BYTES > end || data.getUint32(at, true) !== DIRECTORY_RECORD)
      throw new CheckpointError(`zip directory: no record ${i + 1} of ${count} at byte ${at}`)
    const nameBytes = data.getUint16(at + 28, true)
    const next = at + DIRECTORY_RECORD_BYTES + nameBytes + data.getUint16(at + 30, true) + data.getUint16(at + 32, true)
    if (next > end) throw new CheckpointError(`zip directory: record ${i + 1} of ${count} is cut short`)
    const nameAt = at + DIRECTORY_RECORD_BYTES
    const name = new TextDecoder().decode(archive.subarray(nameAt, nameAt + nameBytes))
    if (entries.has(name)) throw new CheckpointError(`zip directory: ${name} is listed twice`)
    const size = data.getUint32(at + 24, true)
    const record: DirectoryRecord = {
      name,
      size,
      encrypted: (data.getUint16(at + 8, true) & 1) === 1,
      method: data.getUint16(at + 10, true),
      crc: data.getUint32(at + 16, true),
      packedBytes: data.getUint32(at + 20, true),
      local: data.getUint32(at + 42, true),
    }
    entries.set(name, { name, size, bytes: () => unpack(archive, directory, record) })
    at = next
  }
  return entries
}

interface DirectoryRecord {
  readonly name: string
  readonly size: number
  readonly encrypted: boolean
  readonly method: number
  readonly crc: number
  readonly packedBytes: number
  /** Where its local header begins. */
  readonly local: number
}

function findEnd(data: DataView): number {
  const first = Math.max(0, data.byteLength - END_RECORD_BYTES - LONGEST_COMMENT)
  for (let at = data.byteLength - END_RECORD_BYTES; at >= first; at--) {
    // The comment must end where the file ends, or this is the signature by chance, or a file that was cut.
    if (
      data.getUint32(at, true) === END_RECORD &&
      at + END_RECORD_BYTES + data.getUint16(at + 20, true) === data.byteLength
    )
      return at
  }
  throw new CheckpointError('not a complete zip archive: its end record is missing (was the download cut short?)')
}

function unpack(archive: Uint8Array, dataEnd: number, record: DirectoryRecord): Uint8Array {
  const { name, size, method, packedBytes, local } = record
  const data = viewOf(archive)
  if (record.encrypted) throw new CheckpointError(`${name}: encrypted zip entries are not read`)
  if (local + LOCAL_HEADER_BYTES > dataEnd || data.getUint32(local, true) !== LOCAL_HEADER)
    throw new CheckpointError(`${name}: no local zip header at byte ${local}`)
  const from = local + LOCAL_HEADER_BYTES + data.getUint16(local + 26, true) + data.getUint16(local + 28, true)
  if (from + packedBytes > dataEnd) throw new CheckpointError(`${name}: ${packedBytes} bytes reach beyond the entries`)
  const packed = archive.subarray(from, from + packedBytes)
  const bytes = method === 0 ? packed : method === 8 ? inflate(packed, size, name) : undefined
  if (!bytes) throw new CheckpointError(`${name}: zip method ${method} is not read (0 stored, 8 deflated)`)
  if (bytes.length !== size) throw new CheckpointError(`${name}: has ${bytes.length} bytes, the directory says ${size}`)
  if (crc32(bytes) !== record.crc) throw new CheckpointError(`${name}: CRC-32 differs, the file is damaged`)
  return bytes
}

function inflate(packed: Uint8Array, size: number, name: string): Uint8Array {
  if (size > packed.length * MOST_EXPANSION)
    throw new CheckpointError(`${name}: ${packed.length} deflated bytes cannot hold ${size}`)
  try {
    return inflateSync(packed, { out: new Uint8Array(size) })
  } catch (cause) {
    throw new CheckpointError(`${name}: damaged deflate data`, { cause })
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1
  return remainder
})

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]!) & 0xff]!
  return ~crc >>> 0
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
