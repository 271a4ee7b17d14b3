/**
 * Sealing of packets: AES-256-GCM with a counter, a key for each direction, another one from time to time.
 *
 *     nonce  = the epoch's 12 bytes, the last 8 of them exclusive-or the packet's number from 0, u64 little-endian
 *     sealed = AES-256-GCM(key, nonce, additional data: header, body) = ciphertext [body] ‖ tag [16]
 *
 * The number does not travel: the receiver counts too. A packet that was altered, left out, repeated, moved or taken from another
 * connection therefore does not open, and neither does any after it.
 *
 * A key is used for 2²⁴ packets or 2³⁶ bytes (then an attacker's advantage is still below 2⁻⁶⁰), after which both sides go on to
 * the next epoch's key and forget the former, without a message.
 */
import { ConnectionError } from './errors.js'
import { type EpochKeys, epochOf } from './key-schedule.js'
import type { Seal } from './seal.js'

type Bytes = Uint8Array<ArrayBuffer>

export const TAG_BYTES = 16

/** AES-256-GCM with keys of one epoch. */
export interface Cipher {
  seal(nonce: Bytes, header: Uint8Array, body: Uint8Array): Uint8Array | Promise<Uint8Array>
  /** Throws or rejects where the tag does not fit. `sealed` has at least {@link TAG_BYTES}. */
  open(nonce: Bytes, header: Uint8Array, sealed: Uint8Array): Uint8Array | Promise<Uint8Array>
}

export type MakeCipher = (key: Bytes) => Cipher | Promise<Cipher>

export interface AesGcmOptions {
  /** Traffic secrets, 32 bytes each: of what this side sends, and of what it gets. */
  readonly sending: Bytes
  readonly receiving: Bytes
  /** Default: the platform's synchronous cipher where it has one (Node), else WebCrypto. Their bytes are the same. */
  readonly cipher?: MakeCipher
  /** Packets of one key; default 2²⁴. Both sides must agree. */
  readonly packetsPerKey?: number
  /** Bytes sealed after which a key is not used again; default 2³⁶. Both sides must agree. */
  readonly bytesPerKey?: number
  /** Number of the first packet either way; default 0. Both sides must agree. */
  readonly firstNumber?: number
}

/** A connection's seal. Resolves once its first keys are there. */
export async function aesGcm(options: AesGcmOptions): Promise<Seal> {
  const {
    cipher = syncCipher() ?? webCipher,
    packetsPerKey = 2 ** 24,
    bytesPerKey = 2 ** 36,
    firstNumber = 0,
  } = options
  const limits = { packets: packetsPerKey, bytes: bytesPerKey }
  const [out, into] = await Promise.all(
    [options.sending, options.receiving].map(
      async secret => new Direction(await Epoch.of(secret, cipher), limits, firstNumber),
    ),
  )
  return {
    overheadBytes: TAG_BYTES,
    seal: (header, body) => (out as Direction).run('seal', header, body, body.length),
    open: (header, sealed) => (into as Direction).run('open', header, sealed, sealed.length - TAG_BYTES),
  }
}

/** Keys as they are used, and how to get the next. */
class Epoch {
  readonly #keys: EpochKeys
  readonly #make: MakeCipher
  readonly cipher: Cipher

  private constructor(keys: EpochKeys, make: MakeCipher, cipher: Cipher) {
    this.#keys = keys
    this.#make = make
    this.cipher = cipher
  }

  static async of(trafficSecret: Bytes, make: MakeCipher): Promise<Epoch> {
    const keys = await epochOf(trafficSecret)
    return new Epoch(keys, make, await make(keys.key))
  }

  next(): Promise<Epoch> {
    return Epoch.of(this.#keys.next, this.#make)
  }

  nonce(number: number): Bytes {
    const nonce = this.#keys.nonce.slice()
    const view = new DataView(nonce.buffer)
    view.setUint32(4, view.getUint32(4, true) ^ (number % 2 ** 32), true)
    view.setUint32(8, view.getUint32(8, true) ^ Math.floor(number / 2 ** 32), true)
    return nonce
  }
}

/** What goes one way: numbers its packets, changes keys, keeps the order. */
class Direction {
  readonly #limits: { readonly packets: number; readonly bytes: number }
  #epoch: Epoch | Promise<Epoch>
  #number: number
  #packetsOfKey = 0
  #bytesOfKey = 0
  /** Settles with the packet before: results come in the order of the calls, and after a failure there are none. */
  #last: Promise<unknown> = Promise.resolve()
  #failure: ConnectionError | undefined

  constructor(epoch: Epoch, limits: { readonly packets: number; readonly bytes: number }, firstNumber: number) {
    this.#number = firstNumber
    this.#epoch = epoch
    this.#limits = limits
  }

  /** Number and key are taken before it returns. */
  run(call: 'seal' | 'open', header: Uint8Array, bytes: Uint8Array, bodyBytes: number): Promise<Uint8Array> {
    if (this.#failure) return Promise.reject(this.#failure)
    const number = this.#number++
    if (this.#packetsOfKey >= this.#limits.packets || this.#bytesOfKey >= this.#limits.bytes) this.#change()
    this.#packetsOfKey++
    this.#bytesOfKey += bodyBytes
    const work =
      this.#epoch instanceof Promise
        ? later(this.#epoch, number, call, header.slice(), bytes.slice())
        : attempt(this.#epoch, number, call, header, bytes)
    // Whichever fails first is reported; the other is nobody's concern.
    work.catch(() => {})
    const result = this.#last
      .then(() => work)
      .catch(cause => {
        this.#failure ??= new ConnectionError(
          call === 'seal'
            ? `packet ${number} could not be sealed`
            : `packet ${number} does not open: it or one before it was altered, injected, dropped, repeated or of another connection`,
          { cause },
        )
        throw this.#failure
      })
    this.#last = result
    result.catch(() => {})
    return result
  }

  #change(): void {
    const epoch = Promise.resolve(this.#epoch).then(old => old.next())
    this.#epoch = epoch
    this.#packetsOfKey = 0
    this.#bytesOfKey = 0
    epoch.then(
      ready => {
        if (this.#epoch === epoch) this.#epoch = ready
      },
      () => {},
    )
  }
}

const later = async (epoch: Promise<Epoch>, number: number, call: 'seal' | 'open', header: Bytes, bytes: Bytes) =>
  attempt(await epoch, number, call, header, bytes)

/** Async, so that what a synchronous cipher throws is a rejection too. */
async function attempt(
  epoch: Epoch,
  number: number,
  call: 'seal' | 'open',
  header: Uint8Array,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  if (!Number.isSafeInteger(number + 1)) throw new ConnectionError('the connection has sealed 2⁵³ packets, the most')
  if (call === 'open' && bytes.length < TAG_BYTES)
    throw new ConnectionError(`a sealed packet has at least ${TAG_BYTES} bytes, this one ${bytes.length}`)
  return epoch.cipher[call](epoch.nonce(number), header, bytes)
}

/** Runs everywhere; each call goes through the platform's thread pool. */
export const webCipher: MakeCipher = async raw => {
  const { subtle } = crypto
  const key = await subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt'])
  const parameters = (iv: Bytes, header: Uint8Array) => ({ name: 'AES-GCM', iv, additionalData: header as Bytes })
  return {
    seal: async (nonce, header, body) =>
      new Uint8Array(await subtle.encrypt(parameters(nonce, header), key, body as Bytes)),
    open: async (nonce, header, sealed) =>
      new Uint8Array(await subtle.decrypt(parameters(nonce, header), key, sealed as Bytes)),
  }
}

/**
 * Node's cipher in the calling thread, which saves the way through the thread pool (about 45 µs a packet of 34 kB, where
 * the cipher itself takes 7); undefined where the platform has none.
 */
export function syncCipher(): MakeCipher | undefined {
  const node = globalThis.process?.getBuiltinModule?.('node:crypto')
  if (!node?.createCipheriv) return undefined
  return raw => {
    // Half the time of a packet of 34 kB is gone where the key comes as bytes each time (Node 24).
    const key = node.createSecretKey(raw)
    return {
      seal(nonce, header, body) {
        const cipher = node.createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
        cipher.setAAD(header)
        const sealed = new Uint8Array(body.length + TAG_BYTES)
        sealed.set(cipher.update(body))
        cipher.final()
        sealed.set(cipher.getAuthTag(), body.length)
        return sealed
      },
      open(nonce, header, sealed) {
        const end = sealed.length - TAG_BYTES
        const decipher = node.createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
        decipher.setAAD(header)
        decipher.setAuthTag(sealed.subarray(end))
        const body = decipher.update(sealed.subarray(0, end))
        decipher.final()
        return new Uint8Array(body.buffer, body.byteOffset, body.byteLength)
      },
    }
  }
}
