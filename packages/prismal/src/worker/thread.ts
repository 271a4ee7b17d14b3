/** A pipeline's worker as either side has it: a worker thread of Node, Deno or Bun, or a web worker. */
import { haveWorkers, workerThreads } from '@prismal/tensor'
import type { FromWorker, ToWorker } from './messages.js'

/** The worker, seen from the calling thread. */
export interface WorkerThread {
  /** Throws a `DataCloneError` for what cannot be posted. */
  post(message: ToWorker, transfer?: readonly ArrayBuffer[]): void
  /** Whether the process must wait for the worker, where there is a process. */
  hold(isHeld: boolean): void
  /** Ends it, whatever it is doing. */
  terminate(): Promise<void>
}
export interface WorkerListener {
  message(message: FromWorker): void
  /** The worker ended or failed, for this reason; more than once, perhaps. */
  end(reason: string): void
}

/** Why this runtime has no workers; undefined where it has. */
export const lackOfWorkers = (): string | undefined => (haveWorkers() ? undefined : 'this runtime has no workers')

/** Starts `script`, by default the one beside this file. Throws where the runtime refuses. */
export function startWorker(script: URL | string | undefined, listener: WorkerListener): WorkerThread {
  const node = workerThreads()
  return node ? nodeWorker(node, script, listener) : webWorker(script, listener)
}

function nodeWorker(
  node: typeof import('node:worker_threads'),
  // Not for bundlers: they would keep the script once more, as a file that nothing reads.
  script: URL | string = new URL(/* webpackIgnore: true */ /* @vite-ignore */ './pipeline-worker.js', import.meta.url),
  listener: WorkerListener,
): WorkerThread {
  const url = typeof script === 'string' && URL.canParse(script) ? new URL(script) : script
  const worker = new node.Worker(url, { name: 'prismal pipeline', execArgv: [] })
  worker.on('message', message => listener.message(message))
  worker.on('messageerror', error => listener.end(`it sent what cannot be read: ${error.message}`))
  worker.on('error', error => listener.end(`it threw ${error instanceof Error ? error.message : String(error)}`))
  worker.on('exit', code => listener.end(`it exited with code ${code}`))
  return {
    post: (message, transfer = []) => worker.postMessage(message, [...transfer]),
    hold: isHeld => (isHeld ? worker.ref() : worker.unref()),
    terminate: async () => {
      await worker.terminate()
    },
  }
}

function webWorker(script: URL | string | undefined, listener: WorkerListener): WorkerThread {
  // Written out so that bundlers see the script.
  const worker = script
    ? new Worker(script, { type: 'module' })
    : new Worker(new URL('./pipeline-worker.js', import.meta.url), { type: 'module' })
  worker.addEventListener('message', event => listener.message(event.data))
  worker.addEventListener('messageerror', () => listener.end('it sent what cannot be read'))
  worker.addEventListener('error', event => {
    // Told as this error, not as one of the page too.
    event.preventDefault()
    listener.end(
      event.message
        ? `it threw ${event.message.replace(/^Uncaught /, '')}`
        : 'its script could not be loaded: it is not there, or a content security policy forbids it',
    )
  })
  return {
    post: (message, transfer = []) => worker.postMessage(message, [...transfer]),
    hold: () => {},
    terminate: async () => worker.terminate(),
  }
}

/** The calling thread, seen from the worker. */
export interface CallerPort {
  post(message: FromWorker, transfer?: readonly ArrayBuffer[]): void
  /** Calls `take` with every message. */
  listen(take: (message: ToWorker) => void): void
}

/** The thread that started this one. */
export function callerPort(): CallerPort {
  const port = workerThreads()?.parentPort
  if (port)
    return {
      post: (message, transfer = []) => port.postMessage(message, [...transfer]),
      listen: take => void port.on('message', take),
    }
  const scope = globalThis as unknown as Pick<Worker, 'postMessage'> & EventTarget
  // What nobody catches ends a thread of Node; the page hears of it as of an error.
  scope.addEventListener('unhandledrejection', event => globalThis.reportError((event as PromiseRejectionEvent).reason))
  return {
    post: (message, transfer = []) => scope.postMessage(message, [...transfer]),
    listen: take => scope.addEventListener('message', event => take((event as MessageEvent<ToWorker>).data)),
  }
}
