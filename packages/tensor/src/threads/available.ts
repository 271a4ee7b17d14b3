/** What threads this runtime has. */
import { workerThreads } from './node-threads.js'

/** Whether this runtime has worker threads as Node has them. */
export const haveWorkerThreads = (): boolean => workerThreads() !== undefined

/** Why helper threads cannot be had in this runtime; undefined where they can. */
export function lackOfThreads(): string | undefined {
  const scope = globalThis as { crossOriginIsolated?: boolean }
  if (scope.crossOriginIsolated === false) return 'memory cannot be shared: this page is not cross-origin isolated'
  if (typeof SharedArrayBuffer === 'undefined') return 'this runtime has no SharedArrayBuffer'
  if (!haveWorkers()) return 'this runtime has no workers'
  return undefined
}

/** Whether this runtime has threads of any kind. */
export const haveWorkers = (): boolean => haveWorkerThreads() || typeof Worker !== 'undefined'

/** How many cores this process may use; undefined where the runtime does not tell. */
export function availableCores(): number | undefined {
  const os = globalThis.process?.getBuiltinModule?.('node:os')
  const count = os?.availableParallelism?.() ?? globalThis.navigator?.hardwareConcurrency
  return typeof count === 'number' && count >= 1 ? Math.floor(count) : undefined
}

/** Most threads that an engine can have here: as many as there are cores, or 1. */
export const availableThreads = (): number => (lackOfThreads() === undefined ? (availableCores() ?? 1) : 1)
