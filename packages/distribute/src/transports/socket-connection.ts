/** What connections over sockets have in common: messages in, the reason of the end, senders that wait. */
import { ConnectionError } from '../errors.js'
import type { Connection } from '../transport.js'
import { Untaken } from './untaken.js'

/** Bytes that may wait to be taken before reading pauses, and those below which it goes on. */
const PAUSE_BYTES = 4 << 20
const RESUME_BYTES = 1 << 20
/** Where reading cannot pause, the connection ends beyond this many bytes. Far above what `reliable()` lets come. */
const FLOOD_BYTES = 64 << 20

/** What differs between kinds of sockets. */
export interface Socket {
  /** Longest message that it carries, in bytes. */
  readonly maxMessageBytes: number
  /** Bytes on their way out above which a send waits. */
  readonly fullBytes: number
  send(message: Uint8Array): void
  /** Bytes that were sent and have not left yet. */
  bufferedBytes(): number
  /** Resolves once there is room, or rejects. Called while there is none. */
  drained(): Promise<void>
  /** Ends both sides and tells the other one why. */
  close(reason: string): void
  /** Stops reading, or goes on, where it can. */
  pause?(isPaused: boolean): void
}

export class SocketConnection implements Connection {
  readonly maxMessageBytes: number
  readonly closed: Promise<string>
  readonly #socket: Socket
  readonly #untaken: Untaken
  readonly #waiting = new Set<(error: Error) => void>()
  #isPaused = false
  #reason: string | undefined
  #resolveClosed!: (reason: string) => void

  constructor(socket: Socket) {
    this.#socket = socket
    this.maxMessageBytes = socket.maxMessageBytes
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    this.#untaken = new Untaken(
      untakenBytes => this.#weigh(untakenBytes),
      reason => this.close(reason),
    )
  }

  async send(message: Uint8Array): Promise<void> {
    if (this.#reason !== undefined) throw this.#closedError()
    if (message.byteLength > this.maxMessageBytes)
      throw new ConnectionError(`a message of ${message.byteLength} bytes is longer than ${this.maxMessageBytes}`)
    try {
      this.#socket.send(message)
    } catch {
      throw this.#closedError()
    }
    if (this.#socket.bufferedBytes() <= this.#socket.fullBytes) return
    let end!: (error: Error) => void
    const ended = new Promise<never>((_, reject) => {
      end = reject
      this.#waiting.add(end)
    })
    try {
      await Promise.race([this.#socket.drained(), ended])
    } catch {
      throw this.#closedError()
    } finally {
      this.#waiting.delete(end)
    }
  }

  receive(handler: (message: Uint8Array) => void | Promise<void>): void {
    this.#untaken.receive(handler)
  }

  close(reason = 'closed'): void {
    if (this.#reason !== undefined) return
    this.#untaken.discard()
    this.end(reason)
    this.#socket.pause?.(false)
    this.#socket.close(reason)
  }

  /** A message came; `undefined` stands for text. */
  arrive(data: Uint8Array | undefined): void {
    if (this.#reason !== undefined) return
    if (!data) this.close('the other side sent text, not bytes')
    else if (data.byteLength > this.maxMessageBytes) this.close(tooLong(this.maxMessageBytes))
    else this.#untaken.push(data)
  }

  /** What ended it, whichever side: the first reason counts. */
  end(reason: string): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#resolveClosed(reason)
    for (const end of this.#waiting) end(this.#closedError())
  }

  #closedError(): ConnectionError {
    return new ConnectionError(`the connection is closed: ${this.#reason ?? 'it broke'}`)
  }

  #weigh(untakenBytes: number): void {
    const wants = this.#isPaused ? untakenBytes > RESUME_BYTES : untakenBytes > PAUSE_BYTES
    if (wants !== this.#isPaused && this.#reason === undefined) {
      this.#isPaused = wants
      this.#socket.pause?.(wants)
    }
    if (untakenBytes > FLOOD_BYTES && !this.#socket.pause) this.close('the other side sends more than is taken')
  }
}

export const tooLong = (maxMessageBytes: number): string => `a message longer than ${maxMessageBytes} bytes came`
