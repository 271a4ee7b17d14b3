/**
 * How the keys of a connection follow from what both sides know. All of it is WebCrypto, so that it runs wherever prismal does.
 *
 *     transcript = SHA-256(u16 length of the dialer's hello ‖ it ‖ u16 length of the listener's ‖ it)
 *     session    = HKDF-SHA-256, extracted from (X25519 shared key ‖ secret) with the salt transcript
 *     "prismal 1 proof of the dialer"  … listener   → key of its proof, 32 bytes: HMAC-SHA-256(key, transcript)
 *     "prismal 1 packets of the dialer"  … listener → traffic secret of what it sends, 32 bytes
 *     traffic secret → HKDF, "prismal 1 epoch"      → AES key (32) ‖ nonce (12) ‖ the next epoch's traffic secret (32)
 *
 * - The X25519 keys live as long as the connection: who learns the secret later reads nothing of what was recorded.
 * - The secret is part of every key: who sits between and exchanges X25519 keys for its own can neither prove nor read.
 * - The salt binds the keys to both hellos, byte for byte: nobody can change versions or flags on the way and leave the
 *   keys as they are, and as each nonce and X25519 key is used once, no proof of one connection fits another.
 * - Each side has labels of its own: nothing that a side sent is ever what it expects, so that echoes prove nothing.
 */
import { HandshakeError } from './errors.js'
import { KEY_BYTES, type Side } from './hello.js'

type Bytes = Uint8Array<ArrayBuffer>

/** What follows from a handshake. */
export interface Session {
  /** Keys of the sides' proofs: HMAC-SHA-256, for signing and verifying. */
  readonly proofKeys: Readonly<Record<Side, CryptoKey>>
  /** What is proved: SHA-256 of both hellos. */
  readonly transcript: Bytes
  /** Traffic secrets, 32 bytes, of what each side sends. */
  readonly traffic: Readonly<Record<Side, Bytes>>
}

/** Keys of one epoch of one direction. */
export interface EpochKeys {
  /** AES-256, 32 bytes. */
  readonly key: Bytes
  /** 12 bytes, of which the last 8 are combined with the packet's counter. */
  readonly nonce: Bytes
  /** Traffic secret of the epoch after it. */
  readonly next: Bytes
}

const NONCE_BYTES = 12

/** SHA-256 of both hellos with their lengths. */
export async function transcriptOf(dialerHello: Uint8Array, listenerHello: Uint8Array): Promise<Bytes> {
  const bytes = new Uint8Array(4 + dialerHello.length + listenerHello.length)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, dialerHello.length, true)
  bytes.set(dialerHello, 2)
  view.setUint16(2 + dialerHello.length, listenerHello.length, true)
  bytes.set(listenerHello, 4 + dialerHello.length)
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
}

/** The keys of a connection. `shared` [32] is what X25519 gave, `secret` [32] what the devices share. */
export async function sessionOf(shared: Uint8Array, secret: Uint8Array, transcript: Bytes): Promise<Session> {
  const material = new Uint8Array(shared.length + secret.length)
  material.set(shared)
  material.set(secret, shared.length)
  const derive = await deriver(material, transcript)
  material.fill(0)
  const proofKey = async (side: Side) =>
    crypto.subtle.importKey(
      'raw',
      await derive(`prismal 1 proof of the ${side}`, KEY_BYTES),
      { name: 'HMAC', hash: 'SHA-256' },
      false,
      ['sign', 'verify'],
    )
  const traffic = (side: Side) => derive(`prismal 1 packets of the ${side}`, KEY_BYTES)
  return {
    transcript,
    proofKeys: { dialer: await proofKey('dialer'), listener: await proofKey('listener') },
    traffic: { dialer: await traffic('dialer'), listener: await traffic('listener') },
  }
}

/** What a side sends to prove that it has the secret. */
export const proofOf = async (session: Session, side: Side): Promise<Bytes> =>
  new Uint8Array(await crypto.subtle.sign('HMAC', session.proofKeys[side], session.transcript))

/** Whether that is the side's proof; compared in constant time. */
export const isProofOf = (session: Session, side: Side, proof: Bytes): Promise<boolean> =>
  crypto.subtle.verify('HMAC', session.proofKeys[side], proof, session.transcript)

/** Keys of an epoch, from its traffic secret [32]. */
export async function epochOf(trafficSecret: Bytes): Promise<EpochKeys> {
  const derive = await deriver(trafficSecret, new Uint8Array(0))
  const bytes = await derive('prismal 1 epoch', 2 * KEY_BYTES + NONCE_BYTES)
  return {
    key: bytes.slice(0, KEY_BYTES),
    nonce: bytes.slice(KEY_BYTES, KEY_BYTES + NONCE_BYTES),
    next: bytes.slice(KEY_BYTES + NONCE_BYTES),
  }
}

/** HKDF-SHA-256 of one input: label and length give bytes. */
async function deriver(material: Bytes, salt: Bytes): Promise<(label: string, bytes: number) => Promise<Bytes>> {
  const key = await crypto.subtle.importKey('raw', material, 'HKDF', false, ['deriveBits'])
  return async (label, bytes) => {
    const info = new TextEncoder().encode(label)
    return new Uint8Array(await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt, info }, key, 8 * bytes))
  }
}

/** An X25519 key pair that is used for one connection. The private key never leaves the platform. */
export interface Ephemeral {
  readonly publicKey: Bytes
  /** The 32 bytes that both sides arrive at. Throws `HandshakeError` for keys that would make them a constant. */
  sharedWith(publicKey: Uint8Array): Promise<Bytes>
}

/** Makes one. Throws `HandshakeError` where the platform cannot. */
export async function ephemeral(): Promise<Ephemeral> {
  // Undefined on pages that came over http:, whatever the types say.
  const subtle = crypto.subtle as SubtleCrypto | undefined
  if (!subtle)
    throw new HandshakeError(
      'a secret needs WebCrypto, which this page does not have: load it over https or from localhost',
    )
  const pair = await subtle.generateKey({ name: 'X25519' }, false, ['deriveBits']).catch(cause => {
    throw new HandshakeError(
      'a secret needs X25519 in WebCrypto, which this runtime does not have (Node 20, Deno, Chromium 133, Firefox 130, Safari 17 have it)',
      { cause },
    )
  })
  return ephemeralFrom(pair as CryptoKeyPair)
}

/** An {@link Ephemeral} with keys that are given. */
export async function ephemeralFrom({ publicKey, privateKey }: CryptoKeyPair): Promise<Ephemeral> {
  const { subtle } = crypto
  return {
    publicKey: new Uint8Array(await subtle.exportKey('raw', publicKey)),
    async sharedWith(theirs) {
      const key = await subtle.importKey('raw', Uint8Array.from(theirs), { name: 'X25519' }, true, [])
      // Platforms refuse such keys themselves, or give zeros.
      const shared = await subtle.deriveBits({ name: 'X25519', public: key }, privateKey, 8 * KEY_BYTES).then(
        bits => new Uint8Array(bits),
        () => new Uint8Array(KEY_BYTES),
      )
      if (shared.every(byte => byte === 0))
        throw new HandshakeError("the other side's key is one that gives everybody the same shared key: refused")
      return shared
    },
  }
}
