/** Frames of one request that wait to be taken, from whichever device they come and whenever. */
import { ConnectionError } from './errors.js'

export class Mailbox {
  readonly #arrived = new Map<string, Uint8Array>()
  readonly #waiting = new Map<string, { resolve: (data: Uint8Array) => void; reject: (error: Error) => void }>()
  #failure: Error | undefined

  /** Drops what came from a device and was not taken. True where nothing else is left. */
  forget(from: number): boolean {
    for (const key of this.#arrived.keys()) if (key.endsWith(`/${from}`)) this.#arrived.delete(key)
    return this.#arrived.size === 0 && this.#waiting.size === 0
  }

  /**
   * Bytes for a layer from a device; `kind` tells means from handed-off rows. Throws {@link ConnectionError} where they came before
   * and wait.
   */
  deliver(kind: string, layer: number, from: number, data: Uint8Array): void {
    const key = `${kind}/${layer}/${from}`
    const waiting = this.#waiting.get(key)
    this.#waiting.delete(key)
    if (waiting) waiting.resolve(data)
    else if (this.#arrived.has(key))
      throw new ConnectionError(`${kind} of layer ${layer} came twice from device ${from}`)
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
