/** @prismal/distribute/transports/message-port: connections between threads, over MessagePorts. */
import { ConnectionError } from '../errors.js'
import type { Connection } from '../transport.js'

/** A message is bytes, or the reason of a close. */
type PortMessage = Uint8Array | { readonly closed: string }

/** A connection over one end of a MessageChannel. Closing it closes the port; a thread that ends closes its ports. */
export function portConnection(port: MessagePort): Connection {
  const early: Uint8Array[] = []
  let handler: ((message: Uint8Array) => void) | undefined
  let reason: string | undefined
  let resolveClosed: (reason: string) => void
  const closed = new Promise<string>(resolve => {
    resolveClosed = resolve
  })
  const end = (why: string): void => {
    if (reason !== undefined) return
    reason = why
    port.close()
    resolveClosed(why)
  }
  port.addEventListener('message', event => {
    const message = (event as MessageEvent<PortMessage>).data
    if (!(message instanceof Uint8Array))
      end(String(message?.closed ?? 'the other side sent something else than bytes'))
    else if (handler) handler(message)
    else early.push(message)
  })
  port.addEventListener('messageerror', () => end('a message could not be read'))
  // Node and newer browsers tell when the other side is gone.
  port.addEventListener('close', () => end('the other side is gone'))
  port.start()
  return {
    maxMessageBytes: Number.MAX_SAFE_INTEGER,
    closed,
    async send(message) {
      if (reason !== undefined) throw new ConnectionError(`the connection is closed: ${reason}`)
      const isWhole = message.byteOffset === 0 && message.byteLength === message.buffer.byteLength
      port.postMessage(message, isWhole ? [message.buffer as ArrayBuffer] : [])
    },
    receive(take) {
      handler = take
      for (const message of early.splice(0)) take(message)
    },
    close(why = 'closed') {
      if (reason !== undefined) return
      port.postMessage({ closed: why } satisfies PortMessage)
      end(why)
    },
  }
}
