/** @prismal/distribute/transports/memory: connections within one thread. */
import { ConnectionError } from '../errors.js'
import type { Connection } from '../transport.js'

/** Bytes that were sent and not taken above which a send waits. */
const FULL_BYTES = 8 << 20

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
  /** Senders of the other end that wait for this one to take some. */
  readonly #senders: (() => void)[] = []
  #untakenBytes = 0
  #handler: ((message: Uint8Array) => void | Promise<void>) | undefined
  #reason: string | undefined
  #resolveClosed!: (reason: string) => void

  constructor(schedule: (deliver: () => void) => void) {
    this.#schedule = schedule
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
  }

  async send(message: Uint8Array): Promise<void> {
    if (this.#reason !== undefined) throw this.#closedError()
    const { other } = this
    other.#waiting.push(message)
    other.#untakenBytes += message.byteLength
    this.#schedule(() => other.#deliver())
    if (other.#untakenBytes <= FULL_BYTES) return
    await new Promise<void>(resolve => other.#senders.push(resolve))
    if (this.#reason !== undefined) throw this.#closedError()
  }

  receive(handler: (message: Uint8Array) => void | Promise<void>): void {
    this.#handler = handler
    for (let n = this.#waiting.length; n > 0; n--) this.#schedule(() => this.#deliver())
  }

  close(reason = 'closed'): void {
    for (const end of [this, this.other]) {
      if (end.#reason !== undefined) continue
      end.#reason = reason
      end.#resolveClosed(reason)
      end.#wake()
    }
  }

  /** Whatever was scheduled when, the oldest message is delivered: order holds. */
  #deliver(): void {
    if (!this.#handler) return
    const message = this.#waiting.shift()
    if (!message) return
    const bytes = message.byteLength
    const taken = (): void => {
      this.#untakenBytes -= bytes
      if (this.#untakenBytes <= FULL_BYTES) this.#wake()
    }
    const refused = (error: Error): void => this.close(`a message could not be taken: ${error.message}`)
    try {
      const taking = this.#handler(message)
      if (taking) taking.then(taken, refused)
      else taken()
    } catch (error) {
      refused(error as Error)
    }
  }

  #wake(): void {
    for (const resume of this.#senders.splice(0)) resume()
  }

  #closedError(): ConnectionError {
    return new ConnectionError(`the connection is closed: ${this.#reason}`)
  }
}
