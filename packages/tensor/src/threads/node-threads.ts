/** Node's module of threads. Declarations that pages compile name none of it: they have no types of Node. */
import { isWorkerd } from '../runtime.js'

/** Node's worker threads, where they are real: workerd has the module and no threads. */
export const workerThreads = () =>
  isWorkerd() ? undefined : globalThis.process?.getBuiltinModule?.('node:worker_threads')
