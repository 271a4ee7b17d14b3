/** `npm run bench -- [kernels|attention|models|accuracy|bars] [--json FILE] [--quick]` */
import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { benchAccuracy } from './accuracy.js'
import { benchAttention } from './attention.js'
import { benchCatalogue, benchGemm } from './kernels.js'
import type { Rounds } from './measure.js'
import { benchModels } from './models.js'
import { type Machine, measureMachine, QUICK, THOROUGH } from './peak.js'
import { type Findings, figure, impossible, type Row, table, thisMachine } from './report.js'

const SUITES = ['kernels', 'attention', 'models', 'accuracy', 'bars'] as const
type Suite = (typeof SUITES)[number]

/** How long is measured: turns that count, and how much a turn is. */
const ROUNDS: Readonly<
  Record<'thorough' | 'quick', Readonly<Record<'catalogue' | 'gemm' | 'attention' | 'models', Rounds>>>
> = {
  thorough: {
    catalogue: { rounds: 5, turnMs: 60, turnRuns: 5 },
    gemm: { rounds: 9, turnMs: 100, turnRuns: 5 },
    attention: { rounds: 5, turnMs: 100, turnRuns: 1 },
    models: { rounds: 9, turnMs: 300, turnRuns: 3 },
  },
  quick: {
    catalogue: { rounds: 3, turnMs: 20, turnRuns: 3 },
    gemm: { rounds: 5, turnMs: 50, turnRuns: 3 },
    attention: { rounds: 3, turnMs: 50, turnRuns: 1 },
    models: { rounds: 3, turnMs: 100, turnRuns: 2 },
  },
}

const program = new Command('bench')
  .description('Times kernels, attention and models. Compare ratios of one run; absolute figures are of this machine.')
  .arguments('[suite]')
  .option('--json <file>', 'write every figure, the machine and the date as JSON')
  .option('--quick', 'fewer and shorter turns')
program.parse(process.argv)

const { json, quick = false } = program.opts() as { json?: string; quick?: boolean }
const suite = program.args[0] as Suite | undefined
if (suite !== undefined && !SUITES.includes(suite)) {
  console.error(`bench: there is no suite "${suite}"; there are ${SUITES.join(', ')}`)
  process.exit(2)
}
const wants = (name: Suite): boolean => suite === undefined || suite === name
const rounds = ROUNDS[quick ? 'quick' : 'thorough']

const environment = thisMachine()
const { cpu, cores, node, v8, date, load } = environment
console.log(
  `Node ${node} (V8 ${v8}), ${cpu}, ${cores} cores, load ${load.toFixed(1)}, ${date}${quick ? ', quick' : ''}`,
)

const rows: Row[] = []
const show = (title: string, found: readonly Row[]): void => {
  console.log(`\n${title}\n${table(found)}`)
  rows.push(...found)
}

let machine: Machine | undefined
if (wants('kernels') || suite === 'bars') {
  machine = measureMachine(quick ? QUICK : THOROUGH)
  for (const { arithmetic, chains, operand, gflops } of machine.peaks)
    console.log(`peak, ${arithmetic}: ${figure(gflops)} GF/s on one core (${chains} chains, operand: ${operand})`)
  if (machine.peaks.length < 2) console.log('no relaxed SIMD here: shares are of the mul+add peak')
  console.log(`streaming read: ${figure(machine.streaming)} GB/s on one core`)
  show('f32 matrix product, m×k×n', await benchGemm(machine, rounds.gemm, suite === 'bars'))
  if (suite !== 'bars') show('every kernel', await benchCatalogue(machine, rounds.catalogue))
}
if (wants('attention') || suite === 'bars') show('attention, 12 heads of 64', await benchAttention(rounds.attention))
if (wants('models')) show('models', await benchModels(rounds.models))
const accuracy =
  wants('accuracy') || suite === 'bars' ? await benchAccuracy({ share: quick ? 0.1 : 1, bars: suite === 'bars' }) : []

const wrong = impossible(rows, machine?.peak.gflops)
for (const message of wrong) console.error(`impossible: ${message}`)
const short = [...rows, ...accuracy].filter(row => row.bar && !row.bar.ok)
for (const { name, variant, bar } of short) console.error(`short: ${name}, ${variant}: ${bar?.text}`)

if (json !== undefined) {
  const peaks = machine && { multiplyAdd: machine.peaks, streamingGigabytesPerSecond: machine.streaming }
  const findings: Findings = { machine: environment, quick, ...(peaks && { peaks }), rows, accuracy, impossible: wrong }
  writeFileSync(json, `${JSON.stringify(findings, null, 2)}\n`)
}
if (wrong.length > 0 || (suite === 'bars' && short.length > 0)) process.exitCode = 1
