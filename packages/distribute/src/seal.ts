/** What a connection's keys do: seal what goes out and open what comes in, each in order. */

export interface Seal {
  /** Bytes that sealing adds to a body. */
  readonly overheadBytes: number
  /**
   * Encrypts and authenticates `body`, and authenticates `header`, which travels in the clear. Each call uses the next
   * counter: calls are sealed in the order in which they are made.
   */
  seal(header: Uint8Array, body: Uint8Array): Promise<Uint8Array>
  /**
   * The inverse, for bodies in the order in which they were sealed. Rejects with `ConnectionError` where one was altered, injected,
   * dropped, repeated or belongs to another connection.
   */
  open(header: Uint8Array, sealed: Uint8Array): Promise<Uint8Array>
}
