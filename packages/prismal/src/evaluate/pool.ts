/** Threads that evaluate: each has the model to itself and takes the next run of items when it is done with one. */
import { Worker } from 'node:worker_threads'
import { thrownOf, WorkerError } from '../worker/errors.js'
import type { JobMessage, JobOrder } from './job.js'
import type { Answers, SubjectFacts, SubjectOptions } from './subject.js'

interface Thread {
  readonly worker: Worker
  /** Takes the next message, or why none will come. */
  next(): Promise<JobMessage>
}

export class Pool {
  readonly facts: SubjectFacts
  readonly #options: SubjectOptions
  readonly #threads: Thread[]

  private constructor(facts: SubjectFacts, options: SubjectOptions, first: Thread) {
    this.facts = facts
    this.#options = options
    this.#threads = [first]
  }

  /** Starts a thread and waits until it has loaded: what it loaded tells how many there is work for. Throws what loading threw. */
  static async start(options: SubjectOptions): Promise<Pool> {
    const first = startThread(options)
    try {
      return new Pool(expect(await first.next(), 'ready'), options, first)
    } catch (error) {
      await first.worker.terminate()
      throw error
    }
  }

  /** Starts further threads, up to `jobs`, and waits until each has loaded. Throws what loading threw. */
  async grow(jobs: number): Promise<void> {
    const more = Array.from({ length: Math.max(0, jobs - this.#threads.length) }, () => startThread(this.#options))
    this.#threads.push(...more)
    await Promise.all(more.map(async thread => expect(await thread.next(), 'ready')))
  }

  /** Has the threads do all orders and gives each answer, in the order in which they come. */
  async run<T extends JobOrder>(
    orders: Iterable<T>,
    take: (order: T, answers: Answers) => void | Promise<void>,
    signal?: AbortSignal,
  ): Promise<void> {
    const waiting = orders[Symbol.iterator]()
    let onAbort = (): void => {}
    const stopped = new Promise<never>((_, reject) => {
      onAbort = () => reject(signal?.reason)
    })
    stopped.catch(() => {}) // it is thrown where it is awaited
    if (signal?.aborted) onAbort()
    signal?.addEventListener('abort', onAbort)
    const work = async ({ worker, next }: Thread): Promise<void> => {
      for (let order = waiting.next(); !order.done; order = waiting.next()) {
        const { way, items } = order.value
        worker.postMessage({ way, items } satisfies JobOrder)
        await take(order.value, expect(await Promise.race([next(), stopped]), 'answers'))
      }
    }
    try {
      await Promise.all(this.#threads.map(work))
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()))
  }
}

function expect<K extends 'ready' | 'answers'>(
  message: JobMessage,
  kind: K,
): Extract<JobMessage, Record<K, unknown>>[K] {
  if ('failed' in message) throw thrownOf(message.failed)
  return (message as Extract<JobMessage, Record<K, unknown>>)[kind]
}

function startThread(options: SubjectOptions): Thread {
  const worker = new Worker(new URL('./evaluate-job.js', import.meta.url), {
    name: 'prismal evaluation',
    workerData: options,
    execArgv: [],
  })
  const messages: JobMessage[] = []
  let waiting: { resolve: (message: JobMessage) => void; reject: (error: Error) => void } | undefined
  let ended: Error | undefined
  const fail = (why: string): void => {
    ended ??= new WorkerError(`a thread of the evaluation ended: ${why}`)
    waiting?.reject(ended)
  }
  worker.on('message', (message: JobMessage) => {
    if (waiting) waiting.resolve(message)
    else messages.push(message)
    waiting = undefined
  })
  worker.on('error', error => fail(error instanceof Error ? error.message : String(error)))
  worker.on('exit', code => fail(`it exited with code ${code}`))
  return {
    worker,
    next: () =>
      new Promise((resolve, reject) => {
        const message = messages.shift()
        if (message) resolve(message)
        else if (ended) reject(ended)
        else waiting = { resolve, reject }
      }),
  }
}
