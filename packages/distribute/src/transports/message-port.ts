/** @prismal/distribute/transports/message-port: connections between threads, over MessagePorts. */
import { isWorkerd } from '@prismal/tensor'
import { ConnectionError } from '../errors.js'
import type { Connection } from '../transport.js'
import { Untaken, untakenCost } from './untaken.js'

/** A message is bytes, the number of bytes that were taken since the last such number, or the reason of a close. */
type PortMessage = Uint8Array | { readonly taken: number } | { readonly closed: string }

/** Bytes that were sent and not taken above which a send waits. */
const FULL_BYTES = 8 << 20
/** Bytes that are taken before the other side is told. */
const TELL_BYTES = 2 << 20

/** The other end of each port that {@link portPair} has made, for as long as the port itself is there. */
const ends = new WeakMap<MessagePort, MessagePort>()

/**
 * Two ports that are connected. Either keeps the other: workerd forgets one that nobody else holds, and with it whoever waits for what
 * would arrive there ("Promise will never complete").
 */
export function portPair(): readonly [MessagePort, MessagePort] {
  const { port1, port2 } = new MessageChannel()
  ends.set(port1, port2).set(port2, port1)
  return [port1, port2]
}

/** A connection over one end of a MessageChannel. Closing it closes the port; a thread that ends closes its ports. */
export function portConnection(port: MessagePort): Connection {
  // There ports only copy; elsewhere a message's bytes are given away.
  const copies = isWorkerd()
  let reason: string | undefined
  let untakenThere = 0
  let takenBytes = 0
  let untakenBytes = 0
  const senders: (() => void)[] = []
  let resolveClosed: (reason: string) => void
  const closed = new Promise<string>(resolve => {
    resolveClosed = resolve
  })
  const wake = (): void => {
    for (const resume of senders.splice(0)) resume()
  }
  const end = (why: string): void => {
    if (reason !== undefined) return
    reason = why
    port.close()
    resolveClosed(why)
    wake()
  }
  const close = (why = 'closed'): void => {
    if (reason !== undefined) return
    port.postMessage({ closed: why } satisfies PortMessage)
    end(why)
  }
  const closedError = (): ConnectionError => new ConnectionError(`the connection is closed: ${reason}`)
  const untaken = new Untaken(bytes => {
    if (bytes < untakenBytes) takenBytes += untakenBytes - bytes
    untakenBytes = bytes
    if (takenBytes < TELL_BYTES || reason !== undefined) return
    port.postMessage({ taken: takenBytes } satisfies PortMessage)
    takenBytes = 0
  }, close)
  port.addEventListener('message', event => {
    const message = (event as MessageEvent<PortMessage>).data
    if (message instanceof Uint8Array) untaken.push(message)
    else if (typeof message !== 'object' || message === null) end('the other side sent something else than bytes')
    else if ('closed' in message) end(String(message.closed))
    else if ('taken' in message && Number.isSafeInteger(message.taken)) {
      untakenThere -= message.taken
      if (untakenThere <= FULL_BYTES) wake()
    } else end('the other side sent something else than bytes')
  })
  port.addEventListener('messageerror', () => end('a message could not be read'))
  // Node and newer browsers tell when the other side is gone.
  port.addEventListener('close', () => end('the other side is gone'))
  port.start()
  return {
    maxMessageBytes: Number.MAX_SAFE_INTEGER,
    closed,
    async send(message) {
      if (reason !== undefined) throw closedError()
      const isWhole = message.byteOffset === 0 && message.byteLength === message.buffer.byteLength
      untakenThere += untakenCost(message)
      // A view's whole buffer would be copied: its own bytes are, and go over without another copy.
      const bytes = isWhole ? message : new Uint8Array(message)
      port.postMessage(bytes, copies ? [] : [bytes.buffer as ArrayBuffer])
      if (untakenThere <= FULL_BYTES) return
      await new Promise<void>(resolve => senders.push(resolve))
      if (reason !== undefined) throw closedError()
    },
    receive: handler => untaken.receive(handler),
    close,
  }
}
