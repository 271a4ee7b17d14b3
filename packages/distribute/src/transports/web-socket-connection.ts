/** Connections over an open web-socket: one of the package `ws`, or the platform's own. */
import type { WebSocket as WsSocket } from 'ws'
import { ConnectionError } from '../errors.js'
import type { Connection } from '../transport.js'
import { Inbox } from './inbox.js'

/** Longest message of a web-socket connection; a longer one closes it. */
export const MAX_MESSAGE_BYTES = 1 << 20
/** Milliseconds that the other side gets to answer a close, before the socket is ended without. */
const CLOSE_TIMEOUT_MS = 3_000
/** Bytes in the socket's buffer above which a send waits. */
const FULL_BYTES = 4 << 20
/** Bytes that may wait to be taken before reading pauses, and those below which it goes on. */
const PAUSE_BYTES = 4 << 20
const RESUME_BYTES = 1 << 20
/** The platform's sockets cannot pause: beyond this many bytes the connection ends. Far above what `reliable()` lets come. */
const FLOOD_BYTES = 64 << 20
const NORMAL = 1000
const TOO_LONG = 1009
/** Bytes of UTF-8 that a close frame carries as a reason. */
const MAX_REASON_BYTES = 123

/** What differs between the two kinds of sockets. */
interface Socket {
  send(message: Uint8Array): void
  /** Bytes that were sent and have not left yet. */
  bufferedBytes(): number
  /** Resolves once there is room, or rejects. Called while there is none. */
  drained(): Promise<void>
  close(code: number, reason: string): void
  /** Stops reading, or goes on, where the socket can. */
  pause(isPaused: boolean): void
  readonly canPause: boolean
}

/** The state that both kinds share: messages in, the reason of the end, senders that wait. */
class SocketConnection implements Connection {
  readonly maxMessageBytes = MAX_MESSAGE_BYTES
  readonly closed: Promise<string>
  readonly #socket: Socket
  readonly #inbox: Inbox
  readonly #waiting = new Set<(error: Error) => void>()
  #isPaused = false
  #reason: string | undefined
  #resolveClosed!: (reason: string) => void

  constructor(socket: Socket) {
    this.#socket = socket
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    this.#inbox = new Inbox(
      untakenBytes => this.#weigh(untakenBytes),
      reason => this.close(reason),
    )
  }

  async send(message: Uint8Array): Promise<void> {
    if (this.#reason !== undefined) throw this.#closedError()
    if (message.byteLength > MAX_MESSAGE_BYTES)
      throw new ConnectionError(`a message of ${message.byteLength} bytes is longer than ${MAX_MESSAGE_BYTES}`)
    this.#socket.send(message)
    if (this.#socket.bufferedBytes() <= FULL_BYTES) return
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
    this.#inbox.receive(handler)
  }

  close(reason = 'closed'): void {
    if (this.#reason !== undefined) return
    this.#inbox.discard()
    this.end(reason)
    this.#socket.pause(false)
    this.#socket.close(NORMAL, reason)
  }

  arrive(data: Uint8Array | undefined): void {
    if (this.#reason !== undefined) return
    if (!data) this.close('the other side sent text, not bytes')
    else if (data.byteLength > MAX_MESSAGE_BYTES) this.close(tooLong)
    else this.#inbox.push(data)
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
      this.#socket.pause(wants)
    }
    if (untakenBytes > FLOOD_BYTES && !this.#socket.canPause) this.close('the other side sends more than is taken')
  }
}

const tooLong = `a message longer than ${MAX_MESSAGE_BYTES} bytes came`

/** A connection over an open socket of the package `ws`. */
export function wsConnection(socket: WsSocket): Connection {
  let failure: Error | undefined
  let last: Promise<void> = Promise.resolve()
  const connection = new SocketConnection({
    send(message) {
      last = new Promise((resolve, reject) => {
        socket.send(message, { binary: true }, error => (error ? reject(error) : resolve()))
      })
      last.catch(() => {})
    },
    bufferedBytes: () => socket.bufferedAmount,
    drained: () => last,
    close: (code, reason) => closeSocket(socket, code, reason),
    pause: isPaused => (isPaused ? socket.pause() : socket.resume()),
    canPause: true,
  })
  socket.binaryType = 'nodebuffer'
  socket.on('message', (data, isBinary) => {
    const bytes = data as Buffer
    connection.arrive(isBinary ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : undefined)
  })
  socket.on('error', error => {
    failure = error
  })
  socket.on('close', (code, reason) => {
    const isTooLong = (failure as NodeJS.ErrnoException | undefined)?.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
    connection.end(isTooLong ? tooLong : closeReason(code, String(reason), failure?.message))
  })
  return connection
}

/** Closes a socket, and ends it where the other side does not answer in time. */
export function closeSocket(socket: WsSocket, code: number, reason: string): void {
  if (socket.readyState === socket.CLOSED) return
  socket.close(code, cutReason(reason))
  const timer = setTimeout(() => socket.terminate(), CLOSE_TIMEOUT_MS)
  socket.once('close', () => clearTimeout(timer))
}

/** A connection over an open socket of the platform. */
export function platformConnection(socket: WebSocket): Connection {
  const connection = new SocketConnection({
    send: message => socket.send(message as Uint8Array<ArrayBuffer>),
    bufferedBytes: () => socket.bufferedAmount,
    // The platform has no event for it.
    async drained() {
      while (socket.bufferedAmount > FULL_BYTES && socket.readyState === socket.OPEN)
        await new Promise(resolve => setTimeout(resolve, 1))
    },
    close: (code, reason) => socket.close(code, cutReason(reason)),
    pause: () => {},
    canPause: false,
  })
  socket.binaryType = 'arraybuffer'
  socket.addEventListener('message', ({ data }) =>
    connection.arrive(data instanceof ArrayBuffer ? new Uint8Array(data) : undefined),
  )
  socket.addEventListener('close', ({ code, reason }) => connection.end(closeReason(code, reason)))
  return connection
}

/** What a close says, in words where it only has a number. */
function closeReason(code: number, reason: string, failure?: string): string {
  if (reason !== '') return reason
  if (code === TOO_LONG) return 'the other side takes no messages as long as one that it got'
  if (code === 1006) return failure === undefined ? 'the connection broke' : `the connection broke: ${failure}`
  if (code === NORMAL || code === 1005) return 'closed'
  return `closed with code ${code}${failure === undefined ? '' : `: ${failure}`}`
}

/** As much of a reason as a close frame carries, in whole characters. */
function cutReason(reason: string): string {
  const bytes = new TextEncoder().encode(reason)
  if (bytes.byteLength <= MAX_REASON_BYTES) return new TextDecoder().decode(bytes)
  let end = MAX_REASON_BYTES - '…'.length * 3
  // Bytes 10xxxxxx go on with the character before.
  while (((bytes[end] as number) & 0xc0) === 0x80) end--
  return `${new TextDecoder().decode(bytes.subarray(0, end))}…`
}
