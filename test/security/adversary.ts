/** Somebody between two sides: sees what they send, and decides what arrives. */
import { type Connection, type HandshakeOptions, handshake, type ReliableConnection } from '@prismal/distribute'
import { memoryPair } from '@prismal/distribute/transports/memory'
import type { Side } from '../../packages/distribute/src/hello.js'

export type { Side }
export const other = (side: Side): Side => (side === 'dialer' ? 'listener' : 'dialer')

/** What arrives at the other side instead of a message: several, none, or the message itself for undefined. */
export type Rule = (message: Uint8Array, from: Side, number: number) => readonly Uint8Array[] | undefined

export class Adversary {
  /** The ends that the two sides hold. */
  readonly ends: Readonly<Record<Side, Connection>>
  /** All that was sent, by whom, in order. */
  readonly seen: { readonly from: Side; readonly message: Uint8Array }[] = []
  rule: Rule
  readonly #inner: Readonly<Record<Side, Connection>>

  /** `pairs` are connections of each side (first) with whoever is between (second). */
  constructor(
    rule: Rule = () => undefined,
    pairs: Readonly<Record<Side, readonly [Connection, Connection]>> = {
      dialer: memoryPair(),
      listener: memoryPair(),
    },
  ) {
    this.rule = rule
    this.ends = { dialer: pairs.dialer[0], listener: pairs.listener[0] }
    this.#inner = { dialer: pairs.dialer[1], listener: pairs.listener[1] }
    const counts = { dialer: 0, listener: 0 }
    for (const from of ['dialer', 'listener'] as const) {
      this.#inner[from].receive(message => {
        this.seen.push({ from, message: message.slice() })
        for (const passed of this.rule(message, from, counts[from]++) ?? [message]) this.inject(other(from), passed)
      })
      void this.#inner[from].closed.then(reason => this.#inner[other(from)].close(reason))
    }
  }

  /** Hands a message to a side, as if the other had sent it. */
  inject(to: Side, message: Uint8Array): void {
    // A side that has closed takes no more.
    this.#inner[to].send(message.slice()).catch(() => {})
  }

  sentBy(side: Side): Uint8Array[] {
    return this.seen.filter(({ from }) => from === side).map(({ message }) => message)
  }
}

export interface Met {
  readonly dialer: ReliableConnection
  readonly listener: ReliableConnection
}

/** Both sides' handshakes through somebody between them. */
export async function meet(between: Adversary, dialer: HandshakeOptions, listener = dialer): Promise<Met> {
  const { ends } = between
  const [a, b] = await Promise.all([
    handshake(ends.dialer, 'dialer', dialer),
    handshake(ends.listener, 'listener', listener),
  ])
  return { dialer: a, listener: b }
}

/** What both sides' handshakes end with: an error's message, or `agreed`. */
export async function outcomes(
  between: Adversary,
  dialer: HandshakeOptions,
  listener = dialer,
): Promise<Record<Side, string>> {
  const { ends } = between
  return {
    ...Object.fromEntries(
      await Promise.all(
        (['dialer', 'listener'] as const).map(async side => [
          side,
          await outcome(handshake(ends[side], side, side === 'dialer' ? dialer : listener)),
        ]),
      ),
    ),
  }
}

/** An error's code and message, or `agreed`. */
export const outcome = (meeting: Promise<ReliableConnection>): Promise<string> =>
  meeting.then(
    connection => {
      connection.close('test')
      return 'agreed'
    },
    error => `${error.code}: ${error.message}`,
  )

/** Takes messages of a connection as they come. */
export function collect(connection: Connection): { readonly got: Uint8Array[]; count(n: number): Promise<void> } {
  const got: Uint8Array[] = []
  let wanted: { n: number; resolve: () => void } | undefined
  connection.receive(message => {
    got.push(message)
    if (wanted && got.length >= wanted.n) wanted.resolve()
  })
  return {
    got,
    count: n =>
      new Promise(resolve => {
        if (got.length >= n) resolve()
        else wanted = { n, resolve }
      }),
  }
}

/** Whether bytes occur somewhere in others. */
export const contains = (all: Uint8Array, part: Uint8Array): boolean => Buffer.from(all).includes(Buffer.from(part))
