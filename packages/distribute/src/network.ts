/** Where this process dials from: a thread that does nothing else, or this one. */
import type { Worker as NodeWorker } from 'node:worker_threads'
import { haveWorkerThreads } from '@prismal/tensor'
import { type ReachOptions, reach } from './dialling.js'
import { ConnectionError, HandshakeError } from './errors.js'
import { type DeviceInfo, type Greeting, pipe } from './joining.js'
import { portConnection } from './transports/message-port.js'

export interface Dial {
  readonly addresses: readonly string[]
  readonly greeting: Greeting
  readonly options: ReachOptions
}

export interface Dialled {
  /** The device, where it was asked to join. */
  readonly device?: DeviceInfo
  /** Which of the addresses answered. */
  readonly address: string
}

/** Dials devices for the clusters of this process, which each release it when they end. */
export interface Network {
  /** Connects, and joins what comes and goes to `port`. */
  dial(dial: Dial, port: MessagePort): Promise<Dialled>
  release(): Promise<void>
}

/** To the network's thread. Secrets stay within the process. */
export type ToNetwork =
  | (Omit<Dial, 'options'> & {
      readonly dial: number
      readonly options: Omit<ReachOptions, 'secret' | 'signal'>
      readonly secret?: Uint8Array
      readonly port: MessagePort
    })
  | { readonly abort: number }
  | { readonly end: true }
  /** The process ends. */
  | { readonly exit: true }
export type FromNetwork =
  | (Dialled & { readonly dialled: number })
  | { readonly dialled: number; readonly failed: string; readonly code?: string }
  /** All connections are closed; where it `stays`, the thread must not be replaced. */
  | { readonly ended: true; readonly stays: boolean }

let current: { network: Promise<ThreadNetwork>; users: number } | undefined

/** This process' network, held until it is released. */
export async function networkOf(onThread = haveWorkerThreads()): Promise<Network> {
  if (!onThread) return here
  const held = current ?? { network: ThreadNetwork.start(), users: 0 }
  current = held
  held.users++
  const release = async (network: ThreadNetwork | undefined): Promise<void> => {
    if (--held.users > 0) return
    if (await network?.rest()) return
    if (current === held && held.users === 0) current = undefined
    else return
    await network?.end()
  }
  const network = await held.network.catch(async error => {
    await release(undefined)
    throw error
  })
  // One that failed is of no use to whoever comes next.
  void network.ended.then(() => {
    if (current === held) current = undefined
  })
  let isReleased = false
  return {
    dial: (dial, port) => network.dial(dial, port),
    async release() {
      if (isReleased) return
      isReleased = true
      await release(network)
    },
  }
}

/** Sockets on this thread. */
const here: Network = {
  async dial({ addresses, greeting, options }, port) {
    const { connection, ...dialled } = await reach(addresses, greeting, options)
    pipe(connection, portConnection(port))
    return dialled
  },
  release: async () => {},
}

/** Sockets on a thread of their own. */
class ThreadNetwork {
  readonly #worker: NodeWorker
  readonly #waiting = new Map<number, { resolve: (d: Dialled) => void; reject: (e: Error) => void }>()
  readonly ended: Promise<void>
  #dials = 0
  #exits = false
  #lost: Error | undefined
  /** Whoever waits for the connections to close, in the order in which they asked. */
  readonly #resting: ((stays: boolean) => void)[] = []

  private constructor(worker: NodeWorker) {
    this.#worker = worker
    worker.unref()
    worker.on('message', (message: FromNetwork) => this.#take(message))
    this.ended = new Promise(resolve => {
      const lose = (why: string): void => {
        this.#lost ??= new ConnectionError(`the thread of this process' connections ended: ${why}`)
        for (const { reject } of this.#waiting.values()) reject(this.#lost)
        this.#waiting.clear()
        resolve()
      }
      worker.once('error', error => lose((error as Error).message))
      worker.once('exit', code => lose(`it exited with code ${code}`))
    })
  }

  static async start(): Promise<ThreadNetwork> {
    const threads = haveWorkerThreads() ? process.getBuiltinModule('node:worker_threads') : undefined
    if (!threads)
      throw new ConnectionError('this runtime has no threads for connections: join with networkThread: false')
    // Not for bundlers: a page has no such thread.
    const script = new URL(/* webpackIgnore: true */ /* @vite-ignore */ './network-thread.js', import.meta.url)
    return new ThreadNetwork(new threads.Worker(script, { name: 'prismal network', execArgv: [] }))
  }

  async dial({ addresses, greeting, options }: Dial, port: MessagePort): Promise<Dialled> {
    if (this.#lost) throw this.#lost
    const { secret, signal, ...rest } = options
    signal?.throwIfAborted()
    const id = ++this.#dials
    const message: ToNetwork = {
      ...{ dial: id, addresses, greeting, options: rest, port },
      ...(secret && { secret: secret.bytesForThread() }),
    }
    const abort = (): void => this.#worker.postMessage({ abort: id } satisfies ToNetwork)
    // The thread does not hold the process, but a question does.
    this.#worker.ref()
    try {
      const answer = new Promise<Dialled>((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
      this.#worker.postMessage(message, [port as never])
      signal?.addEventListener('abort', abort, { once: true })
      return await answer
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    } finally {
      signal?.removeEventListener('abort', abort)
      if (this.#waiting.size === 0) this.#worker.unref()
    }
  }

  /** Resolves when its connections have closed: to whether the thread must stay. */
  async rest(): Promise<boolean> {
    this.#worker.ref()
    const rested = new Promise<boolean>(resolve => this.#resting.push(resolve))
    this.#worker.postMessage({ end: true } satisfies ToNetwork)
    const stays = await Promise.race([rested, this.ended.then(() => false)])
    if (stays) this.#exitWithProcess()
    if (this.#waiting.size === 0) this.#worker.unref()
    return stays
  }

  /** A thread that stays ends by itself when nothing else is left: ended by the process it would end that with an error. */
  #exitWithProcess(): void {
    if (this.#exits) return
    this.#exits = true
    process.once('beforeExit', () => {
      this.#worker.ref()
      this.#worker.postMessage({ exit: true } satisfies ToNetwork)
    })
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }

  #take(message: FromNetwork): void {
    if ('ended' in message) {
      this.#resting.shift()?.(message.stays)
      return
    }
    const waiting = this.#waiting.get(message.dialled)
    this.#waiting.delete(message.dialled)
    if (!('failed' in message)) waiting?.resolve(message)
    else waiting?.reject(new (message.code === 'handshake' ? HandshakeError : ConnectionError)(message.failed))
  }
}
