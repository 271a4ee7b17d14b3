/** What a transport offers: connections that carry messages of bytes, in order. Implementations depend on this file only. */

export interface Connection {
  /** Longest message that it carries. */
  readonly maxMessageBytes: number
  /**
   * Hands a message over; messages arrive in order, whole. Resolves when the transport is ready for more. The bytes
   * belong to the transport afterwards. Rejects with `ConnectionError` once closed.
   */
  send(message: Uint8Array): Promise<void>
  /** Takes messages from now on; those that came before wait for it. Called once. */
  receive(handler: (message: Uint8Array) => void): void
  /** Ends it on both sides. Twice is harmless. */
  close(reason?: string): void
  /** Resolves with the reason once it is closed, by whichever side. */
  readonly closed: Promise<string>
}
