/**
 * @prismal/distribute/transports/nats: connections through a NATS server, by which devices reach each other that have no
 * address of their own.
 *
 * A device listens at a subject, `nats://HOST:4222/prismal.default.device.ID`, or where it names none at one of its own. Dialling is a request to it that names an
 * inbox of the dialler's; the answer names one of the listener's. Each side then publishes to the other's inbox: data to
 * `INBOX.data`, the reason of a close to `INBOX.close`. NATS delivers at most once: what it drops is noticed above.
 * Data names `INBOX.none` as its reply, to which the server says so where nobody listens any more.
 */
import type { Msg, NatsConnection, Subscription } from '@nats-io/nats-core'
import { unlessAborted } from '@prismal/tensor'
import { randomId } from '../bytes-as-text.js'
import { ConnectionError } from '../errors.js'
import { ANY_SERVER, connectNats, natsAddress, parseNatsAddress, SCHEMES, withServer } from '../nats/connect.js'
import { subjectsOf } from '../nats/subjects.js'
import { shownAddress } from '../shown-address.js'
import type { Arrival, Connection, DialOptions, Listener, ListenOptions, Transport } from '../transport.js'

/** What both sides of a dial must speak alike. */
const VERSION = 1
/** Bytes that may be on their way to the server before `send` waits for it. */
const UNFLUSHED_BYTES = 1 << 20
/** Bytes that may wait for the receiver's handler; the server would drop us at 64 MiB of its own. */
const WAITING_BYTES = 64 << 20
const REASON_BYTES = 512
/** Messages of a dial are small; larger ones are none. */
const DIAL_BYTES = 1024
const INBOX = /^_INBOX\.[0-9a-f]{32}$/
/** A subject without wildcards or empty tokens. */
const SUBJECT = /^[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+)*$/
/** One of several processes that listen at the same subject takes a dial. */
const QUEUE = 'prismal'

/** What a dial and its answer say. */
interface Greeting {
  readonly version: number
  readonly inbox: string
  readonly maxMessageBytes: number
}
interface Refusal {
  readonly refused: string
}

/** A transport with its own connections to servers: one for each server that is in use. */
export function natsTransport(): Transport {
  const servers = new Map<string, Promise<Server>>()

  const lease = async (address: string, options: DialOptions): Promise<Server> => {
    const { host, credentials } = parseNatsAddress(address)
    const key = JSON.stringify([host, credentials, options.authorities])
    const known = await servers.get(key)?.catch(() => undefined)
    if (known?.isUsable) return known.take()
    const connecting = connectNats(address, options).then(nc => {
      const server = new Server(nc, parseNatsAddress(address).server)
      void nc.closed().then(() => {
        if (servers.get(key) === connecting) servers.delete(key)
      })
      return server
    })
    servers.set(key, connecting)
    try {
      return (await connecting).take()
    } catch (error) {
      if (servers.get(key) === connecting) servers.delete(key)
      throw error
    }
  }

  return {
    name: 'nats',
    schemes: SCHEMES,
    async dial(address, options = {}) {
      const { timeoutMs = 10_000, signal } = options
      const { subject } = subjectOf(address)
      const started = Date.now()
      const server = await lease(withServer(address, options.natsServer), { ...options, timeoutMs })
      try {
        const left = Math.max(1, timeoutMs - (Date.now() - started))
        return await dialled(server, subject, shownAddress(address), left, signal)
      } finally {
        server.release()
      }
    },
    async listen(address, accept, options = {}) {
      // As port 0 is any free one, no subject is one of its own.
      const own =
        parseNatsAddress(address).subject === '' ? natsAddress(address, subjectsOf().device(randomId())) : address
      const { subject, base } = subjectOf(own)
      const server = await lease(withServer(own, options.natsServer), {})
      const listener = listenAt(server, subject, `${base}/${subject}`, accept, options)
      try {
        // Whoever is told the address may dial at once: the server knows of the subscription by then.
        await server.nc.flush()
      } catch (error) {
        await listener.close()
        throw error
      }
      return listener
    },
  }
}

/** The transport of this process. */
export const transport: Transport = natsTransport()

function subjectOf(address: string): { subject: string; base: string } {
  const { subject, server } = parseNatsAddress(address)
  if (!SUBJECT.test(subject) || subject.length > 200)
    throw new ConnectionError(
      `${shownAddress(address)} names no device: its subject follows the server, as in ${server}/prismal.default.device.ID`,
    )
  return { subject, base: address.startsWith(`${ANY_SERVER}/`) ? ANY_SERVER : server }
}

/** One client of a server, closed when nothing uses it any more. */
class Server {
  readonly nc: NatsConnection
  readonly name: string
  readonly connections = new Set<NatsLink>()
  #uses = 0
  #unflushed = 0
  #flushing: Promise<void> | undefined
  #lastError: Error | undefined
  #isConnected = true

  constructor(nc: NatsConnection, name: string) {
    this.nc = nc
    this.name = name
    void this.#watch()
  }

  /** Whether more may be put on it. */
  get isUsable(): boolean {
    return this.#uses > 0 && this.#isConnected && !this.nc.isClosed()
  }
  take(): this {
    this.#uses++
    return this
  }
  release(): void {
    if (--this.#uses > 0) return
    // What was published last, such as the reason of a close, still leaves; but not for ever.
    const timer = setTimeout(() => void this.nc.close(), 1000)
    const end = (): void => {
      clearTimeout(timer)
      void this.nc.close()
    }
    if (this.#isConnected) this.nc.flush().then(end, end)
    else end()
  }

  /** Resolves while few enough bytes are on their way to the server; else once it has them. */
  async published(bytes: number): Promise<void> {
    this.#unflushed += bytes
    if (this.#unflushed < UNFLUSHED_BYTES) return
    this.#flushing ??= this.#flush()
    await this.#flushing
  }
  async #flush(): Promise<void> {
    try {
      this.#unflushed = 0
      await this.nc.flush()
    } finally {
      this.#flushing = undefined
    }
  }

  async #watch(): Promise<void> {
    for await (const status of this.nc.status()) {
      if (status.type === 'error') this.#failed(status.error)
      else if (status.type === 'disconnect') {
        this.#isConnected = false
        this.#endAll()
      } else if (status.type === 'reconnect') {
        this.#isConnected = true
        this.#lastError = undefined
      }
    }
    this.#isConnected = false
    this.#endAll()
  }
  #endAll(): void {
    const why = this.#lastError ? `: ${this.#lastError.message}` : ''
    for (const connection of [...this.connections]) connection.end(`the NATS server ${this.name} is gone${why}`)
  }
  /** A server's complaint: about a subject, or all of this client. */
  #failed(error: Error & { subject?: string; operation?: string }): void {
    const { subject, operation } = error
    if (subject === undefined) {
      this.#lastError = error
      return
    }
    for (const connection of [...this.connections])
      if (connection.uses(subject))
        connection.end(`the NATS server ${this.name} does not permit ${operation} of ${subject}`)
  }
}

/** One end of a connection: an inbox here, and one there. */
class NatsLink implements Connection {
  readonly maxMessageBytes: number
  readonly closed: Promise<string>
  readonly #server: Server
  readonly #inbox: string
  readonly #theirs: string
  readonly #subscription: Subscription
  readonly #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #isHandling = false
  #handler: ((message: Uint8Array) => void | Promise<void>) | undefined
  #reason: string | undefined
  #resolveClosed!: (reason: string) => void

  /** `subscription` is of everything below `inbox`, and hands its messages to `take`. */
  constructor(server: Server, inbox: string, theirs: Greeting, subscription: Subscription) {
    this.#server = server.take()
    this.#inbox = inbox
    this.#theirs = theirs.inbox
    this.#subscription = subscription
    this.maxMessageBytes = Math.min(maxPayload(server), theirs.maxMessageBytes)
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    server.connections.add(this)
  }

  uses(subject: string): boolean {
    return subject.startsWith(this.#inbox) || subject.startsWith(this.#theirs)
  }

  take(message: Msg): void {
    const kind = message.subject.slice(this.#inbox.length + 1)
    // Not as the Buffer that it may be, whose `slice` is another.
    if (kind === 'data') this.#received(plain(message.data))
    else if (kind === 'close') this.end(textOf(message.data))
    else if (kind === 'none' && message.headers?.code === 503) this.end('the other side is gone')
  }

  async send(message: Uint8Array): Promise<void> {
    this.#expectOpen()
    if (message.length > this.maxMessageBytes)
      throw new ConnectionError(
        `a message of ${message.length} bytes is longer than the ${this.maxMessageBytes} that ${this.#server.name} takes`,
      )
    this.#server.nc.publish(`${this.#theirs}.data`, message, { reply: `${this.#inbox}.none` })
    await this.#server.published(message.length).catch(() => {})
    this.#expectOpen()
  }

  receive(handler: (message: Uint8Array) => void | Promise<void>): void {
    this.#handler = handler
    this.#deliver()
  }

  close(reason = 'closed'): void {
    if (this.#reason !== undefined) return
    try {
      this.#server.nc.publish(`${this.#theirs}.close`, new TextEncoder().encode(reason).subarray(0, REASON_BYTES))
    } catch {
      // The client is closed: the other side learns of it from the server.
    }
    this.end(reason)
  }

  /** Ends this side. */
  end(reason: string): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    if (!this.#server.nc.isClosed()) this.#subscription.unsubscribe()
    this.#server.connections.delete(this)
    this.#server.release()
    // What came before the close is still delivered.
    if (this.#waiting.length === 0) this.#resolveClosed(reason)
    else if (!this.#handler) this.#resolveClosed(reason)
  }

  #expectOpen(): void {
    if (this.#reason !== undefined) throw new ConnectionError(`the connection is closed: ${this.#reason}`)
  }

  #received(data: Uint8Array): void {
    if (this.#reason !== undefined) return
    this.#waiting.push(data)
    this.#waitingBytes += data.length
    if (this.#waitingBytes > WAITING_BYTES)
      this.close(`${this.#waitingBytes} bytes wait to be taken: the receiver is too slow`)
    else this.#deliver()
  }

  /** Hands over what waits, each message once the one before is taken. */
  #deliver(): void {
    while (this.#handler && !this.#isHandling) {
      const message = this.#waiting.shift()
      if (!message) break
      this.#waitingBytes -= message.length
      const taken = this.#handler(message)
      if (!taken) continue
      this.#isHandling = true
      const next = (): void => {
        this.#isHandling = false
        this.#deliver()
      }
      taken.then(next, (error: Error) => {
        this.close(error.message)
        next()
      })
      return
    }
    if (this.#reason !== undefined && this.#waiting.length === 0) this.#resolveClosed(this.#reason)
  }
}

async function dialled(
  server: Server,
  subject: string,
  address: string,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<Connection> {
  const inbox = randomInbox()
  const early: Msg[] = []
  let link: NatsLink | undefined
  const subscription = server.nc.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      if (error) link?.end(`the NATS server ${server.name}: ${error.message}`)
      else if (link) link.take(message)
      else if (early.length < 64) early.push(message)
    },
  })
  try {
    const asked = server.nc.request(subject, greeting(server, inbox), { timeout: timeoutMs })
    const answer = await unlessAborted(asked, signal)
    const theirs = readGreeting(answer.data)
    if ('refused' in theirs) throw new ConnectionError(`${address} refused: ${theirs.refused}`)
    link = new NatsLink(server, inbox, theirs, subscription)
    for (const message of early) link.take(message)
    return link
  } catch (error) {
    if (!server.nc.isClosed()) subscription.unsubscribe()
    if (signal?.aborted) throw signal.reason
    if (error instanceof ConnectionError) throw error
    const { name, message } = error as Error
    const isAlone = /no ?responders/i.test(`${name} ${message}`)
    const why = isAlone
      ? `nobody listens at ${subject}`
      : /timeout/i.test(`${name} ${message}`)
        ? `no answer within ${timeoutMs} ms`
        : message
    throw new ConnectionError(`${address} could not be reached through ${server.name}: ${why}`, { cause: error })
  }
}

function listenAt(
  server: Server,
  subject: string,
  address: string,
  accept: (arrival: Arrival) => void,
  options: ListenOptions,
): Listener {
  const { maxConnections = 256, log = () => {} } = options
  const taken = new Set<NatsLink>()
  const refuse = (message: Msg, why: string): void => {
    log(`refused a connection at ${address}: ${why}`)
    message.respond(JSON.stringify({ refused: why } satisfies Refusal))
  }
  const arrive = (message: Msg): void => {
    if (!message.reply) log(`ignored a message at ${address} that asks for no answer`)
    else if (taken.size >= maxConnections) refuse(message, `it holds its ${maxConnections} connections already`)
    else
      try {
        const theirs = readGreeting(message.data)
        if (!('refused' in theirs)) take(message, theirs)
      } catch (error) {
        refuse(message, (error as Error).message)
      }
  }
  const take = (message: Msg, theirs: Greeting): void => {
    const inbox = randomInbox()
    let link: NatsLink
    const subscription = server.nc.subscribe(`${inbox}.*`, {
      callback: (error, data) => (error ? link.end(error.message) : link.take(data)),
    })
    link = new NatsLink(server, inbox, theirs, subscription)
    taken.add(link)
    void link.closed.then(() => taken.delete(link))
    message.respond(greeting(server, inbox))
    accept({ connection: link, from: `${server.name}/${theirs.inbox}` })
  }
  const subscription = server.nc.subscribe(subject, {
    queue: QUEUE,
    callback: (error, message) => {
      if (error) log(`${address}: ${error.message}`)
      else arrive(message)
    },
  })
  let closing: Promise<void> | undefined
  return {
    address,
    close(reason = 'the listener was closed') {
      closing ??= (async () => {
        if (!server.nc.isClosed()) subscription.unsubscribe()
        const ended = [...taken].map(link => link.closed)
        for (const link of [...taken]) link.close(reason)
        server.release()
        await Promise.all(ended)
      })()
      return closing
    },
  }
}

const plain = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const maxPayload = (server: Server): number => server.nc.info?.max_payload ?? 1 << 20

const greeting = (server: Server, inbox: string): string =>
  JSON.stringify({ version: VERSION, inbox, maxMessageBytes: maxPayload(server) } satisfies Greeting)

/** Throws {@link ConnectionError} where it is none: an inbox is one of ours and not just any subject, to which we would publish. */
function readGreeting(bytes: Uint8Array): Greeting | Refusal {
  const refuse = (why: string): never => {
    throw new ConnectionError(`that is not a dial of prismal: ${why}`)
  }
  if (bytes.length > DIAL_BYTES) refuse(`${bytes.length} bytes are more than ${DIAL_BYTES}`)
  let json: Partial<Greeting & Refusal> | null
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as typeof json
  } catch {
    return refuse('it is not JSON')
  }
  if (typeof json?.refused === 'string') return { refused: json.refused.slice(0, REASON_BYTES) }
  const { version, inbox, maxMessageBytes } = json ?? {}
  if (version !== VERSION) refuse(`it is of version ${JSON.stringify(version)}, this side speaks ${VERSION}`)
  if (typeof inbox !== 'string' || !INBOX.test(inbox)) refuse('it names no inbox')
  if (!Number.isSafeInteger(maxMessageBytes) || (maxMessageBytes as number) < 1024) refuse('it takes no messages')
  return { version: VERSION, inbox: inbox as string, maxMessageBytes: maxMessageBytes as number }
}

/** Nobody who was not told of it can guess it. */
const randomInbox = (): string => `_INBOX.${randomId()}`

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.subarray(0, REASON_BYTES)) || 'closed'
