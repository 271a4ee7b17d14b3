/** What the charts of the report show, taken out of a run's rows; bench/peers/charts.ts draws them. */
import { BOARDS, BOARDS_NAME } from './network/boards.js'
import { BATCH_NAME, BATCH_VARIANTS } from './network/boards-table.js'
import type { Findings, Row } from './report.js'

interface Titled {
  /** Without an extension. */
  readonly file: string
  readonly title: string
  /** What a number is, with its unit. */
  readonly axis: string
}

/** Values over numbers, these on a logarithmic scale. */
export interface Curves extends Titled {
  readonly kind: 'curves'
  /** What the numbers across are, with their unit. */
  readonly across: string
  readonly series: readonly {
    readonly name: string
    readonly points: readonly (readonly [across: number, value: number])[]
    /** Place in the palette, where charts beside each other show the same thing in one colour. Default: as they stand here. */
    readonly colour?: number
  }[]
  /** Levels that lines across show: what one device reaches, for example. */
  readonly levels: readonly { readonly name: string; readonly value: number }[]
}

export interface Chart extends Titled {
  readonly kind: 'bars' | 'stacked' | 'lines'
  /** A line across, which the axis's name explains. */
  readonly mark?: number
  readonly categories: readonly string[]
  readonly series: readonly { readonly name: string; readonly values: readonly (number | undefined)[] }[]
}

/** Those charts for which the run has figures. */
export function chartsOf({ rows }: Findings): Chart[] {
  const charts = [
    ...peers(rows, 1),
    ...peers(rows, 2),
    ...shares(rows),
    ...memory(rows),
    ...growth(rows),
    ...batches(rows),
  ]
  return charts.filter(({ categories, series }) => categories.length > 0 && series.length > 0)
}

const unique = (names: readonly string[]): string[] => [...new Set(names)]
/** A row that tells how long something takes, rather than how it compares. */
const isPlain = (row: Row): boolean => row.times === undefined

function peers(rows: readonly Row[], threads: number): Chart[] {
  const suffix = `, ${threads} thread${threads === 1 ? '' : 's'}`
  const found = rows.filter(r => r.suite === 'peers' && isPlain(r) && r.variant.endsWith(suffix))
  const base = `onnxruntime-web f32${suffix}`
  const time = (name: string, variant: string): number | undefined =>
    found.find(r => r.name === name && r.variant === variant)?.milliseconds.median
  const categories = unique(found.map(r => r.name)).filter(name => time(name, base) !== undefined)
  const variants = unique(found.map(r => r.variant)).filter(variant => variant !== base)
  return [
    {
      file: `peers-${threads}`,
      title: `Whole models on ${threads} thread${threads === 1 ? '' : 's'}, batch 1`,
      axis: 'times as fast as onnxruntime-web in f32',
      kind: 'bars',
      mark: 1,
      categories,
      series: variants.map(variant => ({
        name: variant.slice(0, -suffix.length),
        values: categories.map(name => {
          const [ours, theirs] = [time(name, variant), time(name, base)]
          return ours === undefined || theirs === undefined ? undefined : theirs / ours
        }),
      })),
    },
  ]
}

function shares(rows: readonly Row[]): Chart[] {
  const of = (suite: string, title: string, axis: string, file: string): Chart => {
    const found = rows.filter(r => r.suite === suite && r.ofPeak && isPlain(r))
    const categories = unique(found.map(r => r.name))
    const variants = unique(found.map(r => r.variant.split('  ')[0]!))
    return {
      ...{ file, title, axis, kind: 'bars', categories },
      series: variants.map(name => ({
        name: name.replace(', 1 thread', ''),
        values: categories.map(category => {
          const row = found.find(r => r.name === category && r.variant.split('  ')[0] === name)
          return row?.ofPeak && 100 * row.ofPeak.share.median
        }),
      })),
    }
  }
  return [
    of('gemm', 'Matrix product in f32, m×k×n, one thread', '% of the multiply-add peak (cold: of streaming)', 'gemm'),
    of('kernels', 'Every kernel, one thread', '% of the multiply-add peak, or of moving as many bytes', 'kernels'),
    of(
      'peers',
      'Whole models on one thread',
      '% of the rate of their matrix products (decode: of streaming)',
      'shares',
    ),
  ]
}

function memory(rows: readonly Row[]): Chart[] {
  const found = rows.filter(r => r.suite === 'memory' && r.memory?.over === 'nothing')
  return [
    {
      ...{ file: 'memory', title: 'Resident memory of a process that answers one request', axis: 'MB' },
      kind: 'stacked',
      categories: found.map(r => `${r.name}, ${r.variant.replace(', 1 thread', '').replace(': a request', '')}`),
      series: [
        { name: 'weights', values: found.map(r => r.memory!.weightBytes / 1e6) },
        { name: 'all else', values: found.map(r => (r.memory!.peakBytes - r.memory!.weightBytes) / 1e6) },
      ],
    },
  ]
}

function growth(rows: readonly Row[]): Chart[] {
  const found = rows.filter(r => r.suite === 'growth')
  return unique(found.map(r => r.name)).map((name, i) => {
    const points = found.filter(r => r.name === name)
    return {
      ...{ file: `growth-${i + 1}`, title: `Growth: ${name}`, axis: 'ms', kind: 'lines' },
      categories: points.map(r => r.variant),
      series: [
        { name: 'measured, fastest turn', values: points.map(r => r.milliseconds.least) },
        { name: 'in proportion to the work', values: points.map(r => r.milliseconds.least / r.times!.factor.median) },
      ],
    }
  })
}

/** Two devices against one as batches grow: both systems, sending means and sending all rows. */
function batches(rows: readonly Row[]): Chart[] {
  const factor = (batch: number, variant: string): number | undefined =>
    rows.find(r => r.name === `${BATCH_NAME}${batch}` && r.variant === variant)?.times?.factor.median
  const measured = BOARDS.filter(({ batch }) => factor(batch, BATCH_VARIANTS.means) !== undefined)
  if (measured.length === 0) return []
  return [
    {
      file: 'batches',
      title: 'Two devices share ViT-B/16, f32',
      axis: 'times as fast as one of them',
      kind: 'bars',
      mark: 1,
      categories: measured.map(({ batch }) => `batch ${batch}`),
      series: [
        { name: 'here, means L=10', values: measured.map(({ batch }) => factor(batch, BATCH_VARIANTS.means)) },
        { name: `${BOARDS_NAME}, means L=10`, values: measured.map(b => b.oneDevice / b.means.total) },
        { name: 'here, all rows', values: measured.map(({ batch }) => factor(batch, BATCH_VARIANTS.full)) },
        { name: 'boards, all rows', values: measured.map(b => b.oneDevice / b.full) },
      ],
    },
  ]
}
