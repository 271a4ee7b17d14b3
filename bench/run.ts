/** `npm run bench -- [kernels|attention|models|accuracy|peers|memory|growth|network|bars|report] [--json FILE] [--quick]` */
import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { benchAccuracy } from './accuracy.js'
import { benchAttention } from './attention.js'
import { benchGrowth } from './growth.js'
import { benchCatalogue, benchGemm } from './kernels.js'
import type { Rounds } from './measure.js'
import { benchMemory } from './memory-suite.js'
import { benchModels } from './models.js'
import { boardsTable } from './network/boards-table.js'
import type { NetworkRounds } from './network/pair.js'
import { benchNetwork } from './network-suite.js'
import { type Machine, measureMachine, QUICK, THOROUGH } from './peak.js'
import { benchPeers, type PeerRounds } from './peer-suite.js'
import { benchProducts } from './products.js'
import {
  aligned,
  type Findings,
  figure,
  figureOf,
  impossible,
  type NotMeasured,
  type Remark,
  type Row,
  table,
  thisMachine,
} from './report.js'
import { lastFindings, writeReport } from './write-report.js'

const SUITES = [
  ...['kernels', 'attention', 'models', 'accuracy', 'peers', 'memory', 'growth', 'network', 'bars', 'report'],
] as const
type Suite = (typeof SUITES)[number]

/** How long is measured: turns that count, and how much a turn is. */
const ROUNDS: Readonly<
  Record<'thorough' | 'quick', Readonly<Record<'catalogue' | 'gemm' | 'attention' | 'models' | 'growth', Rounds>>>
> = {
  thorough: {
    catalogue: { rounds: 5, turnMs: 60, turnRuns: 5 },
    gemm: { rounds: 9, turnMs: 100, turnRuns: 5 },
    attention: { rounds: 5, turnMs: 100, turnRuns: 1 },
    models: { rounds: 9, turnMs: 300, turnRuns: 3 },
    growth: { rounds: 7, turnMs: 100, turnRuns: 1 },
  },
  quick: {
    catalogue: { rounds: 3, turnMs: 20, turnRuns: 3 },
    gemm: { rounds: 5, turnMs: 50, turnRuns: 3 },
    attention: { rounds: 3, turnMs: 50, turnRuns: 1 },
    models: { rounds: 3, turnMs: 100, turnRuns: 2 },
    growth: { rounds: 5, turnMs: 50, turnRuns: 1 },
  },
}

/** Peers are processes that run whole models. */
const PEER_ROUNDS: Readonly<Record<'thorough' | 'quick', PeerRounds>> = {
  thorough: { rounds: 7, turnMs: 800, warmMs: 2000 },
  quick: { rounds: 5, turnMs: 300, warmMs: 500 },
}

const NETWORK_ROUNDS: Readonly<Record<'thorough' | 'quick', NetworkRounds>> = {
  thorough: { rounds: 7, turnMs: 1000, warmMs: 1500 },
  quick: { rounds: 3, turnMs: 300, warmMs: 500 },
}

const program = new Command('bench')
  .description('Times kernels, attention and models. Compare ratios of one run; absolute figures are of this machine.')
  .arguments('[suite]')
  .option('--json <file>', 'write every figure, the machine and the date as JSON')
  .option('--only <name>', 'of peers, memory and network, only the cases whose name contains this')
  .option('--measure', 'report: run every suite first; without it the last findings are drawn again')
  .option('--quick', 'fewer and shorter turns')
program.parse(process.argv)

interface Options {
  readonly json?: string
  readonly only?: string
  readonly measure?: true
  readonly quick?: true
}
const { json, only, measure, quick = false } = program.opts<Options>()
const suite = program.args[0] as Suite | undefined
if (suite !== undefined && !SUITES.includes(suite)) {
  console.error(`bench: there is no suite "${suite}"; there are ${SUITES.join(', ')}`)
  process.exit(2)
}
if (suite === 'report' && !measure) {
  console.log(`written: ${await writeReport(lastFindings())}`)
  process.exit()
}
/** Suites that run where none is named: those that need nothing installed or made beforehand. */
const LIGHT: readonly Suite[] = ['kernels', 'attention', 'models']
const wants = (name: Suite): boolean =>
  suite === undefined ? LIGHT.includes(name) : suite === name || suite === 'report'
const rounds = ROUNDS[quick ? 'quick' : 'thorough']

const environment = thisMachine()
const { cpu, cores, node, v8, date, load } = environment
console.log(
  `Node ${node} (V8 ${v8}), ${cpu}, ${cores} cores, load ${load.toFixed(1)}, ${date}${quick ? ', quick' : ''}`,
)

const rows: Row[] = []
const notMeasured: NotMeasured[] = []
const remarks: Remark[] = []
const show = (title: string, found: readonly Row[]): void => {
  console.log(`\n${title}\n${table(found)}`)
  rows.push(...found)
}

let machine: Machine | undefined
if (wants('kernels') || wants('attention') || suite === 'bars') {
  machine = measureMachine(quick ? QUICK : THOROUGH)
  for (const { arithmetic, chains, operand, gflops } of machine.peaks)
    console.log(`peak, ${arithmetic}: ${figure(gflops)} GF/s on one core (${chains} chains, operand: ${operand})`)
  if (machine.peaks.length < 2) console.log('no relaxed SIMD here: shares are of the mul+add peak')
  console.log(`streaming read: ${figure(machine.streaming)} GB/s on one core`)
  if (suite !== 'attention') show('f32 matrix product, m×k×n', await benchGemm(machine, rounds.gemm, suite === 'bars'))
  if (wants('kernels')) show('every kernel', await benchCatalogue(machine, rounds.catalogue))
  if (suite !== 'kernels')
    show('attention, 12 heads of 64', await benchAttention(machine, rounds.attention, suite === 'bars'))
}
if (wants('models')) show('models', await benchModels(rounds.models))
const accuracy =
  wants('accuracy') || suite === 'bars' ? await benchAccuracy({ share: quick ? 0.1 : 1, bars: suite === 'bars' }) : []
if (wants('growth') || suite === 'bars') show('growth', await benchGrowth(rounds.growth))
if (wants('peers') || suite === 'bars') {
  const products = await benchProducts(ROUNDS[quick || suite === 'bars' ? 'quick' : 'thorough'].gemm)
  show('matrix product beside onnxruntime-web', products.rows)
  notMeasured.push(...products.notMeasured)
  const rounds = PEER_ROUNDS[quick || suite === 'bars' ? 'quick' : 'thorough']
  const tell = (line: string): void => console.log(line)
  const found = await benchPeers({ ...rounds, onlyBars: suite === 'bars', tell, ...(only !== undefined && { only }) })
  show('whole models and peers', found.rows)
  notMeasured.push(...found.notMeasured)
}
if (wants('memory')) {
  const found = await benchMemory({ loads: quick ? 2 : 5, ...(only !== undefined && { only }) })
  show('memory', found.rows)
  notMeasured.push(...found.notMeasured)
}
if (wants('network') || suite === 'bars') {
  const found = await benchNetwork({
    ...{ ...NETWORK_ROUNDS[quick ? 'quick' : 'thorough'], quick, onlyBars: suite === 'bars' },
    tell: line => console.log(`network: ${line}`),
    ...(only !== undefined && { only }),
  })
  show('several machines', found.rows)
  const boards = boardsTable(found.rows)
  if (boards.lines.length > 0) console.log(`\n${aligned(boards.head, boards.lines)}`)
  remarks.push(...found.remarks)
  notMeasured.push(...found.notMeasured)
}

for (const { text } of remarks) console.log(text)
for (const { name, variant, reason } of notMeasured) console.log(`not measured: ${name}, ${variant}: ${reason}`)
const wrong = impossible(rows, machine?.peak.gflops)
for (const message of wrong) console.error(`impossible: ${message}`)
const short = rows.filter(row => row.bar && !row.bar.ok)
for (const row of short) console.error(`short: ${row.name}, ${row.variant}: ${figureOf(row)}, bar ${row.bar?.text}`)
const inexact = accuracy.filter(row => row.bar && !row.bar.ok)
for (const { name, variant, bar } of inexact) console.error(`short: ${name}, ${variant}: ${bar?.text}`)
const barred = [...rows, ...accuracy].filter(row => row.bar)
if (suite === 'bars') console.log(`${barred.length - short.length - inexact.length} of ${barred.length} bars reached`)

const peaks = machine && { multiplyAdd: machine.peaks, streamingGigabytesPerSecond: machine.streaming }
const findings: Findings = {
  ...{ machine: environment, quick, ...(peaks && { peaks }) },
  ...{ rows, accuracy, notMeasured, remarks, impossible: wrong },
}
if (json !== undefined) writeFileSync(json, `${JSON.stringify(findings, null, 2)}\n`)
if (suite === 'report') console.log(`written: ${await writeReport(findings)}`)
if (wrong.length > 0 || (suite === 'bars' && short.length + inexact.length > 0)) process.exitCode = 1
