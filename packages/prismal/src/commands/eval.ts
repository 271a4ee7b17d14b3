/** `prismal eval`: what sharing costs, on data, and what it gains. */
import { readFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { PlanError, POINTS, type SharingOptions, STRATEGIES, WIRE_FORMATS } from '@prismal/distribute'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type EvaluateOptions, type Evaluation, type EvaluationProgress, evaluate } from '../evaluate/evaluate.js'
import { type Axes, type GridCell, gridCells, parseGrid } from '../evaluate/grid.js'
import { summaries } from '../evaluate/summary.js'
import { csvOf, textTable } from '../evaluate/tables.js'
import { EVALUATION_TASKS, type EvaluationTask, taskKind } from '../evaluate/tasks/index.js'
import type { TaskSettings } from '../evaluate/tasks/task.js'
import { type EngineFlags, withDtype } from './engine-flags.js'
import { expectFitting, isGiven, longName, oneOf } from './fitting.js'
import { outputFile, outputFolder } from './output.js'
import { whole } from './sharing.js'
import { duration } from './units.js'

interface EvalFlags extends EngineFlags, TaskSettings {
  readonly model?: string
  readonly tokenizer?: string
  readonly data: string
  readonly split?: string
  readonly items?: readonly [number, number]
  readonly limit?: number
  readonly devices: readonly string[]
  readonly segments?: readonly string[]
  readonly sink?: readonly string[]
  readonly strategy?: readonly string[]
  readonly point?: readonly string[]
  readonly wire?: readonly string[]
  readonly vary?: readonly (readonly [string, readonly unknown[]])[]
  readonly baselines?: true
  readonly grid?: string
  readonly jobs: number
  readonly out?: string
  readonly json?: true
  readonly csv?: string
}

export function addEval(program: Command): void {
  const tasks = EVALUATION_TASKS.map(name => `  ${name.padEnd(21)}  ${taskKind(name).about}`)
  const command = program
    .command('eval')
    .description('what sharing costs in accuracy, bytes and compute, on data')
    .argument('<task>', `one of ${EVALUATION_TASKS.join(', ')}`, oneOf(EVALUATION_TASKS, 'Tasks'))
    .requiredOption('--data <where>', 'a data set: a file, or a folder of them')
    .option('--split <name>', "which of the folder's files (default: dev, else test)")
    .option('--model <location>', "a model folder, URL or package (default: the task's)")
    .option('--tokenizer <location>', 'a folder that has the tokenizer, where the model has none')
    .option('--items <from-to>', 'only these items, from 0, the last one excluded', itemRange)
    .option('--limit <N>', 'only N items: the first ones, or with --seed those that it chooses', whole(1))
    .option('--seed <n>', 'chooses items, and candidates of a cloze', whole(0))
  command
    .option('--devices <P...>', 'numbers of devices', ['2'])
    .option('--segments <L...>', 'segment means that each device sends of its rows')
    .option('--sink <K...>', 'leading rows that are sent exactly')
    .option('--strategy <name...>', `how devices share: ${STRATEGIES.join(', ')}`)
    .option('--point <name...>', `where means are taken: ${POINTS.join(', ')}`)
    .option('--wire <format...>', `how rows travel: ${WIRE_FORMATS.join(', ')}`)
    .option('--vary <name=values>', 'another option of sharing, e.g. weights=[[1,2],[2,1]] (repeatable)', axis)
    .option('--baselines', 'also full, and each reading of the published method (for each --segments)')
    .option('--grid <file>', 'instead: a JSON list of cells, { devices, sharing, method? } each')
  command
    .option('--window <N>', 'language-modelling: rows of a window (default: 512)', whole(2))
    .option('--stride <N>', 'language-modelling: tokens from one window to the next (default: the window)', whole(1))
    .option('--prompt <N>', 'generation: tokens of a prompt (default: 256)', whole(2))
    .option('--continuation <N>', 'generation: tokens that follow it (default: 64)', whole(1))
    .option('--pad-to <N>', 'texts: rows that shorter ones count as having', whole(1))
    .addOption(
      new Option('--pads <how>', 'texts: pads are masked, or rows like others (default: masked)').choices([
        'masked',
        'averaged',
      ]),
    )
    .option('--min-tokens <N>', 'texts: only those that have so many', whole(1))
    .option('--max-tokens <N>', "texts: longer ones are cut (default: the model's positions)", whole(1))
  withDtype(command)
    .option('--jobs <N>', 'threads, each with a model of its own', whole(1), availableParallelism())
    .option('--out <dir>', 'keep finished cells here, and take those that are there', outputFolder)
    .option('--json', 'print one JSON object')
    .option('--csv <file>', 'write a line for each cell', outputFile)
    .addHelpText('after', `\nTasks:\n${tasks.join('\n')}`)
    .action(run)
}

const SENTENCES: readonly EvaluationTask[] = ['sentence-similarity', 'text-classification']
/** Options that are not for all tasks. */
const TASKS_OF: Readonly<Record<string, readonly EvaluationTask[]>> = {
  tokenizer: EVALUATION_TASKS.filter(name => name !== 'image-classification'),
  padTo: EVALUATION_TASKS.filter(name => name !== 'image-classification'),
  ...{ window: ['language-modelling'], stride: ['language-modelling'] },
  ...{ prompt: ['generation'], continuation: ['generation'] },
  ...{ pads: SENTENCES, minTokens: SENTENCES, maxTokens: SENTENCES },
}
/** What a file of cells says instead. */
const OF_GRID = ['devices', 'segments', 'sink', 'strategy', 'point', 'wire', 'vary', 'baselines']

function expectFits(task: EvaluationTask, flags: EvalFlags, command: Command): void {
  expectFitting(command, task, TASKS_OF)
  const also = OF_GRID.find(name => isGiven(command, name))
  if (flags.grid !== undefined && also !== undefined)
    command.error(`error: --grid says how devices share: leave ${longName(command, also)} out`)
  if (flags.pads !== undefined && flags.padTo === undefined) command.error('error: --pads is for --pad-to')
  if (flags.seed !== undefined && flags.limit === undefined && task !== 'cloze')
    command.error('error: --seed chooses the items of --limit, and what a cloze asks')
}

async function run(task: EvaluationTask, flags: EvalFlags, command: Command): Promise<void> {
  expectFits(task, flags, command)
  const abort = new AbortController()
  const onInterrupt = (): void => abort.abort(new Error('interrupted: finished cells are kept where --out was given'))
  process.once('SIGINT', onInterrupt)
  const show = process.stderr.isTTY ? progressLine() : undefined
  try {
    const { data, model, tokenizer, split, items, limit, dtype, jobs, out } = flags
    const options: EvaluateOptions = {
      ...{ task, data, jobs, cells: await cellsOf(flags), settings: settingsOf(flags), signal: abort.signal },
      ...(model !== undefined && { model }),
      ...(tokenizer !== undefined && { tokenizer }),
      ...(split !== undefined && { split }),
      ...(items && { items }),
      ...(limit !== undefined && { limit }),
      ...(dtype && { dtype }),
      ...(out !== undefined && { out }),
      ...(show && { progress: show }),
    }
    const evaluation = await evaluate(options).finally(() => show && process.stderr.write('\r\u001b[K'))
    if (flags.csv !== undefined) await writeFile(flags.csv, csvOf(evaluation))
    console.log(flags.json ? JSON.stringify(jsonOf(evaluation)) : textTable(evaluation))
  } finally {
    process.off('SIGINT', onInterrupt)
  }
}

const SETTINGS = [
  'window',
  'stride',
  'prompt',
  'continuation',
  'padTo',
  'pads',
  'maxTokens',
  'minTokens',
  'seed',
] as const

const settingsOf = (flags: EvalFlags): TaskSettings =>
  Object.fromEntries(SETTINGS.flatMap(name => (flags[name] === undefined ? [] : [[name, flags[name]]])))

async function cellsOf(flags: EvalFlags): Promise<GridCell[]> {
  const { devices, segments, sink, strategy, point, wire, vary = [], padTo, pads = 'masked' } = flags
  const fixed = (padTo !== undefined && pads === 'masked' ? { padTo } : {}) as SharingOptions
  if (flags.grid !== undefined) return parseGrid(await jsonAt(flags.grid), flags.grid, fixed)
  const axes: Axes = {
    ...(strategy && { strategy }),
    ...(segments && { segments: segments.map(number('segments')) }),
    ...(sink && { sink: sink.map(number('sink')) }),
    ...(point && { point }),
    ...(wire && { wire }),
    ...Object.fromEntries(vary),
  }
  return gridCells({ devices: devices.map(number('devices')), axes, fixed, baselines: flags.baselines === true })
}

async function jsonAt(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    throw new PlanError(`${path} cannot be read as JSON: ${(error as Error).message}`)
  }
}

/** Whole numbers of options that take several. */
const number =
  (name: string) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !Number.isSafeInteger(value))
      throw new PlanError(`plan: ${name} is ${text}, not a whole number`)
    return value
  }

function itemRange(text: string): [number, number] {
  const [, from, to] = /^(\d+)-(\d+)$/.exec(text) ?? []
  if (from === undefined || Number(from) >= Number(to)) throw new InvalidArgumentError('It is like 0-500.')
  return [Number(from), Number(to)]
}

/** `order=raster,hilbert` or, for values that have commas, a JSON list of them. */
function axis(text: string, before: [string, unknown[]][] = []): [string, unknown[]][] {
  const [, name, list] = /^(\w+)=(.+)$/s.exec(text) ?? []
  if (name === undefined || list === undefined) throw new InvalidArgumentError('It is like wire=f32,int8.')
  return [...before, [name, list.startsWith('[') ? listOf(list) : list.split(',').map(literal)]]
}

function listOf(text: string): unknown[] {
  try {
    return JSON.parse(text) as unknown[]
  } catch {
    throw new InvalidArgumentError('It begins as a JSON list and is none.')
  }
}

/** A number, true or false where it is one, else the text. */
function literal(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** One object: cells less the answers to each item, which `--out` keeps. */
function jsonOf(evaluation: Evaluation): object {
  const { cells, metrics, environment, reused } = evaluation
  const output = summaries(cells, metrics[0] as string).map(({ cell: { columns: _, ...cell }, ...beside }) => ({
    ...cell,
    ...beside,
  }))
  return { output, metrics, reused, ...environment }
}

/** A line that is written over: cells, items, what is left. */
function progressLine(): (progress: EvaluationProgress) => void {
  const started = performance.now()
  return ({ cells, items: [done, all] }) => {
    const left = done > 0 ? ` · ${duration(((performance.now() - started) / done) * (all - done))} left` : ''
    const width = 24
    const full = Math.round((width * done) / Math.max(1, all))
    const bar = `${'█'.repeat(full)}${'░'.repeat(width - full)}`
    process.stderr.write(`\r\u001b[K${bar} ${cells[0]} of ${cells[1]} cells · ${done} of ${all} items${left}`)
  }
}
