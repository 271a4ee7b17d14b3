/** What a shared secret does for messages that pass a broker: announcements carry a MAC, requests are sealed. */
import { base64url, fromBase64url } from '../bytes-as-text.js'
import { HandshakeError } from '../errors.js'
import type { Secret } from '../secret.js'
import { bytesOf, joined } from '../wire.js'

const NONCE_BYTES = 12
const TAG_BYTES = 16
const MAC_BYTES = 32

/** Keys of a group, derived from its secret. `purpose` keeps them apart: `announcement`, `request`, `model`. */
async function derived(secret: Secret, purpose: string, use: HmacImportParams | 'AES-GCM'): Promise<CryptoKey> {
  const bytes = secret.bytesForThread()
  const from = await crypto.subtle.importKey('raw', bytes as Uint8Array<ArrayBuffer>, 'HKDF', false, ['deriveKey'])
  bytes.fill(0)
  const hkdf = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info: utf8(`prismal nats 1 ${purpose}`) }
  return use === 'AES-GCM'
    ? crypto.subtle.deriveKey(hkdf, from, { name: use, length: 256 }, false, ['encrypt', 'decrypt'])
    : crypto.subtle.deriveKey(hkdf, from, { ...use, length: 256 }, false, ['sign', 'verify'])
}

/** HMAC-SHA-256 over a context and bytes. Without a secret there is none, and none is asked for. */
export interface Authenticator {
  /** base64url; undefined without a secret. */
  sign(bytes: Uint8Array): Promise<string | undefined>
  /** Why the bytes are not believed; undefined where they are. Compares in constant time. */
  whyNot(bytes: Uint8Array, mac: string | undefined): Promise<string | undefined>
}

export function authenticator(secret: Secret | undefined, purpose: string, context: string): Authenticator {
  if (!secret) return { sign: async () => undefined, whyNot: async () => undefined }
  const key = derived(secret, purpose, { name: 'HMAC', hash: 'SHA-256' })
  const covered = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => framed(context, bytes)
  return {
    async sign(bytes) {
      return base64url(new Uint8Array(await crypto.subtle.sign('HMAC', await key, covered(bytes))))
    },
    async whyNot(bytes, mac) {
      if (!mac) return 'it carries no MAC, and this side has a secret'
      const given = fromBase64url(mac)
      if (given?.length !== MAC_BYTES || !(await crypto.subtle.verify('HMAC', await key, given, covered(bytes))))
        return 'its MAC is not of this secret'
      return undefined
    },
  }
}

/** AES-256-GCM with a random nonce a message, bound to a context that both sides know. */
export interface Sealer {
  seal(context: string, bytes: Uint8Array): Promise<Uint8Array>
  /** Rejects with {@link HandshakeError} where it was sealed with another secret or for another place, or altered. */
  open(context: string, bytes: Uint8Array): Promise<Uint8Array>
}

/** Bytes that sealing adds. */
export const SEAL_BYTES = 1 + NONCE_BYTES + TAG_BYTES
const PLAIN = 0
const SEALED = 1

/** The first byte says whether a message is sealed, so that a side that lacks the secret is told so. */
export function sealer(secret: Secret | undefined, purpose: string): Sealer {
  const key = secret && derived(secret, purpose, 'AES-GCM')
  key?.catch(() => {}) // it is thrown where it is awaited
  return {
    async seal(context, bytes) {
      if (!key) return joined([Uint8Array.of(PLAIN), bytes])
      const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
      const gcm = { name: 'AES-GCM', iv, additionalData: utf8(context) }
      const sealed = new Uint8Array(await crypto.subtle.encrypt(gcm, await key, bytes as Uint8Array<ArrayBuffer>))
      return joined([Uint8Array.of(SEALED), iv, sealed])
    },
    async open(context, bytes) {
      const [kind] = bytes
      if (kind !== PLAIN && kind !== SEALED) throw new HandshakeError('that is not a message of prismal')
      if (!key && kind === SEALED) throw new HandshakeError('it is sealed with a secret, and this side has none')
      if (!key) return bytes.subarray(1)
      if (kind === PLAIN) throw new HandshakeError('it is not sealed, and this side has a secret')
      const iv = bytes.slice(1, 1 + NONCE_BYTES)
      const gcm = { name: 'AES-GCM', iv, additionalData: utf8(context) }
      return crypto.subtle
        .decrypt(gcm, await key, bytes.slice(1 + NONCE_BYTES) as Uint8Array<ArrayBuffer>)
        .then(opened => new Uint8Array(opened))
        .catch(cause => {
          throw new HandshakeError('it is sealed with another secret, or was altered', { cause })
        })
    },
  }
}

export const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)

/** The context's length before it, so that no two pairs give the same bytes. */
function framed(context: string, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = utf8(context)
  const length = new DataView(new ArrayBuffer(4))
  length.setUint32(0, head.length)
  return joined([bytesOf(length), head, bytes])
}
