/** @prismal/distribute/transports/memory: connections within one thread. */
import { ConnectionError } from '../errors.js'
import type { Connection } from '../transport.js'
import { Untaken, untakenCost } from './untaken.js'

/** Bytes that were sent and not taken above which a send waits. */
const FULL_BYTES = 8 << 20

export interface MemoryOptions {
  /** Runs a delivery some time later; default: as a microtask. A test or a simulation decides the order with it. */
  readonly schedule?: (deliver: () => void) => void
}

/** Two ends of a connection. */
export function memoryPair(options: MemoryOptions = {}): [Connection, Connection] {
  const { schedule = task => queueMicrotask(task) } = options
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
  /** Sent by the other end and not delivered yet. */
  readonly #arriving: Uint8Array[] = []
  readonly #untaken: Untaken
  #untakenBytes = 0
  /** Bytes that the other end has not taken yet, and sends that wait for it. */
  #untakenThere = 0
  readonly #senders: (() => void)[] = []
  #reason: string | undefined
  #resolveClosed!: (reason: string) => void

  constructor(schedule: (deliver: () => void) => void) {
    this.#schedule = schedule
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    this.#untaken = new Untaken(
      bytes => {
        const takenBytes = this.#untakenBytes - bytes
        this.#untakenBytes = bytes
        if (takenBytes > 0) this.other.#taken(takenBytes)
      },
      reason => this.close(reason),
    )
  }

  async send(message: Uint8Array): Promise<void> {
    if (this.#reason !== undefined) throw this.#closedError()
    const { other } = this
    this.#untakenThere += untakenCost(message)
    other.#arriving.push(message)
    this.#schedule(() => other.#deliver())
    if (this.#untakenThere <= FULL_BYTES) return
    await new Promise<void>(resolve => this.#senders.push(resolve))
    if (this.#reason !== undefined) throw this.#closedError()
  }

  receive(handler: (message: Uint8Array) => void | Promise<void>): void {
    this.#untaken.receive(handler)
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
    const message = this.#arriving.shift()
    if (message) this.#untaken.push(message)
  }

  #taken(bytes: number): void {
    this.#untakenThere -= bytes
    if (this.#untakenThere <= FULL_BYTES) this.#wake()
  }

  #wake(): void {
    for (const resume of this.#senders.splice(0)) resume()
  }

  #closedError(): ConnectionError {
    return new ConnectionError(`the connection is closed: ${this.#reason}`)
  }
}
