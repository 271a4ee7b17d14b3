/** @prismal/distribute/host: a device that others join over a network. Sockets live on the calling thread, the engine in a worker thread. */
import type { Build, Precision } from '@prismal/tensor'
import { ComputeThread } from './compute.js'
import { expectSecret, reach, transportOf, within } from './dialling.js'
import { ConnectionError, HandshakeError } from './errors.js'
import { type HandshakeOptions, handshake } from './handshake.js'
import {
  type Answer,
  type DeviceInfo,
  decodeGreeting,
  encodeGreeting,
  firstOf,
  type Greeting,
  type JoinGreeting,
  mismatch,
  pipe,
} from './joining.js'
import type { LinkMessage } from './messages.js'
import type { Arrival, Connection, Listener, ListenOptions } from './transport.js'
import { portConnection } from './transports/message-port.js'

export interface HostOptions extends HandshakeOptions, ListenOptions {
  /** The model's folder or URL. */
  readonly model: string
  /** Addresses to listen at, e.g. `ws://127.0.0.1:7040`; port 0 is any free one. Off this machine a secret is needed. */
  readonly listen: readonly string[]
  /** Name in messages; default: the first address. */
  readonly name?: string
  readonly backend?: Build | 'auto'
  readonly dtype?: Precision
  /** Threads that the engine computes with, or `'auto'`; default 1. */
  readonly threads?: number | 'auto'
  /** Most bytes that weights and requests may use together. */
  readonly memoryLimitBytes?: number
  /** Most clusters that it takes part in at once; default 16. */
  readonly maxSessions?: number
  /** Most connections that it looks at in a second; more are closed. Default 100. */
  readonly maxArrivalsPerSecond?: number
}

export interface Host {
  /** Where it can be dialled, with the ports that it got. */
  readonly addresses: readonly string[]
  readonly device: DeviceInfo
  /** Clusters that it takes part in. */
  readonly sessions: number
  /** Resolves with the reason when it has ended, by `close()` or since its engine failed. */
  readonly ended: Promise<string>
  /** Ends it. Resolves when nothing of it is left. */
  close(reason?: string): Promise<void>
}

/**
 * Loads a model in a worker thread and listens. Rejects with `HandshakeError` for an address off this machine without a
 * secret, `ConnectionError` where it cannot listen, `DeviceError` where the model cannot be loaded.
 */
export async function host(options: HostOptions): Promise<Host> {
  const { listen, log = () => {}, ...rest } = options
  for (const address of listen) {
    await transportOf(address)
    expectSecret(address, options)
  }
  const serving = new Serving({ ...rest, log })
  const listeners: Listener[] = []
  try {
    // The ports first: a port in use is told before a model is loaded for seconds.
    for (const address of listen) {
      const transport = await transportOf(address)
      listeners.push(await transport.listen(address, arrival => void serving.accept(arrival), { ...rest, log }))
    }
    const addresses = listeners.map(l => l.address)
    await serving.start(options.name ?? addresses[0] ?? 'device')
    const close = async (reason = 'the device was ended'): Promise<void> => {
      await Promise.all(listeners.map(l => l.close(reason)))
      await serving.end(reason)
    }
    void serving.ended.then(reason => close(reason))
    return {
      addresses,
      device: serving.device as DeviceInfo,
      get sessions() {
        return serving.sessions
      },
      ended: serving.ended,
      close,
    }
  } catch (error) {
    await Promise.all(listeners.map(l => l.close('it could not start')))
    await serving.end('it could not start')
    throw error
  }
}

interface Session {
  readonly connection: Connection
  readonly links: Set<Connection>
}

type ServingOptions = Omit<HostOptions, 'listen' | 'log'> & Required<Pick<HostOptions, 'log'>>

class Serving {
  device: DeviceInfo | undefined
  readonly ended: Promise<string>
  readonly #options: ServingOptions
  readonly #open = new Map<string, Session>()
  readonly #arrivals: number[] = []
  #compute: ComputeThread | undefined
  #end!: (reason: string) => void
  #ready!: () => void
  readonly #loaded: Promise<void>

  constructor(options: ServingOptions) {
    this.#options = options
    this.ended = new Promise(resolve => {
      this.#end = resolve
    })
    this.#loaded = new Promise(resolve => {
      this.#ready = resolve
    })
  }

  get sessions(): number {
    return this.#open.size
  }

  async start(name: string): Promise<void> {
    const { model, backend = 'auto', dtype, threads = 1, memoryLimitBytes } = this.#options
    this.#compute = await ComputeThread.start({
      ...{ name, location: model, build: backend, threads, measure: true },
      ...(dtype && { dtype }),
      ...(memoryLimitBytes !== undefined && { memoryLimitBytes }),
      dial: link => this.#dial(link),
    })
    const folder = model.split(/[\\/]/).filter(Boolean).at(-1) ?? model
    this.device = { ...this.#compute.loaded, name, model: folder }
    void this.#compute.ended.then(reason => this.#end(`the engine's thread ended: ${reason}`))
    this.#ready()
  }

  async end(reason: string): Promise<void> {
    this.#end(reason)
    for (const { connection, links } of this.#open.values())
      for (const each of [connection, ...links]) each.close(reason)
    await this.#compute?.end()
  }

  /** Looks at a connection that came in: who it is, and what it wants. */
  async accept({ connection: raw, from }: Arrival): Promise<void> {
    const { log, maxArrivalsPerSecond = 100, handshakeMs = 10_000 } = this.#options
    try {
      this.#limitRate(maxArrivalsPerSecond)
      const connection = await handshake(raw, 'listener', this.#options)
      const { first, rest } = firstOf(connection)
      const greeting = decodeGreeting(
        await within(handshakeMs, first, () => connection.close(`no greeting within ${handshakeMs} ms`)),
      )
      await this.#answer(greeting, rest)
    } catch (error) {
      const { message } = error as Error
      log(`refused ${from}: ${message}`)
      raw.close(message)
    }
  }

  async #answer(greeting: Greeting, connection: Connection): Promise<void> {
    const say = (answer: Answer): Promise<void> => connection.send(encodeGreeting(answer))
    try {
      await (greeting.purpose === 'join'
        ? this.#join(greeting, connection, say)
        : this.#link(greeting, connection, say))
    } catch (error) {
      const { message } = error as Error
      await say({ refused: message, code: 'handshake' }).catch(() => {})
      // Closing sends what was said before it.
      connection.close(message)
      throw error
    }
  }

  async #join(greeting: JoinGreeting, connection: Connection, say: (a: Answer) => Promise<void>): Promise<void> {
    await this.#loaded
    const device = this.device as DeviceInfo
    const { maxSessions = 16 } = this.#options
    const why = mismatch(device.name, device, greeting)
    if (why !== undefined) throw new HandshakeError(why)
    if (this.#open.size >= maxSessions)
      throw new HandshakeError(`${device.name} takes part in ${this.#open.size} clusters, the most that it may`)
    if (this.#open.has(greeting.session)) throw new HandshakeError('this session has joined before')
    const session: Session = { connection, links: new Set() }
    this.#open.set(greeting.session, session)
    void connection.closed.then(reason => {
      this.#open.delete(greeting.session)
      for (const link of session.links) link.close(`the coordinator is gone: ${reason}`)
    })
    const { port1, port2 } = new MessageChannel()
    this.#compute?.open(greeting.session, port2)
    await say({ accepted: true, device })
    pipe(connection, portConnection(port1))
  }

  async #link(
    { session: name, peer }: Extract<Greeting, { purpose: 'link' }>,
    connection: Connection,
    say: (a: Answer) => Promise<void>,
  ): Promise<void> {
    const session = this.#open.get(name)
    if (!session) throw new HandshakeError('no coordinator has joined by this session')
    this.#keep(session, connection)
    const { port1, port2 } = new MessageChannel()
    await this.#compute?.link(name, peer, port2)
    await say({ accepted: true })
    pipe(connection, portConnection(port1))
  }

  #keep(session: Session, link: Connection): void {
    session.links.add(link)
    void link.closed.then(() => session.links.delete(link))
  }

  /** Dials another device, as a coordinator has asked this one to. */
  async #dial({ addresses, session, self }: LinkMessage): Promise<MessagePort> {
    const greeting: Greeting = { purpose: 'link', session, peer: self }
    const { connection } = await reach(addresses, greeting, { ...this.#options, timeoutMs: 5000 })
    const { port1, port2 } = new MessageChannel()
    pipe(connection, portConnection(port1))
    return port2
  }

  #limitRate(most: number): void {
    const now = performance.now()
    while ((this.#arrivals[0] ?? now) < now - 1000) this.#arrivals.shift()
    this.#arrivals.push(now)
    if (this.#arrivals.length > most) throw new ConnectionError(`more than ${most} connections came within a second`)
  }
}
