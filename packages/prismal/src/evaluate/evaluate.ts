/** Evaluates the cells of a grid: finished ones are taken from their files, the others dealt to threads in runs of items. */
import { availableParallelism } from 'node:os'
import { createPlan } from '@prismal/distribute'
import { InputError } from '@prismal/models'
import { cutOfWay, type Tally } from './asking.js'
import type { Cell, CellCost, CellKey, Columns } from './cell.js'
import { DataError } from './data/errors.js'
import { type Environment, environment } from './environment.js'
import type { GridCell } from './grid.js'
import type { JobOrder } from './job.js'
import { Pool } from './pool.js'
import { shuffled } from './random.js'
import { digestOfFiles } from './read-files.js'
import { digestOf, loadCell, storeCell } from './store.js'
import type { SubjectFacts, SubjectOptions } from './subject.js'
import { metricsOf, taskKind } from './tasks/index.js'
import { joinColumns } from './tasks/task.js'

export interface EvaluateOptions extends SubjectOptions {
  readonly cells: readonly GridCell[]
  /** Only items [from, to) of the data; default: all. */
  readonly items?: readonly [from: number, to: number]
  /** At most so many of them: the first ones, or where `settings.seed` is given those that it chooses. */
  readonly limit?: number
  /** Threads, each with a model of its own; default: one a core, no more than runs of items. */
  readonly jobs?: number
  /** The folder of finished cells: they are not evaluated again. Default: none are kept. */
  readonly out?: string
  /** Ends the evaluation with the signal's reason; finished cells have been written. */
  readonly signal?: AbortSignal
  readonly progress?: (progress: EvaluationProgress) => void
}

export interface EvaluationProgress {
  /** Cells that are done, of all; those taken from files count. */
  readonly cells: readonly [done: number, all: number]
  /** Items of cells that were not there before: done, of all. */
  readonly items: readonly [done: number, all: number]
  /** The cell that was just finished. */
  readonly finished?: Cell
}

export interface Evaluation {
  /** In the order of the grid. */
  readonly cells: readonly Cell[]
  /** How many of them were there already. */
  readonly reused: number
  /** Names of the task's metrics, the one that tables go by first. */
  readonly metrics: readonly string[]
  readonly environment: Environment
}

/** A cell on its way. */
interface Pending {
  readonly grid: GridCell
  readonly key: CellKey
  readonly digest: string
  readonly answers: Columns[]
  tally: Tally | undefined
  left: number
  started: number | undefined
}

/**
 * Throws `ModelError`, `InputError`, `PlanError` or {@link DataError} where model, data, task and options do not fit each other, before
 * anything is computed.
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  const { jobs = availableParallelism(), out, signal } = options
  if (!(Number.isSafeInteger(jobs) && jobs >= 1)) throw new InputError(`jobs is ${jobs}, not a whole number ≥ 1`)
  taskKind(options.task)
  signal?.throwIfAborted()
  const { task, model, tokenizer, data, split, settings, dtype } = options
  const subject: SubjectOptions = {
    ...{ task, data },
    ...(model !== undefined && { model }),
    ...(tokenizer !== undefined && { tokenizer }),
    ...(split !== undefined && { split }),
    ...(settings && { settings }),
    ...(dtype && { dtype }),
  }
  const pool = await Pool.start(subject)
  try {
    const { facts } = pool
    const items = chosenItems(facts.count, options)
    const files = out === undefined ? undefined : await digestOfFiles(subject, signal)
    const keyed = pendingCells(options, facts, items, files)
    return await evaluateCells(pool, keyed, items, { ...options, jobs })
  } finally {
    await pool.end()
  }
}

async function evaluateCells(
  pool: Pool,
  keyed: readonly Pending[],
  items: readonly number[],
  options: EvaluateOptions & { readonly jobs: number },
): Promise<Evaluation> {
  const { jobs, out, signal, progress } = options
  const { facts } = pool
  const found = environment(facts.build)
  const metrics = metricsOf(facts.metrics)
  const done = new Map<Pending, Cell>()
  for (const pending of keyed) {
    const stored = out === undefined ? undefined : await loadCell(out, pending.digest)
    if (stored) done.set(pending, { ...stored, method: pending.grid.method })
  }
  const reused = done.size
  const missing = keyed.filter(pending => !done.has(pending))
  let answered = 0
  const tell = (finished?: Cell): void =>
    progress?.({
      cells: [done.size, keyed.length],
      items: [answered, missing.length * items.length],
      ...(finished && { finished }),
    })
  tell()
  const take = async (
    { pending, at }: Order,
    { columns, tally }: { columns: Columns; tally: Tally },
  ): Promise<void> => {
    pending.answers[at] = columns
    pending.tally = added(pending.tally, tally)
    pending.left--
    answered += runOf(items, at, facts).length
    if (pending.left > 0) return tell()
    const all = joinColumns(pending.answers)
    const rows = Array.from({ length: Object.values(all)[0]?.length ?? 0 }, (_, i) => i)
    if (rows.length === 0)
      throw new DataError(
        `${options.data} has no row beyond the first of ${pending.grid.cuts} devices (${pending.key.settings.cut ?? 'even parts'}): nothing can be scored`,
      )
    const cell: Cell = {
      ...pending.key,
      method: pending.grid.method,
      cost: meanCost(pending.tally),
      columns: all,
      metrics: Object.fromEntries(metrics.map(m => [m.name, m.of(all, rows)])),
      numericsClass: facts.numericsClass,
      seconds: (performance.now() - (pending.started as number)) / 1000,
    }
    if (out !== undefined) await storeCell(out, pending.digest, { ...cell, environment: found })
    done.set(pending, cell)
    tell(cell)
  }
  await pool.grow(Math.min(jobs, missing.length * countRuns(items, facts)))
  await pool.run(ordersOf(missing, items, facts), take, signal)
  const cells = keyed.map(pending => done.get(pending) as Cell)
  return { cells, reused, metrics: facts.metrics, environment: found }
}

interface Order extends JobOrder {
  readonly pending: Pending
  /** Number of the run of items. */
  readonly at: number
}

/** Requests that a run of items makes: few enough to share the last ones fairly, many enough that messages do not matter. */
const REQUESTS_A_RUN = 4
const runOf = (items: readonly number[], at: number, { together }: SubjectFacts): readonly number[] =>
  items.slice(at * together * REQUESTS_A_RUN, (at + 1) * together * REQUESTS_A_RUN)

const countRuns = (items: readonly number[], { together }: SubjectFacts): number =>
  Math.ceil(items.length / (together * REQUESTS_A_RUN))

function* ordersOf(cells: readonly Pending[], items: readonly number[], facts: SubjectFacts): Generator<Order> {
  for (const pending of cells) {
    const { method: _, ...way } = pending.grid
    const runs = countRuns(items, facts)
    pending.left = runs
    pending.started = performance.now()
    for (let at = 0; at < runs; at++) yield { pending, at, way, items: runOf(items, at, facts) }
  }
}

/** What each cell is known by; cells that come to the same are one. */
function pendingCells(
  options: EvaluateOptions,
  facts: SubjectFacts,
  items: readonly number[],
  files: string | undefined,
): Pending[] {
  const { task, cells } = options
  const { byDistance } = taskKind(task)
  const some = items.length < facts.count ? { items: nameOfItems(items.length, options) } : {}
  const known = new Map<string, Pending>()
  for (const asked of cells) {
    const { method, devices, sharing } = asked
    const grid: GridCell = byDistance ? asked : { method, devices, sharing, cuts: devices }
    const key: CellKey = {
      task,
      data: { ...facts.data, items: items.length },
      model: facts.model,
      ...{ devices, sharing },
      settings: { ...facts.settings, ...(byDistance && cutSettings(grid)), ...some },
    }
    const { shape } = facts
    const plan = createPlan({ shape, rows: [shape.positions], want: 'all', devices }, sharing)
    const digest = digestOf(key, plan, files)
    if (!known.has(digest))
      known.set(digest, { grid, key, digest, answers: [], tally: undefined, left: 0, started: undefined })
  }
  return [...known.values()]
}

/** Where rows count as cut, in words where not into even parts. */
function cutSettings(grid: GridCell): CellKey['settings'] {
  const cut = Object.entries(cutOfWay(grid)).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
  return { cuts: grid.cuts, ...(cut.length > 0 && { cut: cut.join(' ') }) }
}

/** Which items, where not all of them. */
function nameOfItems(count: number, { items, limit, settings }: EvaluateOptions): string {
  const { seed } = settings ?? {}
  const chosen = limit === undefined ? [] : [seed === undefined ? `first ${count}` : `${count} by seed ${seed}`]
  return [...(items ? [items.join('-')] : []), ...chosen].join(', ')
}

function chosenItems(count: number, { items, limit, settings }: EvaluateOptions): number[] {
  const [from, to] = items ?? [0, count]
  if (!(Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0 && from < to && to <= count))
    throw new DataError(`items ${from}-${to} were asked for; the data have ${count}, from 0`)
  const all = Array.from({ length: to - from }, (_, i) => from + i)
  if (limit === undefined || limit >= all.length) return all
  if (settings?.seed === undefined) return all.slice(0, limit)
  const order = shuffled(all.length, settings.seed).slice(0, limit)
  return order.sort((a, b) => a - b).map(i => all[i] as number)
}

function added(sum: Tally | undefined, more: Tally): Tally {
  if (!sum) return more
  const names = Object.keys(sum) as (keyof Tally)[]
  return Object.fromEntries(names.map(name => [name, sum[name] + more[name]])) as unknown as Tally
}

function meanCost({ requests, ...sums }: Tally): CellCost {
  const names = Object.keys(sums) as (keyof CellCost)[]
  return Object.fromEntries(names.map(name => [name, sums[name] / requests])) as unknown as CellCost
}
