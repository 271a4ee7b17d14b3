/** Frames over a connection: numbered, checked, and a gap or a damaged frame closes it. */
import type { Connection } from './transport.js'
import { decodeFrame, encodeFrame, type Frame } from './wire.js'

export class Channel {
  readonly #connection: Connection
  #sent = 0
  #received = 0

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Sends a frame; a failure closes the connection, which is how the other side and `closed` learn of it. */
  send(frame: Frame): void {
    // One that cannot be encoded has no number, so that the next one is not taken for lost.
    const bytes = encodeFrame(frame, this.#sent)
    this.#sent = (this.#sent + 1) >>> 0
    this.#connection.send(bytes).catch((error: Error) => this.#connection.close(error.message))
  }

  /** Takes frames from now on. A frame that is none, or that the handler refuses by throwing, closes the connection; nothing follows it. */
  receive(handler: (frame: Frame) => void): void {
    let isOver = false
    this.#connection.receive(message => {
      if (isOver) return
      try {
        const frame = decodeFrame(message, this.#received)
        this.#received = (this.#received + 1) >>> 0
        handler(frame)
      } catch (error) {
        isOver = true
        this.#connection.close((error as Error).message)
      }
    })
  }

  get closed(): Promise<string> {
    return this.#connection.closed
  }
  close(reason?: string): void {
    this.#connection.close(reason)
  }
}
