/** What `plan --measured` says of a request before it runs. */
import type { SharedRunner } from '@prismal/distribute'
import type { Part, Want } from '@prismal/models'
import type { Foreseen, RunnerSpec, Unforeseen } from './coordinator-messages.js'

export interface Question {
  readonly runner: SharedRunner
  readonly sequences: readonly Part[]
  readonly want: Want
  readonly candidates: Readonly<Record<string, RunnerSpec>>
}

/** Measures devices and links, once for each runner, and predicts every candidate's time. */
export async function foresee(_question: Question): Promise<Foreseen | Unforeseen> {
  return { unavailable: 'devices and links are not measured beforehand here' }
}
