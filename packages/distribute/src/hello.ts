/**
 * What the two sides of a handshake say: a hello each, and with a secret a proof each. Numbers are little-endian.
 *
 *     hello                                        proof
 *     byte 0       'PRSM' (50 52 53 4d)            byte 0       'PRSM'
 *          4  u8   1                                    4  u8   2
 *          5  u8   side: 0 dialer, 1 listener           5  u8   side
 *          6  u8   bit 0: has a secret                  6  u16  0
 *          7  u8   V, how many versions, at least 1     8       HMAC-SHA-256, 32 bytes
 *          8       nonce, 32 bytes
 *         40       X25519 public key, 32 bytes; zeros without a secret
 *         72       V × u16, protocol versions
 *         72 + 2V  of later versions; skipped, and covered by the proofs as all of it is
 */
import { HandshakeError } from './errors.js'

export type Side = 'dialer' | 'listener'
export const otherSide = (side: Side): Side => (side === 'dialer' ? 'listener' : 'dialer')

export interface Hello {
  readonly side: Side
  readonly hasSecret: boolean
  /** Protocol versions that the side speaks. */
  readonly versions: readonly number[]
  /** 32 random bytes. */
  readonly nonce: Uint8Array
  /** X25519, 32 bytes. */
  readonly publicKey: Uint8Array
}

/** Longest message of a handshake. */
export const MOST_HANDSHAKE_BYTES = 4096
export const KEY_BYTES = 32
const MAGIC = [0x50, 0x52, 0x53, 0x4d] as const
const SIDES: readonly Side[] = ['dialer', 'listener']
const HELLO = 1
const PROOF = 2
const NONCE_AT = 8
const KEY_AT = 40
const VERSIONS_AT = 72
const PROOF_AT = 8
const PROOF_BYTES = 40
const HAS_SECRET = 1

export function encodeHello(hello: Hello): Uint8Array<ArrayBuffer> {
  const { side, hasSecret, versions, nonce, publicKey } = hello
  const bytes = new Uint8Array(VERSIONS_AT + 2 * versions.length)
  const view = new DataView(bytes.buffer)
  bytes.set([...MAGIC, HELLO, SIDES.indexOf(side), hasSecret ? HAS_SECRET : 0, versions.length])
  bytes.set(nonce, NONCE_AT)
  bytes.set(publicKey, KEY_AT)
  for (const [i, version] of versions.entries()) view.setUint16(VERSIONS_AT + 2 * i, version, true)
  return bytes
}

/** Reads a hello of that side. Throws `HandshakeError` that says what is wrong with it. */
export function decodeHello(bytes: Uint8Array, side: Side): Hello {
  checkStart(bytes, HELLO, side, 'hello')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const count = bytes[7] as number
  const length = VERSIONS_AT + 2 * count
  if (count === 0 || bytes.length < length)
    throw new HandshakeError(
      `a hello with ${count} protocol versions has ${bytes.length} bytes (at least one version, and ${length} bytes)`,
    )
  return {
    side,
    hasSecret: ((bytes[6] as number) & HAS_SECRET) !== 0,
    versions: Array.from({ length: count }, (_, i) => view.getUint16(VERSIONS_AT + 2 * i, true)),
    nonce: bytes.slice(NONCE_AT, KEY_AT),
    publicKey: bytes.slice(KEY_AT, VERSIONS_AT),
  }
}

export function encodeProof(side: Side, proof: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PROOF_BYTES)
  bytes.set([...MAGIC, PROOF, SIDES.indexOf(side)])
  bytes.set(proof, PROOF_AT)
  return bytes
}

/** The 32 bytes of a proof of that side. Throws `HandshakeError` that says what is wrong with the message. */
export function decodeProof(bytes: Uint8Array, side: Side): Uint8Array<ArrayBuffer> {
  checkStart(bytes, PROOF, side, 'proof')
  if (bytes.length !== PROOF_BYTES)
    throw new HandshakeError(`a proof has ${PROOF_BYTES} bytes, this one ${bytes.length}`)
  return bytes.slice(PROOF_AT)
}

/** Length, magic, kind and side, before anything else of a message is looked at. */
function checkStart(bytes: Uint8Array, kind: number, side: Side, name: string): void {
  const found = bytes.length
  if (found > MOST_HANDSHAKE_BYTES)
    throw new HandshakeError(`a ${name} of ${found} bytes (at most ${MOST_HANDSHAKE_BYTES}): refused`)
  if (found < PROOF_AT || MAGIC.some((byte, i) => bytes[i] !== byte))
    throw new HandshakeError(`the other side does not speak this protocol: ${startOf(bytes)}`)
  if (bytes[4] !== kind)
    throw new HandshakeError(`a ${name} was to come, and a message of kind ${bytes[4]} did: ${startOf(bytes)}`)
  if (bytes[5] !== SIDES.indexOf(side))
    throw new HandshakeError(
      `the ${name} of a ${side} was to come, and one of a ${SIDES[bytes[5] as number] ?? `side ${bytes[5]}`} did: ` +
        'the other side plays the same part, or sends back what it gets',
    )
}

function startOf(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'it sent an empty message'
  const start = [...bytes.subarray(0, 8)].map(byte => byte.toString(16).padStart(2, '0')).join(' ')
  return `its message begins with ${start}${bytes.length > 8 ? ' …' : ''}`
}
