/** Messages that arrived and were not taken yet: they wait for a handler, and tell how many bytes they are. */

/** What a message costs beside its bytes; keeps empty ones from being free. */
const OVERHEAD_BYTES = 64

/** What a message counts until it is taken, in bytes. */
export const untakenCost = (message: Uint8Array): number => message.byteLength + OVERHEAD_BYTES

export class Untaken {
  readonly #waiting: Uint8Array[] = []
  readonly #changed: (untakenBytes: number) => void
  readonly #failed: (reason: string) => void
  #handler: ((message: Uint8Array) => void | Promise<void>) | undefined
  #untakenBytes = 0

  /** `changed` hears of every message that comes or is taken, `failed` of a handler that throws or rejects. */
  constructor(changed: (untakenBytes: number) => void, failed: (reason: string) => void) {
    this.#changed = changed
    this.#failed = failed
  }

  push(message: Uint8Array): void {
    this.#count(untakenCost(message))
    if (this.#handler) this.#hand(message, this.#handler)
    else this.#waiting.push(message)
  }

  /** Takes what waits and all that comes, in order. */
  receive(handler: (message: Uint8Array) => void | Promise<void>): void {
    this.#handler = handler
    for (const message of this.#waiting.splice(0)) this.#hand(message, handler)
  }

  /** Forgets what waits, and whatever else comes. */
  discard(): void {
    this.#waiting.length = 0
    this.#handler = () => {}
  }

  #hand(message: Uint8Array, handler: (message: Uint8Array) => void | Promise<void>): void {
    // A handler may give the bytes away.
    const cost = untakenCost(message)
    const taken = (): void => this.#count(-cost)
    const failed = (error: Error): void => this.#failed(`a message could not be taken: ${error.message}`)
    try {
      const promise = handler(message)
      if (promise) promise.then(taken, failed)
      else taken()
    } catch (error) {
      failed(error as Error)
    }
  }

  #count(bytes: number): void {
    this.#untakenBytes += bytes
    this.#changed(this.#untakenBytes)
  }
}
