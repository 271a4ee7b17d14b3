/** The report as Markdown: what bars were reached, then every suite with its charts and rows. */
import { type Chart, chartsOf } from './chart-data.js'
import { boardsTable } from './network/boards-table.js'
import { cellsOf, type Findings, figureOf, HEAD, type Remark, type Row } from './report.js'

const TITLES: Readonly<Record<string, string>> = {
  gemm: 'Matrix product',
  kernels: 'Kernels',
  attention: 'Attention',
  models: 'The small models',
  growth: 'Growth',
  peers: 'Whole models and peers',
  memory: 'Memory and loading',
  network: 'Several machines',
}

const CHARTED: Readonly<Record<string, RegExp>> = {
  gemm: /^gemm$/,
  kernels: /^kernels$/,
  growth: /^growth-/,
  peers: /^(peers-|shares$)/,
  memory: /^memory$/,
  network: /^batches/,
}

/** Text of report.md; charts are named as files beside it. */
export function markdownOf(findings: Findings): string {
  const { machine, quick, rows, notMeasured, remarks = [], impossible } = findings
  const charts = chartsOf(findings)
  const suites = [...new Set(rows.map(row => row.suite))]
  const sections = suites.map(suite => sectionOf(suite, { rows, charts, remarks }))
  const gigabytes = (machine.memoryBytes / 2 ** 30).toFixed(0)
  return [
    '# What was measured',
    `Node ${machine.node} (V8 ${machine.v8}), ${machine.cpu}, ${machine.cores} cores, ${gigabytes} GiB, ${machine.platform}, ${machine.date}${quick ? ', short turns' : ''}. ` +
      `Load before: ${machine.load.toFixed(1)}. Compare ratios, which are taken turn by turn; absolute figures are of this machine and day. ` +
      'Made by `npm run bench -- report`; bench/README.md says what each figure is.',
    ...(impossible.length > 0 ? [`**Impossible, so measured wrongly:**\n\n${listOf(impossible)}`] : []),
    '## Bars',
    tableOf(
      ['', '', 'found', 'bar', ''],
      rows
        .filter(row => row.bar)
        .map(row => [row.name, variantText(row), figureOf(row), row.bar!.text, row.bar!.ok ? 'ok' : '**short**']),
    ),
    ...sections,
    ...(notMeasured.length > 0
      ? ['## Not measured', listOf(notMeasured.map(({ name, variant, reason }) => `${name}, ${variant}: ${reason}`))]
      : []),
  ]
    .join('\n\n')
    .concat('\n')
}

const variantText = ({ variant, times }: Row): string => (times ? `${variant} / ${times.than}` : variant)

interface Sources {
  readonly rows: readonly Row[]
  readonly charts: readonly Chart[]
  readonly remarks: readonly Remark[]
}

function sectionOf(suite: string, { rows, charts, remarks }: Sources): string {
  const pictures = charts
    .filter(({ file }) => CHARTED[suite]?.test(file))
    .map(({ file, title }) => `![${title}](${file}.svg)`)
  const own = rows.filter(row => row.suite === suite)
  const cells = own.map(cellsOf)
  const used = HEAD.map((_, c) => cells.some(row => row[c] !== ''))
  const pick = (row: readonly string[]): string[] => row.filter((_, c) => used[c])
  const boards = boardsTable(own)
  return [
    `## ${TITLES[suite] ?? suite}`,
    ...pictures,
    ...(boards.lines.length > 0 ? [tableOf(boards.head, boards.lines)] : []),
    ...remarks.filter(r => r.suite === suite).map(({ text }) => text),
    tableOf(pick(HEAD), cells.map(pick)),
  ].join('\n\n')
}

const listOf = (lines: readonly string[]): string => lines.map(line => `- ${line}`).join('\n')

export function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
