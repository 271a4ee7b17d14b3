/** The evaluation report as Markdown: what it ran on, the comparisons, then every task with its chart and table. */
import type { Interval } from 'prismal/evaluate'
import { interval, loss, shareRecovered } from 'prismal/evaluate'
import type { Chart, Curves } from '../chart-data.js'
import { tableOf } from '../markdown.js'
import { type Chosen, calibrationSection } from './calibration.js'
import { lostDevice, overBytes, paretoFront } from './charts.js'
import {
  type Compared,
  type Comparison,
  MARGIN,
  METHOD_BAR,
  methodComparison,
  SYSTEM_BYTES_BAR,
  SYSTEM_LOSS_BAR,
  systemComparison,
} from './comparisons.js'
import { FINETUNED } from './experiments.js'
import { bytesMeaning, lostMeaning } from './meaning.js'
import { COVERAGE, PUBLISHED_VIT } from './paper.js'
import { type Reference, referenceSection } from './references.js'
import { figure, type Result, type RoleCell, type Skipped } from './results.js'
import { type Trial, triedSection } from './tried.js'

/** What the report has besides the experiments. */
export interface Besides {
  readonly memory: string
  readonly references?: readonly Reference[]
  readonly calibrated?: readonly Chosen[]
  readonly trials?: readonly Trial[]
}

/** Text of evaluation.md; charts are named as files in the folder `evaluation` beside it. */
export function evaluationMarkdown(
  results: readonly Result[],
  skipped: readonly Skipped[],
  { memory, references = [], calibrated = [], trials = [] }: Besides,
): string {
  const [first] = results
  const environment = first?.environment
  return [
    '# What compression costs, and what beats it',
    environment
      ? `${environment.machine.cpu}, ${environment.machine.cores} cores, ${environment.machine.platform}, ` +
        `Node ${environment.versions.node}, prismal ${environment.versions.prismal}, ${environment.build} kernels. ` +
        'Every figure is from a run of `npm run evaluate`; cells that were finished before are taken from their files. ' +
        'Devices are logical ones in one process: their answers and bytes are those of real ones, to the bit. ' +
        'Test splits; everything was chosen on training and development data.'
      : 'Nothing was run.',
    '## In short',
    ...shortly(results),
    '## The same predictions as PyTorch',
    referenceSection(results, references),
    '## The paper’s table',
    paperSection(results),
    '## The same rows, the same wire: *method*',
    comparisonSection(methodComparison(results), 'ratio'),
    '## Any wire: *system*',
    comparisonSection(systemComparison(results), 'bytes'),
    '## Choosing by the most that may be lost',
    calibrationSection(calibrated),
    ...results.map(taskSection),
    '## What was tried',
    triedSection(trials),
    '## Memory of a device',
    memory,
    '## What of the paper was repeated',
    tableOf(
      ['experiment', '', 'how'],
      COVERAGE.map(({ experiment, state, how }) => [experiment, state, how]),
    ),
    ...(skipped.length > 0 ? ['## Not run', skipped.map(({ name, reason }) => `- ${name}: ${reason}`).join('\n')] : []),
  ]
    .join('\n\n')
    .concat('\n')
}

/** All charts that the report names. */
export function evaluationCharts(results: readonly Result[]): (Chart | Curves)[] {
  return results.flatMap(r => [...overBytes(r), ...(lostDevice(r) ? [lostDevice(r) as Chart] : [])])
}

const verdict = (ok: boolean): string => (ok ? 'reached' : '**short**')

function shortly(results: readonly Result[]): string[] {
  const method = methodComparison(results)
  const system = systemComparison(results)
  const line = (what: string, found: Interval | undefined, bar: number): string =>
    found
      ? `- ${what}: **${found.value.toFixed(3)}** (at most ${found.upper.toFixed(3)} with 95 % confidence; bar ${bar}): ${verdict(found.upper <= bar)}.`
      : `- ${what}: no task where the published method loses enough to tell.`
  const inferior = [...method.compared, ...system.compared].filter(c => c.isNonInferior === false)
  return [
    [
      line('What ours loses of what published means lose, same rows, same wire', method.ratio, METHOD_BAR),
      line('What it loses at their bytes in its own wire', system.ratio, SYSTEM_LOSS_BAR),
      line('Bytes that it takes for their accuracy, of theirs', system.bytes, SYSTEM_BYTES_BAR),
      `- Where published means lose too little for a ratio, ours were shown to be no worse by ${MARGIN} points in all comparisons${inferior.length > 0 ? ` but ${inferior.length}` : ''}` +
        `${inferior.length > 0 ? ` (${inferior.map(c => `${c.name}, P=${c.devices}, L=${c.rows}`).join('; ')})` : ''}.`,
    ].join('\n'),
    'Ratios are geometric means over tasks, numbers of devices and L, wherever isolation costs more than 5 standard errors and the published ' +
      'method loses more than 5. “Published” is the reading of the paper that does best on development data.',
  ]
}

const points = (value: number): string => value.toFixed(2)
const between = ({ lower, upper }: Interval): string => `${points(lower)} … ${points(upper)}`

function comparisonSection({ compared }: Comparison, by: 'ratio' | 'bytes'): string {
  const row = (c: Compared): string[] => {
    const found = by === 'bytes' ? c.bytes : undefined
    return [
      c.name,
      String(c.devices),
      String(c.rows),
      ...[c.isolated, c.published, c.ours].map(i => figure(i.value, c)),
      String(c.ourRows),
      c.ratio ? `${c.ratio.value.toFixed(2)} (${between(c.ratio)})` : '',
      ...(by === 'bytes' ? [found ? `${found.value.toFixed(2)} (≤ ${found.upper.toFixed(2)})` : ''] : []),
      c.isNonInferior === undefined ? '' : c.isNonInferior ? 'not worse' : '**not shown**',
    ]
  }
  const head = [
    ...['task', 'P', 'L', 'isolated loses', 'published loses', 'ours loses', 'its rows', 'ratio (90 %)'],
    ...(by === 'bytes' ? ['bytes at equal accuracy'] : []),
    'else',
  ]
  return tableOf(head, compared.map(row))
}

/** The paper's first table beside ours: P=2, published means. */
function paperSection(results: readonly Result[]): string {
  const cifar = results.find(r => r.experiment.name === 'CIFAR-10')
  const theirs = PUBLISHED_VIT.map(v => [
    `ViT-B/16: ${v.method}`,
    v.gigaflops.toFixed(2),
    v.lessCompute === undefined ? '' : `${(100 * v.lessCompute).toFixed(2)} %`,
    v.lessTraffic === undefined ? '' : `${(100 * v.lessTraffic).toFixed(1)} %`,
    v.accuracy.toFixed(2),
  ])
  const full = cifar?.cells.find(c => c.role.kind === 'full' && c.cell.devices === 2)
  const finetuned = results.find(r => r.experiment.name === FINETUNED)
  const of = (result: Result | undefined, name: string) =>
    (result?.cells ?? [])
      .filter(c => c.cell.devices <= 2 && c.cuts === 2 && isOfPaper(c))
      .map(c => ({ ...c, name: `${name}: ${c.cell.method}` }))
  const ours = [...of(cifar, 'here'), ...of(finetuned, 'here, finetuned with L=3')].map(c => [
    c.name,
    (c.cell.cost.flops / 1e9).toFixed(4),
    c.cell.devices === 1 ? '' : `${(100 * (1 - c.cell.cost.flops / c.cell.cost.flopsAlone)).toFixed(2)} %`,
    c.cell.devices === 1 || !full || c.role.kind === 'full'
      ? ''
      : `${(100 * (1 - c.cell.cost.bytesReceived / full.cell.cost.bytesReceived)).toFixed(1)} %`,
    c.sampled.value.toFixed(2),
  ])
  return [
    'Models differ: the paper’s is ViT-B/16 (86 M parameters, 197 rows) pretrained elsewhere and finetuned on CIFAR-10; ours has 4 M, 65 rows and saw CIFAR-10 only. ' +
      'Ours counts what is executed and sent (the last layer’s one row, frames); the paper counts every row.',
    tableOf(['', 'GF a device', 'less compute', 'less traffic than full', 'accuracy, %'], [...theirs, ...ours]),
  ].join('\n\n')
}

const isOfPaper = ({ role }: RoleCell): boolean =>
  ['one', 'full', 'isolated', 'method', 'system'].includes(role.kind) ||
  (role.kind === 'published' && role.wire === 'f32')

function taskSection(result: Result): string {
  const { experiment, metric, cells } = result
  const [any] = cells
  const lost = lostDevice(result)
  const figures: [Chart | Curves, string][] = overBytes(result).map((chart, i) => [
    chart,
    bytesMeaning(result, experiment.devices[i] as number),
  ])
  if (lost) figures.push([lost, lostMeaning(result)])
  const rows = experiment.devices.flatMap(P => {
    const here = cells.filter(c => (c.cell.devices === P || c.role.kind === 'one') && c.cuts === P)
    const one = here.find(c => c.role.kind === 'one')
    const isolated = here.find(c => c.role.kind === 'isolated')
    const front = new Set(paretoFront(result, P))
    return here.map(c => rowOf(c, P, one, isolated, front.has(c)))
  })
  return [
    `## ${experiment.name}`,
    `${experiment.task}, ${any?.cell.data.name} (${any?.cell.data.items} items, ${any?.cell.data.digest.slice(0, 8)}…), ` +
      `${any?.cell.model.name} (${any?.cell.model.digest.slice(0, 8)}…), ${metric.name}${metric.better === 'lower' ? ', lower is better' : ''}. ` +
      '★: nothing else does better with as few bytes.',
    ...figures.flatMap(([{ file, title }, meaning]) => [`![${title}](evaluation/${file}.svg)`, meaning]),
    tableOf(['P', 'method', 'kB received', 'MF', metric.name, 'loses', '± ', 'recovered', ''], rows),
  ].join('\n\n')

  function rowOf(
    c: RoleCell,
    P: number,
    one: RoleCell | undefined,
    isolated: RoleCell | undefined,
    isBest: boolean,
  ): string[] {
    const lossOf = one && c !== one ? interval(loss(one.sampled, c.sampled, metric)) : undefined
    const share =
      one && isolated && c !== one && c !== isolated
        ? shareRecovered(one.sampled, isolated.sampled, c.sampled).value
        : undefined
    return [
      String(P),
      c.cell.method,
      (c.cell.cost.bytesReceived / 1e3).toFixed(2),
      (c.cell.cost.flops / 1e6).toFixed(0),
      figure(c.sampled.value, metric),
      lossOf ? figure(lossOf.value, metric) : '',
      lossOf ? figure(lossOf.standardError, metric) : '',
      share === undefined || !Number.isFinite(share) ? '' : `${points(100 * share)} %`,
      isBest ? '★' : '',
    ]
  }
}
