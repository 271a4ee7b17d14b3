/** Connections over an open web-socket: one of the package `ws`, or the platform's own. */
import type { WebSocket as WsSocket } from 'ws'
import type { Connection } from '../transport.js'
import { SocketConnection, tooLong } from './socket-connection.js'

/** Longest message of a web-socket connection; a longer one closes it. */
export const MAX_MESSAGE_BYTES = 1 << 20
/** Milliseconds that the other side gets to answer a close, before the socket is ended without. */
const CLOSE_TIMEOUT_MS = 3_000
/** Bytes in the socket's buffer above which a send waits. */
const FULL_BYTES = 4 << 20
const NORMAL = 1000
const TOO_LONG = 1009
/** Bytes of UTF-8 that a close frame carries as a reason. */
const MAX_REASON_BYTES = 123

/** A connection over an open socket of the package `ws`. */
export function wsConnection(socket: WsSocket): Connection {
  let failure: Error | undefined
  let last: Promise<void> = Promise.resolve()
  const connection = new SocketConnection({
    maxMessageBytes: MAX_MESSAGE_BYTES,
    fullBytes: FULL_BYTES,
    send(message) {
      last = new Promise((resolve, reject) => {
        socket.send(message, { binary: true }, error => (error ? reject(error) : resolve()))
      })
      last.catch(() => {})
    },
    bufferedBytes: () => socket.bufferedAmount,
    drained: () => last,
    close: reason => closeSocket(socket, NORMAL, reason),
    pause: isPaused => (isPaused ? socket.pause() : socket.resume()),
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
    connection.end(isTooLong ? tooLong(MAX_MESSAGE_BYTES) : closeReason(code, String(reason), failure?.message))
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
    maxMessageBytes: MAX_MESSAGE_BYTES,
    fullBytes: FULL_BYTES,
    send: message => socket.send(message as Uint8Array<ArrayBuffer>),
    bufferedBytes: () => socket.bufferedAmount,
    // The platform has no event for it.
    async drained() {
      while (socket.bufferedAmount > FULL_BYTES && socket.readyState === socket.OPEN)
        await new Promise(resolve => setTimeout(resolve, 1))
    },
    close: reason => socket.close(NORMAL, cutReason(reason)),
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
