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
    const bytes = encodeFrame(frame, this.#sent++)
    this.#connection.send(bytes).catch((error: Error) => this.#connection.close(error.message))
  }

  /** Takes frames from now on. A frame that is none, or that the handler refuses by throwing, closes the connection; nothing follows it. */
  receive(handler: (frame: Frame) => void): void {
    let isOver = false
    this.#connection.receive(message => {
      if (isOver) return
      try {
        handler(decodeFrame(message, this.#received++))
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
