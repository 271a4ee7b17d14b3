/** Frames of one request that wait to be taken, from whichever device they come and whenever. */

export class Mailbox {
  readonly #arrived = new Map<string, Uint8Array>()
  readonly #waiting = new Map<string, { resolve: (data: Uint8Array) => void; reject: (error: Error) => void }>()
  #failure: Error | undefined

  /** Bytes for a layer from a device; `kind` tells means from handed-off rows. */
  deliver(kind: string, layer: number, from: number, data: Uint8Array): void {
    const key = `${kind}/${layer}/${from}`
    const waiting = this.#waiting.get(key)
    this.#waiting.delete(key)
    if (waiting) waiting.resolve(data)
    else this.#arrived.set(key, data)
  }

  /** Waits for them. Rejects once the request has failed. */
  async take(kind: string, layer: number, from: number): Promise<Uint8Array> {
    if (this.#failure) throw this.#failure
    const key = `${kind}/${layer}/${from}`
    const data = this.#arrived.get(key)
    this.#arrived.delete(key)
    return data ?? new Promise((resolve, reject) => this.#waiting.set(key, { resolve, reject }))
  }

  /** Ends all waiting, now and later, with this error. The first one counts. */
  fail(error: Error): void {
    this.#failure ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#failure)
    this.#waiting.clear()
  }
}
