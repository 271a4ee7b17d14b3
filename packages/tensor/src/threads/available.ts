/** Starts a helper's script in a thread: a worker thread of Node, Deno or Bun, or a web worker. */
import { isWorkerd } from '../runtime.js'

/** A thread, whatever the runtime calls it. */
export interface HelperThread {
  post(message: unknown): void
  /** Calls `take` with every message. */
  onMessage(take: (message: unknown) => void): void
  /** Calls `end` when the thread has ended or failed, with the reason; more than once, perhaps. */
  onEnd(end: (reason: string) => void): void
  /** Lets the process end while the thread lives, where there is a process. */
  unref(): void
  terminate(): void
}

/** Node's worker threads, where they are real: workerd has the module and no threads. */
export const workerThreads = () =>
  isWorkerd() ? undefined : globalThis.process?.getBuiltinModule?.('node:worker_threads')

/** Why helper threads cannot be had in this runtime; undefined where they can. */
export function lackOfThreads(): string | undefined {
  const scope = globalThis as { crossOriginIsolated?: boolean }
  if (scope.crossOriginIsolated === false) return 'memory cannot be shared: this page is not cross-origin isolated'
  if (typeof SharedArrayBuffer === 'undefined') return 'this runtime has no SharedArrayBuffer'
  if (!haveWorkers()) return 'this runtime has no workers'
  return undefined
}

/** Whether this runtime has threads of any kind. */
export const haveWorkers = (): boolean => workerThreads() !== undefined || typeof Worker !== 'undefined'

/** How many cores this process may use; undefined where the runtime does not tell. */
export function availableCores(): number | undefined {
  const os = globalThis.process?.getBuiltinModule?.('node:os')
  const count = os?.availableParallelism?.() ?? globalThis.navigator?.hardwareConcurrency
  return typeof count === 'number' && count >= 1 ? Math.floor(count) : undefined
}

/** Most threads that an engine can have here: as many as there are cores, or 1. */
export const availableThreads = (): number => (lackOfThreads() === undefined ? (availableCores() ?? 1) : 1)

/** Starts `script`, by default the one beside this file. Throws where the runtime refuses. */
export function spawn(script?: URL | string): HelperThread {
  const node = workerThreads()
  if (node) {
    // Not for bundlers: they would keep the script once more, as a file that nothing reads.
    const at = script ?? new URL(/* webpackIgnore: true */ /* @vite-ignore */ './thread.js', import.meta.url)
    const url = typeof at === 'string' && URL.canParse(at) ? new URL(at) : at
    const worker = new node.Worker(url, { name: 'prismal', execArgv: [] })
    return {
      post: message => worker.postMessage(message),
      onMessage: take => worker.on('message', take),
      onEnd: end => {
        worker.on('error', error => end(`it threw ${error instanceof Error ? error.message : String(error)}`))
        worker.on('exit', code => end(`it exited with code ${code}`))
      },
      unref: () => worker.unref(),
      terminate: () => void worker.terminate(),
    }
  }
  // Written out so that bundlers see the script.
  const worker = script
    ? new Worker(script, { type: 'module' })
    : new Worker(new URL('./thread.js', import.meta.url), { type: 'module' })
  return {
    post: message => worker.postMessage(message),
    onMessage: take => worker.addEventListener('message', event => take(event.data)),
    onEnd: end =>
      worker.addEventListener('error', event =>
        end(
          event.message || 'its script could not be loaded: it is not there, or a content security policy forbids it',
        ),
      ),
    unref: () => {},
    terminate: () => worker.terminate(),
  }
}
