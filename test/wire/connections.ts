/** Connections to try the wire with: of any message length, watched, tampered with, sealed. */
import type { Connection, Seal } from '@prismal/distribute'

/** Called with each message that is sent, and what sends it on; may send none, others, or later. */
export type Tap = (message: Uint8Array, forward: (message: Uint8Array) => Promise<void>) => Promise<void> | void

/** A connection whose messages are no longer than `maxMessageBytes`, and go out through `tap`. */
export function tapped(connection: Connection, maxMessageBytes: number, tap?: Tap): Connection {
  const forward = (message: Uint8Array): Promise<void> => connection.send(message)
  return {
    maxMessageBytes,
    closed: connection.closed,
    async send(message) {
      if (message.length > maxMessageBytes)
        throw new Error(`${message.length} bytes were sent over a transport of ${maxMessageBytes}`)
      return tap ? tap(message, forward) : forward(message)
    },
    receive: handler => connection.receive(handler),
    close: reason => connection.close(reason),
  }
}

/** Taps that pass everything, but act on the `at`-th message. */
export const faults = {
  drop: at => nth(at, () => {}),
  repeat: at =>
    nth(at, (message, forward) => {
      void forward(message.slice())
      return forward(message)
    }),
  swap: at => {
    let held: Uint8Array | undefined
    return nth(
      at,
      message => {
        held = message
      },
      (message, forward) => {
        const late = held
        held = undefined
        const sent = forward(message)
        return late ? forward(late) : sent
      },
    )
  },
  cut: at => nth(at, (message, forward) => forward(message.subarray(0, message.length >> 1))),
} as const satisfies Record<string, (at: number) => Tap>

function nth(at: number, act: Tap, others: Tap = (message, forward) => forward(message)): Tap {
  let count = 0
  return (message, forward) => (count++ === at ? act(message, forward) : others(message, forward))
}

/** Two seals that fit: AES-GCM by a counter, with a key that is known. */
export async function sealPair(): Promise<[Seal, Seal]> {
  const raw = new Uint8Array(32).fill(7)
  const key = await crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt'])
  const seal = (out: number, incoming: number): Seal => {
    let sealed = 0
    let opened = 0
    return {
      overheadBytes: 16,
      async seal(header, body) {
        const iv = nonce(out, sealed++)
        return new Uint8Array(
          await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: own(header) }, key, own(body)),
        )
      },
      async open(header, body) {
        const iv = nonce(incoming, opened++)
        const parameters = { name: 'AES-GCM', iv, additionalData: own(header) }
        return crypto.subtle.decrypt(parameters, key, own(body)).then(
          bytes => new Uint8Array(bytes),
          () => {
            throw new Error('a packet was altered')
          },
        )
      },
    }
  }
  return [seal(0, 1), seal(1, 0)]
}

/** What WebCrypto's types ask for: bytes over memory that is not shared. */
const own = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => bytes as Uint8Array<ArrayBuffer>

function nonce(direction: number, count: number): Uint8Array<ArrayBuffer> {
  const iv = new Uint8Array(12)
  new DataView(iv.buffer).setUint32(0, direction)
  new DataView(iv.buffer).setUint32(8, count)
  return iv
}
