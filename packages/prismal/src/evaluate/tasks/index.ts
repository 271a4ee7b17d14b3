/** The tasks by their names. */
import { InputError } from '@prismal/models'
import type { Metric } from '../cell.js'
import * as metrics from '../metrics.js'
import { imageClassification } from './images.js'
import { sentenceSimilarity, textClassification } from './sentences.js'
import type { TaskKind } from './task.js'

const KINDS = {
  'image-classification': imageClassification,
  'sentence-similarity': sentenceSimilarity,
  'text-classification': textClassification,
} satisfies Readonly<Record<string, TaskKind>>

export type EvaluationTask = keyof typeof KINDS
export const EVALUATION_TASKS = Object.keys(KINDS) as readonly EvaluationTask[]

/** Throws `InputError` for a task that there is not. */
export function taskKind(name: string): TaskKind {
  if (!Object.hasOwn(KINDS, name)) throw new InputError(`task "${name}" is unknown (${EVALUATION_TASKS.join(', ')})`)
  return KINDS[name as EvaluationTask]
}

/** Metrics by their names. */
export function metricsOf(names: readonly string[]): Metric[] {
  const all = Object.values(metrics).filter((m): m is Metric => 'of' in m)
  return names.flatMap(name => all.find(m => m.name === name) ?? [])
}
