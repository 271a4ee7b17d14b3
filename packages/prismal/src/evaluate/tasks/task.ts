/** What a task is: how items come out of data, how a model is asked about them, and what its answers are measured by. */
import type { Model, ModelFiles, Tokenizer } from '@prismal/models'
import type { Task as PipelineTask } from '../../locate.js'
import type { Asker } from '../asking.js'
import type { Columns, Metric, Named } from '../cell.js'

/** What may be set of tasks; a task names those that it goes by among its `settings`. */
export interface TaskSettings {
  /** Rows of a window of text; default 512 or the model's positions. */
  readonly window?: number
  /** Tokens from a window's start to the next one's; default: the window. */
  readonly stride?: number
  /** Tokens of a prompt and of what follows it; defaults 256 and 64. */
  readonly prompt?: number
  readonly continuation?: number
  /** Rows that a sequence of texts counts as or is filled up to; see `pads`. */
  readonly padTo?: number
  /** `masked`: rows are dealt as though there were pads, which no row attends to; `averaged`: pads are rows like others. */
  readonly pads?: 'masked' | 'averaged'
  /** Longer texts are cut to so many tokens; default: the model's positions. */
  readonly maxTokens?: number
  /** Only texts that have at least so many tokens are items. */
  readonly minTokens?: number
  /** Chooses items where only some are taken, and a cloze's candidates; default 0. */
  readonly seed?: number
}

export interface TaskContext {
  readonly model: Model
  readonly files: ModelFiles
  /** Throws `ModelError` where neither the model nor `--tokenizer` has one. */
  tokenizer(): Promise<Tokenizer>
  /** Where the data lie. */
  readonly data: string
  readonly split: string | undefined
  readonly settings: TaskSettings
}

/** A task with its model and data. */
export interface Prepared {
  readonly data: Named
  readonly count: number
  readonly metrics: readonly Metric[]
  /** What else changes results. */
  readonly settings: Readonly<Record<string, string | number | boolean>>
  /** Items that a request takes together. */
  readonly together: number
  /** Answers to items by their numbers: of each item one row or several, in the items' order. */
  run(ask: Asker, items: readonly number[]): Promise<Columns>
}

export interface TaskKind {
  /** One line for `--help`. */
  readonly about: string
  /** The pipeline whose default model it takes. */
  readonly pipeline: PipelineTask
  /** Whether rows are scored by their distance from a cut, so that one device is scored on the same rows. */
  readonly byDistance: boolean
  prepare(context: TaskContext): Promise<Prepared>
}

/** Columns, one after another. */
export function joinColumns(parts: readonly Columns[]): Columns {
  const names = Object.keys(parts[0] ?? {})
  return Object.fromEntries(names.map(name => [name, parts.flatMap(p => p[name] ?? [])]))
}

/** Columns of rows that have the same names each. */
export function columnsOf(rows: readonly Readonly<Record<string, number>>[]): Columns {
  const names = Object.keys(rows[0] ?? {})
  return Object.fromEntries(names.map(name => [name, rows.map(r => r[name] as number)]))
}
