/** `npm run evaluate`: runs what is missing of the evaluation, then writes bench/results/evaluation.md and its charts. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { drawer } from '../write-report.js'
import { type Chosen, missingOf, runCalibration, titleOf } from './calibration.js'
import { CALIBRATIONS, EXPERIMENTS } from './experiments.js'
import { evaluationCharts, evaluationMarkdown } from './markdown.js'
import { memoryTable } from './memory.js'
import { CACHE } from './paths.js'
import { readReferences } from './references.js'
import { type Result, runExperiment, type Skipped } from './results.js'
import { readTrials } from './tried.js'

interface Options {
  readonly only?: readonly string[]
  readonly limit?: number
  readonly jobs: number
  readonly out: string
}

const program = new Command('evaluate')
  .description(
    'Evaluates what sharing costs on all tasks, and writes the report. Finished cells are kept in bench/.cache.',
  )
  .option(
    '--only <names...>',
    'what has one of these names, or one of them in its name ("choosing MRPC": its calibration)',
  )
  .option('--limit <N>', 'at most so many items of each experiment: a try', Number)
  .option('--jobs <N>', 'threads', Number, availableParallelism())
  .option('--out <dir>', 'where the report goes', fileURLToPath(new URL('../results', import.meta.url)))
program.parse(process.argv)
const { only, limit, jobs, out } = program.opts<Options>()

const titles = [...EXPERIMENTS.map(e => e.name), ...CALIBRATIONS.map(titleOf)]
const isNamed = (title: string): boolean =>
  only?.some(asked => (titles.includes(asked) ? title === asked : title.includes(asked))) ?? true

const LEFT_OUT = 'left out by --only'
const results: Result[] = []
const skipped: Skipped[] = []
for (const experiment of EXPERIMENTS) {
  if (!isNamed(experiment.name)) {
    skipped.push({ name: experiment.name, reason: LEFT_OUT })
    continue
  }
  console.log(experiment.name)
  const found = await runExperiment(experiment, {
    jobs,
    ...(limit !== undefined && { limit }),
    progress: (_, { cells, finished }) => {
      if (!finished) return
      const value = finished.metrics[experiment.metric]
      console.log(
        `  ${cells[0]} of ${cells[1]}: ${finished.devices} × ${finished.method}: ${value?.toFixed(4)} (${finished.seconds.toFixed(0)} s)`,
      )
    },
  })
  if ('reason' in found) {
    console.log(`  not run: ${found.reason}`)
    skipped.push(found)
  } else results.push(found)
}

const calibrated: Chosen[] = []
// A few items tell nothing of bounds.
for (const subject of limit === undefined ? CALIBRATIONS : []) {
  const name = titleOf(subject)
  if (!isNamed(name)) {
    skipped.push({ name, reason: LEFT_OUT })
    continue
  }
  console.log(name)
  const reason = missingOf(subject)
  if (reason) {
    console.log(`  not run: ${reason}`)
    skipped.push({ name, reason })
  } else calibrated.push(...(await runCalibration(subject, { folder: join(CACHE, 'evaluation/calibration'), jobs })))
}
const references = readReferences(join(CACHE, 'references'))
const folder = join(out, 'evaluation')
mkdirSync(folder, { recursive: true })
const svgOf = await drawer()
for (const file of readdirSync(folder)) rmSync(join(folder, file))
for (const chart of evaluationCharts(results)) writeFileSync(join(folder, `${chart.file}.svg`), svgOf(chart))
writeFileSync(
  join(out, 'evaluation.md'),
  evaluationMarkdown(results, skipped, {
    ...{ memory: await memoryTable(), references, calibrated },
    trials: readTrials(join(CACHE, 'ablations')),
  }),
)
console.log(`written: ${join(out, 'evaluation.md')}`)
