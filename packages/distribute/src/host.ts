/** @prismal/distribute/host: a device that others join over a network. Sockets live on the calling thread, the engine in a worker thread. */
import { folderName } from '@prismal/models'
import type { Build, Precision } from '@prismal/tensor'
import { ComputeThread } from './compute.js'
import { expectSecret, reach, transportOf, within } from './dialling.js'
import { ConnectionError, DeviceError, HandshakeError } from './errors.js'
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
  optionsMismatch,
  pipe,
} from './joining.js'
import type { LinkMessage } from './messages.js'
import { shownAddress } from './shown-address.js'
import type { Arrival, Connection, Listener, ListenOptions, Transport } from './transport.js'
import { portConnection } from './transports/message-port.js'

export interface HostOptions extends HandshakeOptions, ListenOptions {
  /** The model's folder or URL; without one `fetch` is needed. */
  readonly model?: string
  /**
   * Brings the files of the model that a coordinator asks for (its `Model.digest`) and gives their folder or URL. It is
   * loaded in place of the one before when no cluster uses that.
   */
  readonly fetch?: (digest: string) => Promise<string>
  /** Told when the model or the number of clusters has changed. */
  readonly changed?: () => void
  /** Addresses to listen at, e.g. `ws://127.0.0.1:7040`; port 0 is any free one. Off this machine a secret is needed. */
  readonly listen: readonly string[]
  /** URL of a module that exports the `transport` of the addresses, where it is one of your own. */
  readonly transport?: string
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
  /** What it is, once it holds a model. */
  readonly device: DeviceInfo | undefined
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
  const asked: { readonly address: string; readonly transport: Transport }[] = []
  for (const address of listen) {
    asked.push({ address, transport: await transportOf(address, options.transport) })
    expectSecret(address, options)
  }
  const serving = new Serving({ ...rest, log })
  const listeners: Listener[] = []
  try {
    // The ports first: a port in use is told before a model is loaded for seconds.
    for (const { address, transport } of asked)
      listeners.push(await transport.listen(address, arrival => void serving.accept(arrival), { ...rest, log }))
    const addresses = listeners.flatMap(l => reachable(l.address))
    await serving.begin(options.name ?? shownAddress(addresses[0] ?? 'device'))
    const close = async (reason = 'the device was ended'): Promise<void> => {
      await Promise.all(listeners.map(l => l.close(reason)))
      await serving.end(reason)
    }
    void serving.ended.then(reason => close(reason))
    return {
      addresses,
      get device() {
        return serving.device
      },
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

/** An address of all interfaces as those that other machines can dial. */
function reachable(address: string): string[] {
  const any = /^(\w[\w+.-]*:\/\/)(0\.0\.0\.0|\[::\])(?=[:/]|$)/.exec(address)
  if (!any) return [address]
  const found = Object.values(globalThis.process?.getBuiltinModule?.('node:os').networkInterfaces() ?? {}).flatMap(
    list => list ?? [],
  )
  const outside = found.filter(i => !i.internal && i.family === 'IPv4').map(i => i.address)
  return (outside.length > 0 ? outside : ['127.0.0.1']).map(host => address.replace(any[0], `${any[1]}${host}`))
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
  /** The thread that loads a model. */
  #starting: Promise<ComputeThread> | undefined
  #ending: string | undefined
  #end!: (reason: string) => void
  #name = 'device'
  /** Models are loaded one at a time. */
  #loading: Promise<unknown> = Promise.resolve()

  constructor(options: ServingOptions) {
    this.#options = options
    this.ended = new Promise(resolve => {
      this.#end = resolve
    })
  }

  get sessions(): number {
    return this.#open.size
  }

  /** Loads the model that it was given, if it was. */
  async begin(name: string): Promise<void> {
    this.#name = name
    const { model, fetch } = this.#options
    if (model === undefined && !fetch) throw new DeviceError('a host needs a model, or somewhere to fetch models from')
    if (model === undefined) return
    const loaded = this.#load(model)
    // Who joins meanwhile waits for it.
    this.#loading = loaded.catch(() => {})
    await loaded
  }

  /** `called` is the model's name in messages; default: its folder's. */
  async #load(location: string, called?: string): Promise<DeviceInfo> {
    const { backend = 'auto', dtype, threads = 1, memoryLimitBytes, changed } = this.#options
    this.#expectGoingOn()
    const starting = ComputeThread.start({
      ...{ name: this.#name, location, build: backend, threads, measure: true },
      ...(dtype && { dtype }),
      ...(memoryLimitBytes !== undefined && { memoryLimitBytes }),
      dial: link => this.#dial(link),
    })
    this.#starting = starting
    const compute = await starting
    this.#starting = undefined
    this.#expectGoingOn()
    this.#compute = compute
    this.device = { ...compute.loaded, name: this.#name, model: called ?? folderName(location) }
    void compute.ended.then(reason => {
      if (this.#compute === compute) this.#end(`the engine's thread ended: ${reason}`)
    })
    changed?.()
    return this.device
  }

  #expectGoingOn(): void {
    if (this.#ending !== undefined) throw new DeviceError(`${this.#name} has ended: ${this.#ending}`)
  }

  /** The device with the model that a coordinator asks for, as far as it can be had. */
  #deviceFor({ digest, model }: JoinGreeting): Promise<DeviceInfo> {
    const { fetch } = this.#options
    const ready = async (): Promise<DeviceInfo> => {
      if (this.device && (this.device.digest === digest || !fetch)) return this.device
      if (!fetch) throw new HandshakeError(`${this.#name} holds no model`)
      if (this.#open.size > 0)
        throw new HandshakeError(
          `${this.#name} is at work with ${this.device?.model}, and cannot load ${model} meanwhile`,
        )
      const folder = await fetch(digest)
      this.#expectGoingOn()
      const before = this.#compute
      this.#compute = undefined
      this.device = undefined
      await before?.end()
      return this.#load(folder, model)
    }
    const device = this.#loading.then(ready)
    this.#loading = device.catch(() => {})
    return device
  }

  async end(reason: string): Promise<void> {
    this.#ending ??= reason
    this.#end(reason)
    for (const { connection, links } of this.#open.values())
      for (const each of [connection, ...links]) each.close(reason)
    const starting = await this.#starting?.catch(() => undefined)
    await Promise.all([this.#compute?.end(), starting?.end()])
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
      const why = optionsMismatch(this.#name, this.#options.windowBytes, greeting)
      if (why !== undefined) throw new HandshakeError(why)
      await (greeting.purpose === 'join'
        ? this.#join(greeting, connection, say)
        : this.#link(greeting, connection, say))
    } catch (error) {
      const { message } = error as Error
      await say({ refused: message }).catch(() => {})
      // Closing sends what was said before it.
      connection.close(message)
      throw error
    }
  }

  async #join(greeting: JoinGreeting, connection: Connection, say: (a: Answer) => Promise<void>): Promise<void> {
    const device = await this.#deviceFor(greeting)
    const { maxSessions = 16, changed } = this.#options
    const why = mismatch(device.name, device, greeting)
    if (why !== undefined) throw new HandshakeError(why)
    if (this.#open.size >= maxSessions)
      throw new HandshakeError(`${device.name} takes part in ${this.#open.size} clusters, the most that it may`)
    if (this.#open.has(greeting.session)) throw new HandshakeError('this session has joined before')
    const session: Session = { connection, links: new Set() }
    this.#open.set(greeting.session, session)
    changed?.()
    void connection.closed.then(reason => {
      this.#open.delete(greeting.session)
      changed?.()
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
    session.links.add(connection)
    void connection.closed.then(() => session.links.delete(connection))
    const { port1, port2 } = new MessageChannel()
    await this.#compute?.link(name, peer, port2)
    await say({ accepted: true })
    pipe(connection, portConnection(port1))
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
