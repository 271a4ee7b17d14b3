/** Frames over a connection: numbered, checked, and a gap or a damaged frame closes it. */
import type { ConnectionError } from './errors.js'
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

  receive(handler: (frame: Frame) => void): void {
    this.#connection.receive(message => {
      let frame: Frame
      try {
        frame = decodeFrame(message, this.#received++)
      } catch (error) {
        this.#connection.close((error as ConnectionError).message)
        return
      }
      handler(frame)
    })
  }

  get closed(): Promise<string> {
    return this.#connection.closed
  }
  close(reason?: string): void {
    this.#connection.close(reason)
  }
}
