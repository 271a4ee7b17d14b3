/** Threads, whatever a runtime calls them: worker threads of Node, Deno and Bun, or web workers. */
import { haveWorkers } from './available.js'
import { workerThreads } from './node-threads.js'

/** A web worker, or what stands for one. */
export interface WorkerLike {
  postMessage(message: unknown, transfer: unknown[]): void
  addEventListener(type: 'message' | 'messageerror' | 'error', take: (event: Event) => void): void
  terminate(): void
}

/** Where a thread's script is, or what starts it: `() => new Worker(new URL('./own.js', import.meta.url), { type: 'module' })`. */
export type ThreadScript = URL | string | (() => WorkerLike)

/** A package's own script, by an address for runtimes with worker threads, and written out so that bundlers see it. */
export interface OwnScript {
  url(): URL
  start(): WorkerLike
}

/** A thread, seen from the one that started it. */
export interface Thread {
  /** Throws a `DataCloneError` for what cannot be posted. */
  post(message: unknown, transfer?: readonly unknown[]): void
  onMessage(take: (message: unknown) => void): void
  /** Resolves with the reason once it has ended or failed. */
  readonly ended: Promise<string>
  /** Whether the process must wait for the thread, where there is a process. */
  hold(isHeld: boolean): void
  /** Ends it, whatever it is doing. */
  terminate(): Promise<void>
}

/** Starts `script`, or else the package's own. Throws where the runtime refuses. */
export function startThread(name: string, script: ThreadScript | undefined, own: OwnScript): Thread {
  if (typeof script === 'function') return webThread(script())
  const node = workerThreads()
  if (node) return nodeThread(node, name, script ?? own.url())
  if (!haveWorkers()) throw new Error('this runtime has no workers')
  expectOwnOrigin(script ?? own.url())
  return webThread(script ? new Worker(script, { type: 'module', name }) : own.start())
}

/** Pages may start workers of their own origin alone; Firefox says no more than that such a worker failed. */
function expectOwnOrigin(script: URL | string): void {
  // What is relative is the page's own. Bundlers may leave a script's place on disk, which says nothing.
  if (!URL.canParse(script)) return
  const { protocol, origin, href } = new URL(script)
  if (!/^https?:$/.test(protocol) || origin === (globalThis.origin ?? origin)) return
  throw new Error(
    globalThis.origin === 'null'
      ? `the origin of this page or frame is opaque, so it may start no worker from ${href}`
      : `its script ${href} is of another origin; name one of this page's own that imports it`,
  )
}

function nodeThread(node: typeof import('node:worker_threads'), name: string, script: URL | string): Thread {
  const url = typeof script === 'string' && URL.canParse(script) ? new URL(script) : script
  // A copy of the environment would have to be read, for which Deno asks permission.
  const worker = new node.Worker(url, { name, execArgv: [], env: node.SHARE_ENV })
  return {
    // Node's types know two kinds of MessagePort, which are one.
    post: (message, transfer = []) => worker.postMessage(message, [...transfer] as never[]),
    onMessage: take => void worker.on('message', take),
    ended: new Promise<string>(resolve => {
      worker.on('messageerror', error => resolve(`it sent what cannot be read: ${error.message}`))
      worker.on('error', error => resolve(`it threw ${error instanceof Error ? error.message : String(error)}`))
      worker.on('exit', code => resolve(`it exited with code ${code}`))
    }),
    hold: isHeld => (isHeld ? worker.ref() : worker.unref()),
    terminate: async () => {
      await worker.terminate()
    },
  }
}

function webThread(worker: WorkerLike): Thread {
  const { promise: ended, resolve } = resolvable<string>()
  const end = (reason: string): void => {
    // A web worker outlives what it throws; a thread does not.
    worker.terminate()
    resolve(reason)
  }
  worker.addEventListener('messageerror', () => end('it sent what cannot be read'))
  worker.addEventListener('error', event => {
    // Told as this error, not as one of the page too.
    event.preventDefault()
    const { message } = event as ErrorEvent
    end(
      message
        ? `it threw ${message.replace(/^Uncaught /, '')}`
        : 'its script could not be loaded: it is not there or no JavaScript, a content security policy forbids it, or in an isolated page it has no Cross-Origin-Embedder-Policy',
    )
  })
  return {
    post: (message, transfer = []) => worker.postMessage(message, [...transfer]),
    onMessage: take => worker.addEventListener('message', event => take((event as MessageEvent).data)),
    ended,
    hold: () => {},
    terminate: async () => end('it was ended'),
  }
}

function resolvable<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>(done => {
    resolve = done
  })
  return { promise, resolve }
}

/** The thread that started this one; where none did, nobody hears and says anything. */
export interface StarterPort {
  post(message: unknown, transfer?: readonly unknown[]): void
  /** Calls `take` with every message. */
  listen(take: (message: unknown) => void): void
}

export function starterPort(): StarterPort {
  const port = workerThreads()?.parentPort
  if (port)
    return {
      post: (message, transfer = []) => port.postMessage(message, [...transfer] as never[]),
      listen: take => void port.on('message', take),
    }
  const scope = globalThis as unknown as WorkerLike & Partial<EventTarget>
  // Nobody started it: a thread's script was imported.
  if (!scope.addEventListener) return { post: () => {}, listen: () => {} }
  // What nobody catches ends a thread of Node; the page hears of it as of an error.
  scope.addEventListener('unhandledrejection', event => {
    event.preventDefault()
    globalThis.reportError((event as PromiseRejectionEvent).reason)
  })
  return {
    post: (message, transfer = []) => scope.postMessage(message, [...transfer]),
    listen: take => scope.addEventListener('message', event => take((event as MessageEvent).data)),
  }
}
