/**
 * Who is there: protocol versions, proof of the secret, and the connection's keys.
 *
 *     dialer                                       listener
 *     hello: versions, nonce, X25519 key   →
 *                                          ←       hello: versions, nonce, X25519 key
 *     proof                                →  ←    proof                                  with a secret only
 *
 * Both sides have said all they say before either judges the other's proof, so both learn that the secrets differ, and neither
 * learns more: a proof is a MAC under a key that follows from 32 random bytes (key-schedule.ts says what protects from what).
 * Until the proof has been checked, messages are short, what is kept of others is bounded, and so is the time.
 */
import { aesGcm } from './aes-gcm.js'
import { HandshakeError } from './errors.js'
import {
  decodeHello,
  decodeProof,
  encodeHello,
  encodeProof,
  type Hello,
  KEY_BYTES,
  otherSide,
  type Side,
} from './hello.js'
import { type Ephemeral, ephemeral, isProofOf, proofOf, sessionOf, transcriptOf } from './key-schedule.js'
import { type ReliableConnection, type ReliableOptions, reliable } from './reliable.js'
import type { Seal } from './seal.js'
import type { Secret } from './secret.js'
import type { Connection } from './transport.js'
import { PROTOCOL_VERSION } from './wire.js'

export interface HandshakeOptions extends Omit<ReliableOptions, 'seal'> {
  /** Shared by all devices; without one nothing is encrypted, and a side that has one refuses the other. */
  readonly secret?: Secret
  /** Most milliseconds that the handshake may take; default 10,000. */
  readonly handshakeMs?: number
  /** Protocol versions that are offered, 1 to 255 of them; the highest that both offer is spoken. Default: all that this build speaks. */
  readonly versions?: readonly number[]
}

/**
 * Agrees with the other side and gives the connection on which both then speak: reliable, and with a secret encrypted. Rejects with
 * `HandshakeError`, having closed the connection.
 */
export async function handshake(
  connection: Connection,
  side: Side,
  options: HandshakeOptions = {},
): Promise<ReliableConnection> {
  const { secret, handshakeMs = 10_000, versions = [PROTOCOL_VERSION], ...rest } = options
  const incoming = new Incoming(connection, 2 * (rest.windowBytes ?? 8 * 2 ** 20))
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new HandshakeError(`${incoming.missing} did not come within ${handshakeMs} ms`)),
      handshakeMs,
    )
  })
  try {
    const seal = await Promise.race([late, agree(connection, side, incoming, versions, secret)])
    return reliable(incoming.rest(), { ...rest, ...(seal && { seal }) })
  } catch (error) {
    const why =
      error instanceof HandshakeError
        ? error
        : new HandshakeError(`the handshake failed: ${asOneLine(error)}`, { cause: error })
    connection.close(why.message)
    throw why
  } finally {
    clearTimeout(timer)
  }
}

/** The steps. Gives the seal of what follows, where there is a secret. */
async function agree(
  connection: Connection,
  side: Side,
  incoming: Incoming,
  versions: readonly number[],
  secret: Secret | undefined,
): Promise<Seal | undefined> {
  if (versions.length < 1 || versions.length > 255)
    throw new HandshakeError(`${versions.length} protocol versions were to be offered (1 to 255)`)
  const keys = secret && (await ephemeral())
  const sent = encodeHello({
    side,
    hasSecret: secret !== undefined,
    versions,
    nonce: crypto.getRandomValues(new Uint8Array(KEY_BYTES)),
    publicKey: keys?.publicKey ?? new Uint8Array(KEY_BYTES),
  })
  // A transport may keep or empty what it is given.
  const sendHello = (): Promise<void> => connection.send(sent.slice())
  if (side === 'dialer') await sendHello()
  const received = await incoming.next('a hello')
  const theirs = decodeHello(received, otherSide(side))
  // Also to a side that will be refused: it then finds out by itself why.
  if (side === 'listener') await sendHello()
  checkVersions(versions, theirs.versions)
  checkSecrets(secret !== undefined, theirs.hasSecret)
  if (!secret) return undefined
  const hellos = side === 'dialer' ? ([sent, received] as const) : ([received, sent] as const)
  return prove(connection, side, incoming, { secret, keys: keys as Ephemeral, theirs, hellos })
}

interface Known {
  readonly secret: Secret
  readonly keys: Ephemeral
  readonly theirs: Hello
  /** The dialer's, the listener's. */
  readonly hellos: readonly [Uint8Array, Uint8Array]
}

/** Sends a proof, checks the other side's, and gives the seal. */
async function prove(connection: Connection, side: Side, incoming: Incoming, known: Known): Promise<Seal> {
  const other = otherSide(side)
  const shared = await known.keys.sharedWith(known.theirs.publicKey)
  const secret = known.secret.bytesForThread()
  const session = await sessionOf(shared, secret, await transcriptOf(...known.hellos))
  secret.fill(0)
  shared.fill(0)
  await connection.send(encodeProof(side, await proofOf(session, side)))
  const proof = decodeProof(await incoming.next('a proof'), other)
  if (!(await isProofOf(session, other, proof)))
    throw new HandshakeError(
      'the secrets differ (or something between the two sides changed what they said): give both the same secret',
    )
  return aesGcm({ sending: session.traffic[side], receiving: session.traffic[other] })
}

function checkVersions(ours: readonly number[], theirs: readonly number[]): void {
  if (ours.some(version => theirs.includes(version))) return
  const [most, mostOfTheirs] = [Math.max(...ours), Math.max(...theirs)]
  throw new HandshakeError(
    `this side speaks protocol ${versionsInWords(ours)}, the other ${versionsInWords(theirs)}: ` +
      `update ${most < mostOfTheirs ? 'this side' : 'the other side'}`,
  )
}

const versionsInWords = (versions: readonly number[]): string =>
  `version${versions.length > 1 ? 's' : ''} ${versions.join(', ')}`

function checkSecrets(ours: boolean, theirs: boolean): void {
  if (ours && !theirs)
    throw new HandshakeError('this side has a secret and the other has none: give the other side the same secret')
  if (!ours && theirs)
    throw new HandshakeError('the other side has a secret and this one has none: give this side the same secret')
}

/** What somebody else wrote, fit for a message: short and on one line. */
const asOneLine = (reason: unknown): string => {
  const text = (reason instanceof Error ? reason.message : String(reason)).replace(/[\p{C}\s]+/gu, ' ').trim()
  return text.length > 300 ? `${text.slice(0, 300)}…` : text || 'no reason given'
}

/** What arrives: the handshake's messages one by one, and afterwards all the rest for whoever takes over. */
class Incoming {
  /** What is waited for, in words. */
  missing = 'a hello'
  readonly #connection: Connection
  readonly #waiting: { readonly message: Uint8Array; readonly taken: (by: void | Promise<void>) => void }[] = []
  #heldBytes = 0
  #wanted: { take(message: Uint8Array): void; fail(error: HandshakeError): void } | undefined
  #failure: HandshakeError | undefined
  #handler: ((message: Uint8Array) => void | Promise<void>) | undefined

  constructor(connection: Connection, mostHeldBytes: number) {
    this.#connection = connection
    connection.receive(message => {
      if (this.#handler) return this.#handler(message)
      if (this.#wanted) {
        this.#wanted.take(message)
        this.#wanted = undefined
        return
      }
      if (this.#failure) return
      this.#heldBytes += message.length
      if (this.#heldBytes > mostHeldBytes) {
        this.#fail(new HandshakeError(`${this.#heldBytes} bytes came before the handshake was over: refused`))
        return
      }
      return new Promise<void>(taken => {
        this.#waiting.push({ message, taken })
      })
    })
    void connection.closed.then(reason =>
      this.#fail(new HandshakeError(`the other side ended the handshake: ${asOneLine(reason)}`)),
    )
  }

  /** The next message of the handshake. Those that came before an end are given: they may tell more than its reason. */
  next(what: string): Promise<Uint8Array> {
    this.missing = what
    const early = this.#waiting.shift()
    if (early) {
      this.#heldBytes -= early.message.length
      early.taken()
      return Promise.resolve(early.message)
    }
    if (this.#failure) return Promise.reject(this.#failure)
    return new Promise((take, fail) => {
      this.#wanted = { take, fail }
    })
  }

  #fail(error: HandshakeError): void {
    this.#failure ??= error
    this.#wanted?.fail(error)
    this.#wanted = undefined
  }

  /** The connection from here on: what is not taken yet, and all that comes. */
  rest(): Connection {
    const connection = this.#connection
    return {
      maxMessageBytes: connection.maxMessageBytes,
      closed: connection.closed,
      send: message => connection.send(message),
      close: reason => connection.close(reason),
      receive: handler => {
        this.#handler = handler
        for (const { message, taken } of this.#waiting.splice(0)) taken(handler(message))
      },
    }
  }
}
