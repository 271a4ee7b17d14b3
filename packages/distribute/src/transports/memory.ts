/** @prismal/distribute/transports/memory: connections within one thread. */
import { ConnectionError } from '../errors.js'
import type { Connection } from '../transport.js'

export interface MemoryOptions {
  /** Runs a delivery some time later; default: as a microtask. A test or a simulation decides the order with it. */
  readonly schedule?: (deliver: () => void) => void
}

/** Two ends of a connection. */
export function memoryPair(options: MemoryOptions = {}): [Connection, Connection] {
  const { schedule = queueMicrotask } = options
  const a = new MemoryConnection(schedule)
  const b = new MemoryConnection(schedule)
  a.other = b
  b.other = a
  return [a, b]
}

class MemoryConnection implements Connection {
  readonly maxMessageBytes = Number.MAX_SAFE_INTEGER
  readonly closed: Promise<string>
  other!: MemoryConnection
  readonly #schedule: (deliver: () => void) => void
  readonly #waiting: Uint8Array[] = []
  #handler: ((message: Uint8Array) => void) | undefined
  #reason: string | undefined
  #resolveClosed!: (reason: string) => void

  constructor(schedule: (deliver: () => void) => void) {
    this.#schedule = schedule
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
  }

  async send(message: Uint8Array): Promise<void> {
    if (this.#reason !== undefined) throw new ConnectionError(`the connection is closed: ${this.#reason}`)
    const { other } = this
    other.#waiting.push(message)
    this.#schedule(() => other.#deliver())
  }

  receive(handler: (message: Uint8Array) => void): void {
    this.#handler = handler
    for (let n = this.#waiting.length; n > 0; n--) this.#schedule(() => this.#deliver())
  }

  close(reason = 'closed'): void {
    for (const end of [this, this.other]) {
      if (end.#reason !== undefined) continue
      end.#reason = reason
      end.#resolveClosed(reason)
    }
  }

  /** Whatever was scheduled when, the oldest message is delivered: order holds. */
  #deliver(): void {
    if (!this.#handler) return
    const message = this.#waiting.shift()
    if (message) this.#handler(message)
  }
}
