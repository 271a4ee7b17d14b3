/** Runs the experiments' cells, or takes them from their files, and resamples their metrics. */
import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { StackShape } from '@prismal/models'
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
import { BEST_READING, type Experiment, type PlannedCell, plannedCells, type Role } from './experiments.js'
import { CACHE, REPOSITORY } from './paths.js'

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

/** What was not run. */
export interface Skipped {
  readonly name: string
  readonly reason: string
}

const OUT = join(CACHE, 'evaluation')

export interface RunOptions {
  /** At most so many items of each experiment. */
  readonly limit?: number
  readonly jobs?: number
  readonly signal?: AbortSignal
  readonly progress?: (experiment: Experiment, progress: EvaluationProgress) => void
}

/** One experiment's cells; finished ones are kept in bench/.cache and not run again. Gives why where something is missing. */
export async function runExperiment(experiment: Experiment, options: RunOptions = {}): Promise<Result | Skipped> {
  for (const needed of [experiment.model, experiment.data])
    if (!existsSync(needed)) return { name: experiment.name, reason: `${relative(REPOSITORY, needed)} does not exist` }
  const { task, model, tokenizer, data, split, settings } = experiment
  const limit = least(experiment.limit, options.limit)
  const subject = {
    ...{ task, model, data },
    ...(tokenizer !== undefined && { tokenizer }),
    ...(split !== undefined && { split }),
    ...(settings && { settings }),
  }
  const planned = plannedCells(experiment, await shapeOf(subject))
  const evaluation = await evaluate({
    ...subject,
    cells: planned.map(p => p.cell),
    out: join(OUT, task),
    ...(limit !== undefined && { limit }),
    ...(options.jobs !== undefined && { jobs: options.jobs }),
    ...(options.signal && { signal: options.signal }),
    ...(options.progress && { progress: (p: EvaluationProgress) => options.progress?.(experiment, p) }),
  })
  const metric = metricNamed(experiment.metric)
  return {
    experiment,
    metric,
    environment: evaluation.environment,
    cells: withRoles(planned, evaluation.cells, metric),
  }
}

async function shapeOf(subject: SubjectOptions): Promise<StackShape> {
  const loaded = await Subject.load(subject)
  await loaded.dispose()
  return loaded.facts.shape
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

/** Among the cells of some number of devices, the published method in f32, in the reading that counts, with so many rows. */
export const publishedCell = (cells: readonly RoleCell[], { family }: Experiment, rows: number): RoleCell | undefined =>
  cells.find(
    ({ role }) =>
      role.kind === 'published' && role.rows === rows && role.wire === 'f32' && role.reading === BEST_READING[family],
  )

/** Devices of which one was lost, in one way of sharing. */
export interface LostDevice {
  /** As its role names it. */
  readonly among: string
  readonly one: RoleCell
  /** By the layer from which on nothing was heard. */
  readonly byLayer: ReadonlyMap<number, RoleCell>
}

/** Cells of lost devices, beside those of one device that they are compared with. */
export function lostDevices({ cells }: Result): LostDevice[] {
  const found = new Map<string, { one: RoleCell; byLayer: Map<number, RoleCell> }>()
  for (const cell of cells) {
    if (cell.role.kind !== 'lost') continue
    const { among, layer } = cell.role
    const one = found.get(among)?.one ?? cells.find(c => c.role.kind === 'one' && c.cuts === cell.cell.devices)
    if (!one) continue
    const byLayer = found.get(among)?.byLayer ?? new Map<number, RoleCell>()
    found.set(among, { one, byLayer: byLayer.set(layer, cell) })
  }
  return [...found].map(([among, way]) => ({ among, ...way }))
}

const least = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.min(a, b)
