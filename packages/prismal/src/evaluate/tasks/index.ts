/** The tasks by their names. */
import { InputError } from '@prismal/models'
import type { Metric } from '../cell.js'
import { METRICS } from '../metrics.js'
import { cloze } from './cloze.js'
import { generation } from './generation.js'
import { imageClassification } from './images.js'
import { languageModelling } from './language.js'
import { sentenceSimilarity, textClassification } from './sentences.js'
import type { TaskKind } from './task.js'

const KINDS = {
  'image-classification': imageClassification,
  'sentence-similarity': sentenceSimilarity,
  'text-classification': textClassification,
  'language-modelling': languageModelling,
  generation,
  cloze,
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
  return names.flatMap(name => METRICS.find(m => m.name === name) ?? [])
}
