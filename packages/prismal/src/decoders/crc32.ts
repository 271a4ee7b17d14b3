/** The checksum of PNG's chunks. */

/** What each byte does to the register (PNG, third edition, annex D). */
const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let register = byte
  for (let bit = 0; bit < 8; bit++) register = (register >>> 1) ^ (register & 1 ? 0xedb88320 : 0)
  return register
})

/** CRC-32 as zlib has it, from 0 to 2^32 − 1. */
export function crc32(bytes: Uint8Array): number {
  let register = -1
  for (let i = 0; i < bytes.length; i++)
    register = (register >>> 8) ^ (TABLE[(register ^ (bytes[i] as number)) & 0xff] as number)
  return ~register >>> 0
}
