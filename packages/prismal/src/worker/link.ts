/** The calling thread's end of a pipeline's worker: questions and their answers, and what happens when it dies. */
import { InputError } from '@prismal/models'
import { type OwnScript, startThread, type Thread, type ThreadScript } from '@prismal/tensor'
import type { PipelineCapabilities, ProgressInfo } from '../pipeline.js'
import { thrownOf, WorkerError } from './errors.js'
import type { FromWorker, Question, ToWorker } from './messages.js'

interface Waiting {
  resolve(value: unknown): void
  /** `isAbort`: the worker stopped because it was told to. */
  reject(error: unknown, isAbort: boolean): void
}

export interface LinkListener {
  progress(info: ProgressInfo): void
  warning(message: string): void
}

const OWN: OwnScript = {
  // Not for bundlers: they would keep the script once more, as a file that nothing reads.
  url: () => new URL(/* webpackIgnore: true */ /* @vite-ignore */ './pipeline-worker.js', import.meta.url),
  start: () => new Worker(new URL('./pipeline-worker.js', import.meta.url), { type: 'module' }),
}

/** A worker keeps the process alive while a question waits for its answer, and only then. */
export class WorkerLink {
  /** What the pipeline ran on when it last answered. */
  capabilities: PipelineCapabilities | undefined
  readonly #thread: Thread
  readonly #listener: LinkListener
  readonly #waiting = new Map<number, Waiting>()
  #asked = 0
  #lost: unknown

  /** Throws where the runtime refuses to start the worker. */
  constructor(script: ThreadScript | undefined, listener: LinkListener) {
    this.#listener = listener
    this.#thread = startThread('prismal pipeline', script, OWN)
    this.#thread.onMessage(message => this.#take(message as FromWorker))
    void this.#thread.ended.then(reason =>
      this.end(new WorkerError(`the pipeline's worker ended: ${reason}; another pipeline starts another`)),
    )
    this.#thread.hold(false)
  }

  /**
   * Asks, and resolves to the answer. When `signal` aborts, the worker stops at its next layer and this rejects with the
   * signal's reason.
   */
  ask(question: Question, transfer: readonly ArrayBuffer[] = [], signal?: AbortSignal): Promise<unknown> {
    return this.begin(question, transfer, signal).answer
  }

  /** The same, with the number by which the worker knows it. */
  begin(
    question: Question,
    transfer: readonly ArrayBuffer[] = [],
    signal?: AbortSignal,
  ): { readonly id: number; readonly answer: Promise<unknown> } {
    const id = ++this.#asked
    return { id, answer: this.#send(id, question, transfer, signal, id) }
  }

  /** Asks about what question `of` began: `signal` aborts that. */
  askOf(of: number, question: Question, signal?: AbortSignal): Promise<unknown> {
    return this.#send(++this.#asked, question, [], signal, of)
  }

  /** Ends the worker; whatever waits, and whatever is asked from now on, fails with `error`. Later ends change nothing. */
  async end(error: unknown): Promise<void> {
    this.#lost ??= error
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { reject } of waiting) reject(this.#lost, false)
    await this.#thread.terminate()
  }

  async #send(
    id: number,
    question: Question,
    transfer: readonly ArrayBuffer[],
    signal: AbortSignal | undefined,
    of: number,
  ): Promise<unknown> {
    signal?.throwIfAborted()
    if (this.#lost !== undefined) throw this.#lost
    const abort = (): void => this.#thread.post({ ask: 'abort', id: of } satisfies ToWorker)
    try {
      return await new Promise((resolve, reject) => {
        try {
          this.#thread.post({ ...question, id } satisfies ToWorker, transfer)
        } catch (cause) {
          const why = cause instanceof Error ? cause.message : String(cause)
          throw new InputError(`the input or an option cannot be sent to the pipeline's worker: ${why}`, { cause })
        }
        this.#waiting.set(id, {
          resolve,
          reject: (error, isAbort) => reject(isAbort && signal?.aborted ? signal.reason : error),
        })
        this.#thread.hold(true)
        signal?.addEventListener('abort', abort, { once: true })
      })
    } finally {
      signal?.removeEventListener('abort', abort)
      // The process waits for the end of a worker that is being ended.
      if (this.#lost === undefined) this.#thread.hold(this.#waiting.size > 0)
    }
  }

  #take(message: FromWorker): void {
    switch (message.told) {
      case 'progress':
        this.#tell(() => this.#listener.progress(message.info))
        break
      case 'warning':
        this.#tell(() => this.#listener.warning(message.message))
        break
      case 'answer':
        if (message.now) this.capabilities = message.now
        this.#answered(message.id)?.resolve(message.value)
        break
      case 'failure':
        this.#answered(message.id)?.reject(thrownOf(message.error), message.isAbort)
    }
  }

  #answered(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    return waiting
  }

  /** A callback that throws fails the pipeline with what it threw, as it fails loading in the thread itself. */
  #tell(callback: () => void): void {
    try {
      callback()
    } catch (error) {
      void this.end(error)
    }
  }
}
