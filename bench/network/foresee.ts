/** What `plan --measured` says of a request before it runs, and beside it. */
import {
  type Choice,
  compare,
  type Measurements,
  measure,
  type SharedRunner,
  type SharedWork,
  type SharingOptions,
  verify,
} from '@prismal/distribute'
import type { Head, Part, Want } from '@prismal/models'
import type { Foreseen, Verification } from './coordinator-messages.js'

export interface Question {
  readonly runner: SharedRunner
  readonly sequences: readonly Part[]
  readonly want: Want
  readonly head: Head
  /** How means are sent. */
  readonly sharing: SharingOptions
}

/** Devices and links as they were measured for a question, and what follows. */
export class Forecast {
  readonly #question: Question
  readonly #work: SharedWork
  readonly #measurements: Measurements
  readonly #choice: Choice

  private constructor(question: Question, work: SharedWork, measurements: Measurements) {
    this.#question = question
    this.#work = work
    this.#measurements = measurements
    const { strategy: _, ...means } = question.sharing
    this.#choice = compare(work, measurements, means, { sequences: question.sequences })
  }

  static async make(question: Question): Promise<Forecast> {
    const { runner, sequences, want, head, sharing } = question
    const rows = sequences.map(part => part.to)
    const { strategy: _, ...means } = sharing
    const measurements = await measure(runner, { rows, want, head, sharing: means })
    return new Forecast(question, { shape: runner.model.shape, rows, want }, measurements)
  }

  get foreseen(): Foreseen {
    const { candidates, chosen, reason } = this.#choice
    const milliseconds = Object.fromEntries(candidates.map(c => [c.strategy, c.milliseconds]))
    return { milliseconds, chosen: chosen.strategy, reason }
  }

  /** Requests by each candidate, and predictions out of speeds that were measured between them. */
  async verify(rounds: number): Promise<Verification[]> {
    const { runner, head } = this.#question
    const found = await verify(runner, this.#work, this.#measurements, this.#choice.candidates, { head, rounds })
    return found.map(({ candidate, predictedMs, measuredMs }) => ({ way: candidate.strategy, predictedMs, measuredMs }))
  }
}
