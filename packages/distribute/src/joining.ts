/** Greetings on an established connection: what the dialling side wants, and what the other side is. */
import type { Build, Precision } from '@prismal/tensor'
import { ConnectionError, HandshakeError } from './errors.js'
import { DEFAULT_WINDOW_BYTES } from './reliable.js'
import type { Connection } from './transport.js'

/** What a device says of itself. */
export interface DeviceInfo {
  readonly name: string
  /** The model's folder name, for people. */
  readonly model: string
  /** SHA-256 of the model, as `Model.digest`. */
  readonly digest: string
  /** Which results may be compared bit by bit: build, precision and a probe's digest. */
  readonly numericsClass: string
  readonly precision: Precision
  readonly build: Build
  /** Threads that its engine computes with. */
  readonly threads: number
  readonly weightBytes: number
  /** Most bytes that weights and requests may use together, where there is a limit. */
  readonly memoryLimitBytes?: number
  /** Of an f32 matrix product, in GF/s, as measured when it started. */
  readonly gigaflops?: number
}

/** A coordinator asks a device to take part in its cluster. */
export interface JoinGreeting {
  readonly purpose: 'join'
  /** Made up by the coordinator; links of the cluster name it. */
  readonly session: string
  /** Of the coordinator's model. */
  readonly model: string
  readonly digest: string
  readonly numericsClass: string
  /** Whether a device of another numerics class will do. */
  readonly mixed: boolean
}

/** A device, or the coordinator for it, links itself to a device that has joined. */
export interface LinkGreeting {
  readonly purpose: 'link'
  readonly session: string
  /** Number of the device that links itself. */
  readonly peer: number
}

export type Greeting = (JoinGreeting | LinkGreeting) & {
  /** Bytes that the dialling side lets be on their way; both sides must have the same. */
  readonly windowBytes?: number
}

/** What a greeting is answered with; a link's answer has no device. */
export type Answer = { readonly accepted: true; readonly device?: DeviceInfo } | { readonly refused: string }

const MOST_GREETING_BYTES = 16_384

export const encodeGreeting = (value: Greeting | Answer): Uint8Array => new TextEncoder().encode(JSON.stringify(value))

/** Throws {@link ConnectionError} where the bytes are no greeting. */
export function decodeGreeting(bytes: Uint8Array): Greeting {
  const value = object(bytes, 'a greeting')
  const { purpose, session } = value
  const named = (keys: readonly string[], length: number): boolean =>
    keys.every(k => typeof value[k] === 'string' && (value[k] as string).length <= length)
  if (!named(['session'], 64) || (session as string).length < 16) throw notOne('a greeting', bytes)
  const { windowBytes } = value
  if (windowBytes !== undefined && !Number.isSafeInteger(windowBytes)) throw notOne('a greeting', bytes)
  const window = windowBytes === undefined ? {} : { windowBytes: windowBytes as number }
  if (
    purpose === 'link' &&
    Number.isSafeInteger(value.peer) &&
    (value.peer as number) >= 0 &&
    (value.peer as number) < 65_536
  )
    return { purpose, session: session as string, peer: value.peer as number, ...window }
  if (purpose === 'join' && named(['model', 'digest', 'numericsClass'], 256) && typeof value.mixed === 'boolean')
    return value as unknown as JoinGreeting & typeof window
  throw notOne('a greeting', bytes)
}

/** Throws {@link ConnectionError} where the bytes are no answer. */
export function decodeAnswer(bytes: Uint8Array): Answer {
  const value = object(bytes, 'an answer')
  if (typeof value.refused === 'string') return { refused: value.refused }
  if (value.accepted !== true) throw notOne('an answer', bytes)
  if (value.device === undefined) return { accepted: true }
  const device = value.device as Record<string, unknown>
  const isText = ['name', 'model', 'digest', 'numericsClass', 'precision', 'build'].every(
    k => typeof device?.[k] === 'string',
  )
  const isCount = (n: unknown): boolean => typeof n === 'number' && Number.isFinite(n) && n >= 0
  if (!isText || !isCount(device.threads) || !isCount(device.weightBytes)) throw notOne('an answer', bytes)
  for (const k of ['memoryLimitBytes', 'gigaflops'])
    if (device[k] !== undefined && !isCount(device[k])) throw notOne('an answer', bytes)
  return { accepted: true, device: device as unknown as DeviceInfo }
}

function object(bytes: Uint8Array, what: string): Record<string, unknown> {
  if (bytes.length > MOST_GREETING_BYTES) throw notOne(what, bytes)
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // said below
  }
  throw notOne(what, bytes)
}

const notOne = (what: string, bytes: Uint8Array): ConnectionError =>
  new ConnectionError(`${bytes.length} bytes came that are not ${what}`)

/** Why a device cannot join a coordinator, naming both sides; undefined where it can. `where` is the device's address. */
export function mismatch(
  where: string,
  device: DeviceInfo,
  asked: Omit<JoinGreeting, 'purpose' | 'session'>,
): string | undefined {
  const short = (digest: string): string => `sha256 ${digest.slice(0, 8)}…`
  if (device.digest !== asked.digest)
    return `${where} holds ${device.model} ${short(device.digest)}, the coordinator ${asked.model} ${short(asked.digest)}: start it with the same model`
  if (device.numericsClass !== asked.numericsClass && !asked.mixed)
    return `${where} computes as ${device.numericsClass}, the coordinator as ${asked.numericsClass}: start both with the same --dtype and --backend on the same Node, or allow it (mixed numerics: answers are then equivalent, not identical)`
  return undefined
}

/** Why two sides cannot speak with their options, naming both; undefined where they can. `where` is the listening side. */
export function optionsMismatch(
  where: string,
  windowBytes: number | undefined,
  greeting: Greeting,
): string | undefined {
  const { windowBytes: theirs = DEFAULT_WINDOW_BYTES } = greeting
  const ours = windowBytes ?? DEFAULT_WINDOW_BYTES
  return ours === theirs
    ? undefined
    : `${where} lets ${ours} bytes be on their way, the dialling side ${theirs}: start both with the same windowBytes`
}

/** A connection's first message, and the connection for what follows it. */
export function firstOf(connection: Connection): { first: Promise<Uint8Array>; rest: Connection } {
  let handler: ((message: Uint8Array) => void | Promise<void>) | undefined
  let start!: () => void
  const started = new Promise<void>(resolve => {
    start = resolve
  })
  let isFirst = true
  const first = new Promise<Uint8Array>((resolve, reject) => {
    connection.receive(message => {
      if (isFirst) {
        isFirst = false
        resolve(message)
        return undefined
      }
      // What came before somebody takes it counts as on its way: the other side's window bounds it.
      return handler ? handler(message) : started.then(() => handler?.(message))
    })
    connection.closed.then(reason => reject(new ConnectionError(`the connection closed: ${reason}`)))
  })
  first.catch(() => {}) // whoever waits for it is told
  const rest: Connection = {
    maxMessageBytes: connection.maxMessageBytes,
    closed: connection.closed,
    send: message => connection.send(message),
    close: reason => connection.close(reason),
    receive(take) {
      handler = take
      start()
    },
  }
  return { first, rest }
}

/** Greets the other side. Resolves once it has accepted; rejects with {@link HandshakeError} where it refuses. */
export async function greet(
  connection: Connection,
  greeting: Greeting,
  where: string,
): Promise<{ connection: Connection; device?: DeviceInfo }> {
  const { first, rest } = firstOf(connection)
  await connection.send(encodeGreeting(greeting))
  const answer = decodeAnswer(await first)
  if ('refused' in answer) throw new HandshakeError(answer.refused)
  const { device } = answer
  if (greeting.purpose === 'link') return { connection: rest }
  if (!device) throw new ConnectionError(`${where} did not say what it is`)
  const why = mismatch(where, device, greeting)
  if (why !== undefined) throw new HandshakeError(why)
  return { connection: rest, device }
}

/** Joins two connections, message by message, until one closes, which closes the other. */
export function pipe(a: Connection, b: Connection): void {
  const pass = (from: Connection, to: Connection): void => {
    from.receive(message => to.send(message).catch(() => {})) // one that is closed closes both
    from.closed.then(reason => to.close(reason))
  }
  pass(a, b)
  pass(b, a)
}
