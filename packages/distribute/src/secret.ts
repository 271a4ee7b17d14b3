/** The secret that devices share: 32 random bytes, made by `prismal secret`. */
import { base64url, fromBase64url } from './bytes-as-text.js'
import { HandshakeError } from './errors.js'

export const SECRET_BYTES = 32
const PREFIX = 'prismal-secret-1.'
const CHECKSUM_BYTES = 4
/** Bytes of a secret and its checksum in base64url: 36 bytes are 48 letters, with none left over. */
const LETTERS = 48
/** Of 32 random bytes fewer than this are distinct once in 10¹³ secrets. */
const LEAST_DISTINCT = 18

/** Holds the bytes where nothing prints them: not `String()`, not JSON, not an inspector. */
export class Secret {
  readonly #bytes: Uint8Array

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** 32 bytes from the platform's source of randomness. */
  static create(): Secret {
    for (;;) {
      const bytes = crypto.getRandomValues(new Uint8Array(SECRET_BYTES))
      if (whyNotRandom(bytes) === undefined) return new Secret(bytes)
    }
  }

  /**
   * Reads what {@link Secret.reveal} gives; white space around it is skipped. Throws `HandshakeError` where it is not, or where it looks
   * typed rather than random. The message never repeats the text.
   */
  static parse(text: string): Secret {
    const letters = text.trim()
    if (!letters.startsWith(PREFIX))
      throw new HandshakeError(`a secret begins with ${PREFIX}; this text does not: ${MAKE_ONE}`)
    const body = letters.slice(PREFIX.length)
    if (body.length !== LETTERS)
      throw new HandshakeError(
        `a secret has ${LETTERS} letters after ${PREFIX}, this one ${body.length}: copy it whole, or ${MAKE_ONE}`,
      )
    const bytes = fromBase64url(body)
    if (!bytes)
      throw new HandshakeError(`a secret has the letters A–Z, a–z, 0–9, - and _ only, this one others: ${MAKE_ONE}`)
    const secret = bytes.subarray(0, SECRET_BYTES)
    const found = new DataView(bytes.buffer).getUint32(SECRET_BYTES)
    if (found !== checksum(secret))
      throw new HandshakeError(`the secret's checksum does not fit: a letter of it was changed; copy it again`)
    return Secret.fromBytes(secret)
  }

  /**
   * A secret from the bytes that {@link Secret.bytesForThread} gave, which are copied. Throws `HandshakeError` where they are not 32, or
   * look typed rather than random.
   */
  static fromBytes(bytes: Uint8Array): Secret {
    if (bytes.length !== SECRET_BYTES)
      throw new HandshakeError(`a secret has ${SECRET_BYTES} bytes, this one ${bytes.length}: ${MAKE_ONE}`)
    const reason = whyNotRandom(bytes)
    if (reason) throw new HandshakeError(`this secret is not random: ${reason}; ${MAKE_ONE}`)
    return new Secret(bytes.slice())
  }

  /** As text, to be kept in a file that only its owner reads. */
  reveal(): string {
    const bytes = new Uint8Array(SECRET_BYTES + CHECKSUM_BYTES)
    bytes.set(this.#bytes)
    new DataView(bytes.buffer).setUint32(SECRET_BYTES, checksum(this.#bytes))
    return PREFIX + base64url(bytes)
  }

  /** A copy of the bytes, to be posted to another thread of this process ({@link Secret.fromBytes} takes them there) and nowhere else. */
  bytesForThread(): Uint8Array {
    return this.#bytes.slice()
  }

  toString(): string {
    return '[secret]'
  }
  toJSON(): string {
    return '[secret]'
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[secret]'
  }
}

const MAKE_ONE = '`prismal secret` makes one'

/** Why bytes cannot have come from a source of randomness; undefined where they can. */
function whyNotRandom(bytes: Uint8Array): string | undefined {
  const distinct = new Set(bytes).size
  if (distinct < LEAST_DISTINCT) return `only ${distinct} of its ${bytes.length} bytes are distinct`
  if (bytes.every(byte => byte >= 0x20 && byte < 0x7f)) return 'its bytes are text'
  return undefined
}

/** CRC-32 of the prefix and the bytes: finds letters that were changed, and tells nothing that the text does not. */
function checksum(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of [...new TextEncoder().encode(PREFIX), ...bytes]) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}
