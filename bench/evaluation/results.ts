/** Runs the experiments' cells, or takes them from their files, and resamples their metrics. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import {
  type Cell,
  type Environment,
  type EvaluationProgress,
  evaluate,
  METRICS,
  type Metric,
  type Sampled,
  Subject,
  type SubjectOptions,
  sample,
} from 'prismal/evaluate'
import { type Experiment, type PlannedCell, plannedCells, type Role } from './experiments.js'
import { CACHE, inRepository, REPOSITORY } from './paths.js'

/** A finished cell with what it is for, and its metric resampled. */
export interface RoleCell {
  readonly role: Role
  /** The number of devices whose rows it is scored on: one device is scored as each number of them. */
  readonly cuts: number
  readonly cell: Cell
  readonly sampled: Sampled
}

export interface Result {
  readonly experiment: Experiment
  readonly metric: Metric
  readonly cells: readonly RoleCell[]
  readonly environment: Environment
}

const OUT = join(CACHE, 'evaluation')

/** What an experiment is to run. */
export interface Planned {
  readonly experiment: Experiment
  readonly cells: readonly PlannedCell[]
  /** Digest of the model, the data and the cells: with the same one, the same is found. */
  readonly key: string
}

/** Plans an experiment's cells with its model. Gives what is missing where it cannot be run. */
export async function planned(experiment: Experiment): Promise<Planned | { readonly missing: string }> {
  for (const needed of [experiment.model, experiment.data])
    if (!existsSync(needed)) return { missing: `${relative(REPOSITORY, needed)} does not exist` }
  const loaded = await Subject.load(subjectOf(experiment))
  const { shape, model, data } = loaded.facts
  await loaded.dispose()
  const cells = plannedCells(experiment, shape)
  const key = createHash('sha256')
    .update(JSON.stringify([inRepository(experiment), cells, model, data]))
    .digest('hex')
    .slice(0, 24)
  return { experiment, cells, key }
}

function subjectOf({ task, model, tokenizer, data, split, settings }: Experiment): SubjectOptions {
  return {
    ...{ task, model, data },
    ...(tokenizer !== undefined && { tokenizer }),
    ...(split !== undefined && { split }),
    ...(settings && { settings }),
  }
}

export interface RunOptions {
  /** At most so many items of each experiment. */
  readonly limit?: number
  readonly jobs?: number
  readonly progress?: (progress: EvaluationProgress) => void
}

/** One experiment's cells; finished ones are kept in bench/.cache and not run again. */
export async function runExperiment(
  { experiment, cells }: Planned,
  { limit, jobs, progress }: RunOptions,
): Promise<Result> {
  const most = least(experiment.limit, limit)
  const evaluation = await evaluate({
    ...subjectOf(experiment),
    cells: cells.map(p => p.cell),
    out: join(OUT, experiment.task),
    ...(most !== undefined && { limit: most }),
    ...(jobs !== undefined && { jobs }),
    ...(progress && { progress }),
  })
  const metric = metricNamed(experiment.metric)
  return { experiment, metric, environment: evaluation.environment, cells: withRoles(cells, evaluation.cells, metric) }
}

/** The cells with what they are for, and their metric resampled together. Cells that come to the same were evaluated once. */
function withRoles(planned: readonly PlannedCell[], cells: readonly Cell[], metric: Metric): RoleCell[] {
  const sampled = sample(cells, metric)
  const nameOf = (devices: number, sharing: object, cuts: unknown): string =>
    JSON.stringify([devices, Object.entries(sharing).sort(), cuts])
  const byName = new Map(
    cells.map((cell, i) => [nameOf(cell.devices, cell.sharing, cell.settings.cuts), [cell, sampled[i]] as const]),
  )
  return planned.map(({ role, cell: { devices, sharing, cuts, method } }) => {
    const found = byName.get(nameOf(devices, sharing, cuts)) ?? byName.get(nameOf(devices, sharing, undefined))
    const [cell, figure] = found as readonly [Cell, Sampled]
    return { role, cuts, cell: { ...cell, method }, sampled: figure }
  })
}

/** Throws where there is none. */
export function metricNamed(name: string): Metric {
  const metric = METRICS.find(m => m.name === name)
  if (!metric) throw new Error(`there is no metric ${name}`)
  return metric
}

/** Whether a difference of the metric is in points of a hundred. */
export const isInPoints = ({ unit }: Pick<Metric, 'unit'>): boolean => unit === '%' || unit === 'points'

/** A metric's value, or a difference, as tables show it. */
export const figure = (value: number, metric: Pick<Metric, 'unit'>): string => value.toFixed(isInPoints(metric) ? 2 : 4)

const least = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.min(a, b)
