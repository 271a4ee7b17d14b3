/** Answers of one device and of ways of sharing, computed when they are asked for and kept as differences. */
import type { SharedRunner, SharingOptions } from '@prismal/distribute'
import { aloneRunner, type Model, type Runner } from '@prismal/models'
import type { Item } from './items.js'
import type { Candidate } from './ladder.js'
import type { Difference, Loss } from './losses.js'
import type { Tell } from './procedure.js'

export interface TrialOptions {
  readonly signal?: AbortSignal
  /** Told of each candidate that is tried and how many inputs it was tried on so far. */
  readonly onProgress?: (progress: { readonly sharing: SharingOptions; readonly inputs: number }) => void
}

/** Requests have as many items. */
const TOGETHER = 8

export class Trial {
  readonly #loss: Loss
  readonly #model: Model
  readonly #items: readonly Item[]
  readonly #runner: SharedRunner
  readonly #options: TrialOptions
  readonly #one: unknown[] = []
  readonly #differences = new Map<string, Difference[]>()

  constructor(loss: Loss, model: Model, items: readonly Item[], runner: SharedRunner, options: TrialOptions = {}) {
    this.#loss = loss
    this.#model = model
    this.#items = items
    this.#runner = runner
    this.#options = options
  }

  get inputs(): number {
    return this.#items.length
  }
  /** Of the loss. */
  get facts(): Pick<Loss, 'unit' | 'inputsAre'> {
    const { unit, inputsAre } = this.#loss
    return { unit, inputsAre }
  }

  readonly tell: Tell<Candidate> = async (candidate, inputs, alpha) => {
    const key = JSON.stringify(candidate.sharing)
    const differences = this.#differences.get(key) ?? []
    this.#differences.set(key, differences)
    const alone = aloneRunner(this.#model)
    const shared = this.#runner.with(candidate.sharing)
    while (differences.length < inputs) {
      const from = differences.length
      const to = Math.min(from + TOGETHER, inputs)
      if (this.#one.length < to) this.#one.push(...(await this.#answers(alone, this.#one.length, to)))
      for (const [i, answer] of (await this.#answers(shared, from, to)).entries())
        differences.push(this.#loss.compare(this.#one[from + i], answer))
      this.#options.onProgress?.({ sharing: candidate.sharing, inputs: to })
    }
    return this.#loss.bound(differences.slice(0, inputs), alpha)
  }

  async #answers(runner: Runner, from: number, to: number): Promise<unknown[]> {
    const inputs = await Promise.all(this.#items.slice(from, to).map(item => item.read()))
    const request = runner.begin(this.#options.signal)
    try {
      return await this.#loss.answers(this.#model, request, inputs)
    } finally {
      request.end()
    }
  }
}
