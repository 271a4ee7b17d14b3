/** `npm run evaluate`: runs what is missing of the evaluation, then writes bench/results/evaluation.json, evaluation.md and its charts. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import type { EvaluationProgress } from 'prismal/evaluate'
import { drawer } from '../write-report.js'
import { calibrationKey, missingOf, runCalibration, titleOf } from './calibration.js'
import { CALIBRATIONS, EXPERIMENTS, type Experiment } from './experiments.js'
import { type Finding, findingOf } from './finding.js'
import { type Findings, type FoundCalibration, NOTHING, readFindings, writeFindings } from './findings.js'
import { evaluationCharts, evaluationMarkdown, type NotRun } from './markdown.js'
import { memoryTable } from './memory.js'
import { CACHE } from './paths.js'
import { readReferences } from './references.js'
import { planned, runExperiment } from './results.js'
import { readTrials, triedOf } from './tried.js'

interface Options {
  readonly only?: readonly string[]
  readonly limit?: number
  readonly jobs: number
  readonly out: string
}

const program = new Command('evaluate')
  .description(
    'Evaluates what sharing costs on all tasks, and writes the report. What was found before stays as long as its model, data and ' +
      'cells are the same; finished cells are kept in bench/.cache.',
  )
  .option(
    '--only <names...>',
    'what has one of these names, or one of them in its name ("choosing MRPC": its calibration); it is run again',
  )
  .option('--limit <N>', 'at most so many items of each experiment: a try, which needs an --out of its own', Number)
  .option('--jobs <N>', 'threads', Number, availableParallelism())
  .option('--out <dir>', 'where the report and its findings are', fileURLToPath(new URL('../results', import.meta.url)))
program.parse(process.argv)
const { only, limit, jobs, out } = program.opts<Options>()
if (limit !== undefined && program.getOptionValueSource('out') === 'default')
  program.error('error: --limit is for a try, which is not to replace the report: say --out')

const titles = [...EXPERIMENTS.map(e => e.name), ...CALIBRATIONS.map(titleOf)]
const isNamed = (title: string): boolean =>
  only?.some(asked => (titles.includes(asked) ? title === asked : title.includes(asked))) ?? true

const LEFT_OUT = 'left out by --only'
const CHANGED = 'its model, its data or what is run has changed since: the figures are of the earlier ones'
const file = join(out, 'evaluation.json')
mkdirSync(out, { recursive: true })
// A try's findings are of fewer items.
const before = limit === undefined ? readFindings(file) : NOTHING
const references = readReferences(join(CACHE, 'references'))
const notRun: NotRun[] = []
const experiments: Record<string, Finding> = { ...before.experiments }
const calibrations: Record<string, FoundCalibration> = { ...before.calibrations }
const trials = readTrials(join(CACHE, 'ablations'))
const found = (): Findings => ({
  experiments: inOrder(experiments, titles),
  calibrations: inOrder(calibrations, titles),
  tried: trials.length > 0 ? triedOf(trials) : before.tried,
})

/** Whether it is run: what is named, and without names what is not there yet or has changed since. Says what is not run. */
function isRun<P extends { readonly key: string }>(
  name: string,
  plan: P | { readonly missing: string },
  earlier?: { readonly key: string },
): plan is P {
  if ('missing' in plan) {
    if (!earlier) notRun.push({ name, reason: plan.missing })
    return false
  }
  const isChanged = plan.key !== earlier?.key
  const runs = only ? isNamed(name) : isChanged
  if (!runs && isChanged) notRun.push({ name, reason: earlier ? CHANGED : LEFT_OUT })
  if (runs) console.log(name)
  return runs
}

for (const experiment of EXPERIMENTS) {
  const { name } = experiment
  const plan = await planned(experiment)
  if (!isRun(name, plan, experiments[name])) continue
  const result = await runExperiment(plan, { jobs, progress: told(experiment), ...(limit !== undefined && { limit }) })
  experiments[name] = findingOf(result, plan.key, references)
  writeFindings(file, found())
}

// A few items tell nothing of bounds.
for (const subject of limit === undefined ? CALIBRATIONS : []) {
  const name = titleOf(subject)
  const missing = missingOf(subject)
  const plan = missing === undefined ? { key: await calibrationKey(subject) } : { missing }
  if (!isRun(name, plan, calibrations[name])) continue
  const chosen = await runCalibration(subject, { folder: join(CACHE, 'evaluation/calibration'), jobs })
  calibrations[name] = { key: plan.key, chosen }
  writeFindings(file, found())
}

const folder = join(out, 'evaluation')
mkdirSync(folder, { recursive: true })
const svgOf = await drawer()
for (const old of readdirSync(folder)) rmSync(join(folder, old))
for (const chart of evaluationCharts(found())) writeFileSync(join(folder, `${chart.file}.svg`), svgOf(chart))
writeFindings(file, found())
writeFileSync(join(out, 'evaluation.md'), evaluationMarkdown(found(), { memory: await memoryTable(), notRun }))
console.log(`written: ${join(out, 'evaluation.md')}`)

/** Prints each cell when it is finished. */
function told({ metric }: Experiment): (progress: EvaluationProgress) => void {
  return ({ cells, finished }) => {
    if (!finished) return
    const { devices, method, metrics, seconds } = finished
    console.log(
      `  ${cells[0]} of ${cells[1]}: ${devices} × ${method}: ${metrics[metric]?.toFixed(4)} (${seconds.toFixed(0)} s)`,
    )
  }
}

/** The entries that have one of these names, in their order. */
function inOrder<T>(entries: Readonly<Record<string, T>>, names: readonly string[]): Record<string, T> {
  return Object.fromEntries(names.flatMap(name => (entries[name] ? [[name, entries[name]]] : [])))
}
