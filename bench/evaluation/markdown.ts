/** The evaluation report as Markdown: what it ran on, the comparisons, then every task with its chart and table. */
import type { Chart, Curves } from '../chart-data.js'
import { tableOf } from '../markdown.js'
import { calibrationSection } from './calibration.js'
import { lostDevice, overBytes, paretoFront } from './charts.js'
import {
  type Comparison,
  MARGIN,
  METHOD_BAR,
  meanRatio,
  type Ratio,
  SYSTEM_BYTES_BAR,
  SYSTEM_LOSS_BAR,
} from './comparisons.js'
import { FINETUNED, readingOf } from './experiments.js'
import { type Finding, type FoundCell, oneOf } from './finding.js'
import type { Findings } from './findings.js'
import { bytesMeaning, lostMeaning } from './meaning.js'
import { COVERAGE, PUBLISHED_VIT } from './paper.js'
import { referenceSection } from './references.js'
import { figure } from './results.js'
import { triedSection } from './tried.js'

/** What the report says besides what was found. */
export interface Besides {
  readonly memory: string
  readonly notRun?: readonly NotRun[]
}

/** What was not run, or not again since its model, data or cells changed. */
export interface NotRun {
  readonly name: string
  readonly reason: string
}

/** Text of evaluation.md; charts are named as files in the folder `evaluation` beside it. */
export function evaluationMarkdown(
  { experiments: found, calibrations, tried }: Findings,
  { memory, notRun = [] }: Besides,
): string {
  const findings = Object.values(found)
  return [
    '# What compression costs, and what beats it',
    findings.length > 0
      ? `${machines(findings)} Every figure is from a run of \`npm run evaluate\`; what was found before and has not changed is kept in evaluation.json. ` +
        'Devices are logical ones in one process: their answers and bytes are those of real ones, to the bit. ' +
        'Test splits; everything was chosen on training and development data.'
      : 'Nothing was run.',
    '## In short',
    ...shortly(findings),
    '## The same predictions as PyTorch',
    referenceSection(findings),
    '## The paper’s table',
    paperSection(found),
    '## The same rows, the same wire: *method*',
    comparisonSection(findings, 'method'),
    '## Any wire: *system*',
    comparisonSection(findings, 'system'),
    '## Choosing by the most that may be lost',
    calibrationSection(Object.values(calibrations).flatMap(c => c.chosen)),
    ...findings.map(taskSection),
    '## What was tried',
    triedSection(tried),
    '## Memory of a device',
    memory,
    '## What of the paper was repeated',
    tableOf(
      ['experiment', '', 'how'],
      COVERAGE.map(({ experiment, state, how }) => [experiment, state, how]),
    ),
    ...(notRun.length > 0 ? ['## Not run', notRun.map(({ name, reason }) => `- ${name}: ${reason}`).join('\n')] : []),
  ]
    .join('\n\n')
    .concat('\n')
}

/** All charts that the report names. */
export function evaluationCharts({ experiments }: Pick<Findings, 'experiments'>): (Chart | Curves)[] {
  return Object.values(experiments).flatMap(finding => {
    const lost = lostDevice(finding)
    return [...overBytes(finding), ...(lost ? [lost] : [])]
  })
}

/** What was run where: a sentence for each machine, the names of what ran on it where there are several. */
function machines(findings: readonly Finding[]): string {
  const { usual, others } = namesOf(
    findings,
    ({ environment: { machine, versions, build } }) =>
      `${machine.cpu}, ${machine.cores} cores, ${machine.platform}, ` +
      `Node ${versions.node}, prismal ${versions.prismal}, ${build} kernels`,
  )
  return [`${usual}.`, ...others.map(([name, ran]) => `On ${name}: ${ran.join('; ')}.`)].join(' ')
}

/** What goes for most findings, and what for the others, with their tasks. */
function namesOf(
  findings: readonly Finding[],
  nameOf: (finding: Finding) => string,
): { readonly usual: string; readonly others: readonly (readonly [name: string, tasks: readonly string[]])[] } {
  const by = new Map<string, string[]>()
  for (const finding of findings) {
    const name = nameOf(finding)
    by.set(name, [...(by.get(name) ?? []), finding.about.name])
  }
  const [[usual] = ['']] = [...by].toSorted((a, b) => b[1].length - a[1].length)
  return { usual, others: [...by].filter(([name]) => name !== usual) }
}

const verdict = (ok: boolean): string => (ok ? 'reached' : '**short**')

function shortly(findings: readonly Finding[]): string[] {
  const line = (what: string, found: Ratio | undefined, bar: number): string =>
    found
      ? `- ${what}: **${found.value.toFixed(3)}** (at most ${found.upper.toFixed(3)} with 95 % confidence; bar ${bar}): ${verdict(found.upper <= bar)}.`
      : `- ${what}: no task where the published method loses enough to tell.`
  const inferior = (['method', 'system'] as const).flatMap(kind =>
    findings.flatMap(({ about, [kind]: { compared } }) =>
      compared
        .filter(c => c.isNonInferior === false)
        .map(c => `${about.name}, P=${c.devices}, L=${c.rows}${kind === 'system' ? ', any wire' : ''}`),
    ),
  )
  const mean = (of: (finding: Finding) => Comparison['ratio']): Ratio | undefined => meanRatio(findings.map(of))
  return [
    [
      line(
        'What ours loses of what published means lose, same rows, same wire',
        mean(f => f.method.ratio),
        METHOD_BAR,
      ),
      line(
        'What it loses at their bytes in its own wire',
        mean(f => f.system.ratio),
        SYSTEM_LOSS_BAR,
      ),
      line(
        'Bytes that it takes for their accuracy, of theirs',
        mean(f => f.system.bytes),
        SYSTEM_BYTES_BAR,
      ),
      `- Where published means lose too little for a ratio, ours were shown to be no worse by ${MARGIN} points in all comparisons` +
        `${inferior.length > 0 ? ` but ${inferior.length} (${inferior.join('; ')})` : ''}.`,
    ].join('\n'),
    'Ratios are geometric means over tasks, numbers of devices and L, wherever isolation costs more than 5 standard errors and the published ' +
      `method loses more than 5. “Published” is the reading of the paper that does best on development data: ${readings(findings)}.`,
  ]
}

/** Where means are taken, and whether they count: by the tasks for which each does best. */
function readings(findings: readonly Finding[]): string {
  const { usual, others } = namesOf(findings, ({ about }) => readingOf(about))
  return [`“${usual}”`, ...others.map(([name, of]) => `“${name}” of ${of.join(', ')}`)].join('; ')
}

const points = (value: number): string => value.toFixed(2)
const between = ({ lower, upper }: Ratio): string => `${points(lower)} … ${points(upper)}`

function comparisonSection(findings: readonly Finding[], kind: 'method' | 'system'): string {
  const rows = findings.flatMap(({ about, metric, [kind]: { compared } }) =>
    compared.map(c => [
      about.name,
      String(c.devices),
      String(c.rows),
      ...[c.isolated, c.published, c.ours].map(value => figure(value, metric)),
      String(c.ourRows),
      c.ratio ? `${points(c.ratio.value)} (${between(c.ratio)})` : '',
      ...(kind === 'system' ? [c.bytes ? `${points(c.bytes.value)} (≤ ${points(c.bytes.upper)})` : ''] : []),
      c.isNonInferior === undefined ? '' : c.isNonInferior ? 'not worse' : '**not shown**',
    ]),
  )
  const head = [
    ...['task', 'P', 'L', 'isolated loses', 'published loses', 'ours loses', 'its rows', 'ratio (90 %)'],
    ...(kind === 'system' ? ['bytes at equal accuracy'] : []),
    'else',
  ]
  return tableOf(head, rows)
}

/** The paper's first table beside ours: P=2, published means. */
function paperSection(found: Findings['experiments']): string {
  const cifar = found['CIFAR-10']
  const theirs = PUBLISHED_VIT.map(v => [
    `ViT-B/16: ${v.method}`,
    v.gigaflops.toFixed(2),
    v.lessCompute === undefined ? '' : `${(100 * v.lessCompute).toFixed(2)} %`,
    v.lessTraffic === undefined ? '' : `${(100 * v.lessTraffic).toFixed(1)} %`,
    v.accuracy.toFixed(2),
  ])
  const full = cifar?.cells.find(c => c.role.kind === 'full' && c.devices === 2)
  const of = (finding: Finding | undefined, name: string) =>
    (finding?.cells ?? [])
      .filter(c => c.devices <= 2 && c.cuts === 2 && isOfPaper(c))
      .map(c => ({ ...c, name: `${name}: ${c.method}` }))
  const ours = [...of(cifar, 'here'), ...of(found[FINETUNED], 'here, finetuned with L=3')].map(c => [
    c.name,
    (c.flops / 1e9).toFixed(4),
    c.devices === 1 ? '' : `${(100 * (1 - c.flops / c.flopsAlone)).toFixed(2)} %`,
    c.devices === 1 || !full || c.role.kind === 'full' ? '' : `${(100 * (1 - c.bytes / full.bytes)).toFixed(1)} %`,
    c.value.toFixed(2),
  ])
  return [
    'Models differ: the paper’s is ViT-B/16 (86 M parameters, 197 rows) pretrained elsewhere and finetuned on CIFAR-10; ours has 4 M, 65 rows and saw CIFAR-10 only. ' +
      'Ours counts what is executed and sent (the last layer’s one row, frames); the paper counts every row.',
    tableOf(['', 'GF a device', 'less compute', 'less traffic than full', 'accuracy, %'], [...theirs, ...ours]),
  ].join('\n\n')
}

const isOfPaper = ({ role }: FoundCell): boolean =>
  ['one', 'full', 'isolated', 'method', 'system'].includes(role.kind) ||
  (role.kind === 'published' && role.wire === 'f32')

function taskSection(finding: Finding): string {
  const { about, metric, cells, data, model } = finding
  const lost = lostDevice(finding)
  const figures: [Chart | Curves, string][] = overBytes(finding).map((chart, i) => [
    chart,
    bytesMeaning(finding, about.devices[i] as number),
  ])
  if (lost) figures.push([lost, lostMeaning(finding)])
  const rows = about.devices.flatMap(P => {
    const front = new Set(paretoFront(finding, P))
    const one = oneOf(finding, P)
    return cells.filter(c => c.cuts === P && (c === one || c.devices === P)).map(c => rowOf(c, P, front.has(c)))
  })
  return [
    `## ${about.name}`,
    `${about.task}, ${data.name} (${data.items} items, ${data.digest.slice(0, 8)}…), ` +
      `${model.name} (${model.digest.slice(0, 8)}…), ${metric.name}${metric.better === 'lower' ? ', lower is better' : ''}. ` +
      '★: nothing else does better with as few bytes.',
    ...(about.remark === undefined ? [] : [about.remark]),
    ...figures.flatMap(([{ file, title }, meaning]) => [`![${title}](evaluation/${file}.svg)`, meaning]),
    tableOf(['P', 'method', 'kB received', 'MF', metric.name, 'loses', '± ', 'recovered', ''], rows),
  ].join('\n\n')

  function rowOf(c: FoundCell, P: number, isBest: boolean): string[] {
    return [
      String(P),
      c.method,
      (c.bytes / 1e3).toFixed(2),
      (c.flops / 1e6).toFixed(0),
      figure(c.value, metric),
      c.lost === undefined ? '' : figure(c.lost, metric),
      c.error === undefined ? '' : figure(c.error, metric),
      c.recovered === undefined ? '' : `${points(100 * c.recovered)} %`,
      isBest ? '★' : '',
    ]
  }
}
