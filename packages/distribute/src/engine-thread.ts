/** A thread for an engine, whatever the runtime calls it: a worker thread of Node, Deno or Bun, or a web worker. */
import { haveWorkers, workerThreads } from '@prismal/tensor'

/** The thread, seen from the one that started it. */
export interface EngineThread {
  post(message: unknown, ports?: readonly MessagePort[]): void
  onMessage(take: (message: unknown) => void): void
  /** Resolves with the reason once it has ended or failed. */
  readonly ended: Promise<string>
  /** Ends it, whatever it is doing. */
  terminate(): Promise<void>
}

/** Starts `script`, by default the one beside this file. Throws where the runtime refuses. */
export function startThread(name: string, script?: URL | string): EngineThread {
  const node = workerThreads()
  if (node) return nodeThread(node, name, script)
  if (!haveWorkers()) throw new Error('this runtime has no workers')
  return webThread(name, script)
}

function nodeThread(
  node: typeof import('node:worker_threads'),
  name: string,
  // Not for bundlers: they would keep the script once more, as a file that nothing reads.
  script: URL | string = new URL(/* webpackIgnore: true */ /* @vite-ignore */ './worker-thread.js', import.meta.url),
): EngineThread {
  const url = typeof script === 'string' && URL.canParse(script) ? new URL(script) : script
  const worker = new node.Worker(url, { name, execArgv: [] })
  return {
    // Node's types know two kinds of MessagePort, which are one.
    post: (message, ports = []) => worker.postMessage(message, [...ports] as never[]),
    onMessage: take => worker.on('message', take),
    ended: new Promise<string>(resolve => {
      worker.once('error', error => resolve(`it threw ${(error as Error).message}`))
      worker.once('exit', code => resolve(`it exited with code ${code}`))
    }),
    terminate: async () => {
      await worker.terminate()
    },
  }
}

function webThread(name: string, script?: URL | string): EngineThread {
  // Written out so that bundlers see the script.
  const worker = script
    ? new Worker(script, { type: 'module', name })
    : new Worker(new URL('./worker-thread.js', import.meta.url), { type: 'module' })
  let end: (reason: string) => void
  const ended = new Promise<string>(resolve => {
    end = reason => {
      // A web worker outlives what it throws; a device must not.
      worker.terminate()
      resolve(reason)
    }
  })
  worker.addEventListener('messageerror', () => end('it sent what cannot be read'))
  worker.addEventListener('error', event => {
    // Told as this error, not as one of the page too.
    event.preventDefault()
    end(
      event.message
        ? `it threw ${event.message.replace(/^Uncaught /, '')}`
        : 'its script could not be loaded: it is not there, or a content security policy forbids it',
    )
  })
  return {
    post: (message, ports = []) => worker.postMessage(message, [...ports]),
    onMessage: take => worker.addEventListener('message', event => take(event.data)),
    ended,
    terminate: async () => end('it was ended'),
  }
}

/** The thread that started this one. */
export interface StarterPort {
  post(message: unknown): void
  /** Calls `take` with every message. */
  listen(take: (message: unknown) => void): void
}

export function starterPort(): StarterPort {
  const port = workerThreads()?.parentPort
  if (port) return { post: message => port.postMessage(message), listen: take => void port.on('message', take) }
  const scope = globalThis as unknown as Pick<Worker, 'postMessage'> & EventTarget
  // What nobody catches ends a thread of Node; the page hears of it as of an error.
  scope.addEventListener('unhandledrejection', event => {
    event.preventDefault()
    globalThis.reportError((event as PromiseRejectionEvent).reason)
  })
  return {
    post: message => scope.postMessage(message),
    listen: take => scope.addEventListener('message', event => take((event as MessageEvent).data)),
  }
}
