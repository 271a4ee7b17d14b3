/** The worker as the page sees it. */
import type { Answer, FromStudio, Question } from './messages.js'
import { type Spawn, startForStudio } from './page-workers.js'

export class Studio {
  readonly #worker: Worker
  readonly #listeners = new Map<number, (answer: Answer) => void>()
  #asked = 0
  #failure: string | undefined

  constructor() {
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'prismal studio' })
    this.#worker.addEventListener('message', ({ data }: MessageEvent<FromStudio | Spawn>) => {
      if ('spawn' in data) return startForStudio(data)
      const { id, answer } = data
      this.#listeners.get(id)?.(answer)
      if (answer.kind === 'done' || answer.kind === 'failed') this.#listeners.delete(id)
    })
    this.#worker.addEventListener('error', event => {
      const why = event.message ? `it threw ${event.message}` : 'its script could not be loaded'
      this.#failure = `The worker that computes has stopped: ${why}. Reload the page to start another.`
      for (const listener of this.#listeners.values()) listener({ kind: 'failed', message: this.#failure })
      this.#listeners.clear()
    })
  }

  /** Asks, and calls `listener` with each answer, of which the last is `done` or `failed`. Returns what stops it. */
  ask(ask: Question, listener: (answer: Answer) => void): () => void {
    const id = ++this.#asked
    if (this.#failure !== undefined) {
      listener({ kind: 'failed', message: this.#failure })
      return () => {}
    }
    this.#listeners.set(id, listener)
    this.#worker.postMessage({ id, ask })
    return () => this.#worker.postMessage({ stop: id })
  }
}
