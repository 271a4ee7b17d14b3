/**
 * Packets: what travels below frames, one a message of the transport. A header, little-endian, and a body:
 *
 *     byte 0       kind: data 0, credit 1, ping 2, pong 3, close 4
 *          1       flags: 1 on the last fragment of a message, else 0
 *          2  u16  0
 *          4  u32  number of the packet on its connection and direction, from 0
 *          8  u32  cost of the data packets that its sender has taken in all, modulo 2³²
 *         12       data: a fragment; close: the reason (UTF-8); else nothing
 */
import { ConnectionError } from './errors.js'

export const PACKET_HEADER_BYTES = 12
/** Longest reason of a close packet, in bytes of UTF-8. */
export const MAX_REASON_BYTES = 1024

export const PACKET_KINDS = ['data', 'credit', 'ping', 'pong', 'close'] as const
export type PacketKind = (typeof PACKET_KINDS)[number]

export interface PacketHeader {
  readonly kind: PacketKind
  /** Whether a data packet ends its message. */
  readonly last: boolean
  readonly number: number
  readonly taken: number
}

/** Writes a header to the first bytes of `packet`. */
export function writeHeader(packet: Uint8Array, { kind, last, number, taken }: PacketHeader): void {
  const view = new DataView(packet.buffer, packet.byteOffset, PACKET_HEADER_BYTES)
  packet[0] = PACKET_KINDS.indexOf(kind)
  packet[1] = last ? 1 : 0
  view.setUint16(2, 0, true)
  view.setUint32(4, number, true)
  view.setUint32(8, taken, true)
}

/** Throws {@link ConnectionError} where a packet's header is not one; bodies are sealed by `overheadBytes`. */
export function readHeader(packet: Uint8Array, overheadBytes: number): PacketHeader {
  const least = PACKET_HEADER_BYTES + overheadBytes
  if (packet.length < least) throw malformed(`${packet.length} bytes are fewer than its ${least}`)
  const view = new DataView(packet.buffer, packet.byteOffset, PACKET_HEADER_BYTES)
  const kind = PACKET_KINDS[packet[0] as number]
  if (!kind) throw malformed(`kind ${packet[0]} is unknown`)
  const flags = packet[1] as number
  if (flags > 1 || (flags === 1 && kind !== 'data')) throw malformed(`flags ${flags} do not belong to ${kind}`)
  if (view.getUint16(2, true) !== 0) throw malformed('bytes 2 and 3 are not 0')
  const length = packet.length - least
  if (kind === 'close' ? length > MAX_REASON_BYTES : kind !== 'data' && length > 0)
    throw malformed(`${length} bytes do not belong to ${kind}`)
  return { kind, last: flags === 1, number: view.getUint32(4, true), taken: view.getUint32(8, true) }
}

export const malformed = (why: string): ConnectionError => new ConnectionError(`not a prismal packet: ${why}`)

/** Least cost of a data packet: what holding even an empty one takes, about. */
export const LEAST_COST = 256

/** What a data packet of so many bytes, header and seal included, counts for in the window. */
export const packetCost = (bytes: number): number => Math.max(LEAST_COST, bytes)

/** A reason as its UTF-8, cut to at most `most` bytes between characters. */
export function encodeReason(reason: string, most: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(0, Math.min(most, MAX_REASON_BYTES)))
  return bytes.subarray(0, new TextEncoder().encodeInto(reason, bytes).written)
}

/** The inverse. Reasons come from the other side and end up in terminals: control characters become spaces. */
export const decodeReason = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).replace(/\p{Cc}/gu, ' ')
