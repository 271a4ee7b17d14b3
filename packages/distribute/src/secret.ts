/** The secret that devices share: 32 random bytes, made by `prismal secret`. */

/** Holds the bytes where nothing prints them: not `String()`, not JSON, not an inspector. */
export class Secret {
  /** 32 bytes from the platform's source of randomness. */
  static create(): Secret {
    throw new Error('to be built')
  }
  /** Reads what {@link Secret.reveal} gives. Throws `HandshakeError` where it is not, or where it looks typed rather than random. */
  static parse(_text: string): Secret {
    throw new Error('to be built')
  }
  /** As text, to be kept in a file that only its owner reads. */
  reveal(): string {
    throw new Error('to be built')
  }
}
