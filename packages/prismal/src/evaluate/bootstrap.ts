/**
 * The paired bootstrap: a metric of the data and of thousands of resamples of them, as one value that can be reckoned with. All cells of
 * the same data see the same resamples, so that what differs between them is the method and not the draw. Rows with the same
 * `document` are drawn together (a cluster bootstrap): rows of one document are alike.
 */
import type { Cell, Columns, Metric } from './cell.js'
import { EvaluationError } from './errors.js'
import { allRows } from './metrics.js'
import { below, randomWords } from './random.js'

/** A figure, and what it would have been for each resample of the data. */
export interface Sampled {
  readonly value: number
  readonly replicates: Float64Array
}

export interface BootstrapOptions {
  /** Resamples; at least 100, default 2,000. Each costs as much as the metric of all rows. */
  readonly replicates?: number
  /** Start of the random sequence, a whole number; default 1. The same seed gives the same figures. */
  readonly seed?: number
}

/** A figure with what is known of it. `lower` and `upper` hold one by one with this confidence, both together with 2·confidence − 1. */
export interface Interval {
  readonly value: number
  readonly standardError: number
  readonly lower: number
  readonly upper: number
  readonly confidence: number
}

/** What resampling needs of a cell. */
export type Resampled = Pick<Cell, 'task' | 'data' | 'columns'> & {
  /** Cells that are scored after other cuts have other rows of the same documents. */
  readonly settings?: Cell['settings']
}

const REPLICATES = 2000
const LEAST_REPLICATES = 100

/**
 * The metric of each cell. Cells with the same task and items of the same data are paired, row by row, or by document where they are scored after
 * other cuts; those of different data are drawn independently. Throws {@link EvaluationError} where cells of the same data do not
 * have the same items.
 */
export function sample(cells: readonly Resampled[], metric: Metric, options: BootstrapOptions = {}): Sampled[] {
  const { replicates = REPLICATES, seed = 1 } = options
  if (!(Number.isSafeInteger(replicates) && replicates >= LEAST_REPLICATES))
    throw new EvaluationError(`bootstrap: replicates is ${replicates}, not a whole number ≥ ${LEAST_REPLICATES}`)
  const found = new Map<Columns, Sampled>()
  const drawn = new Set<string>()
  for (const [items, group] of by(cells, itemsOf)) {
    const data = dataOf(group[0] as Resampled)
    // Other items of the same data have draws of their own.
    const name = drawn.has(data) ? items : data
    drawn.add(name)
    const documents = new Set<string>()
    for (const cells of by(group, ({ settings }) => `${settings?.cuts} ${settings?.cut}`).values()) {
      const columns = [...new Set(cells.map(c => c.columns))]
      const [first] = columns as [Columns]
      for (const other of columns) expectSameItems(first, other, name)
      documents.add(JSON.stringify(first.document ? [...documentsOf(first.document).keys()] : first.truth?.length))
      const made = columns.map(c => ({
        value: metric.of(c, allRows(c)),
        replicates: new Float64Array(replicates),
      }))
      // The same documents each time, whichever of their rows are scored.
      const draw = drawer(first, seed ^ hash(name))
      for (let b = 0; b < replicates; b++) {
        const rows = draw(b)
        for (const [i, c] of columns.entries()) (made[i] as Sampled).replicates[b] = metric.of(c, rows)
      }
      for (const [i, c] of columns.entries()) found.set(c, made[i] as Sampled)
    }
    if (documents.size > 1)
      throw new EvaluationError(`cells of ${name} cannot be paired: after other cuts they have other documents`)
  }
  return cells.map(c => found.get(c.columns) as Sampled)
}

const dataOf = ({ task, data }: Resampled): string => `${task} ${data.digest} ${data.items}`
/** With the split, and which items of it. */
const itemsOf = (cell: Resampled): string => `${dataOf(cell)} ${cell.data.name} ${cell.settings?.items ?? ''}`

function by(cells: readonly Resampled[], keyOf: (cell: Resampled) => string): Map<string, Resampled[]> {
  const groups = new Map<string, Resampled[]>()
  for (const cell of cells) {
    const key = keyOf(cell)
    const group = groups.get(key)
    if (group) group.push(cell)
    else groups.set(key, [cell])
  }
  return groups
}

/** FNV-1a: data sets get resamples that have nothing to do with each other. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value
}

function expectSameItems(a: Columns, b: Columns, name: string): void {
  for (const column of ['truth', 'document', 'distance', 'tokens']) {
    const [left, right] = [a[column], b[column]]
    if (left === right) continue
    if (left?.length !== right?.length || left?.some((v, i) => v !== right?.[i]))
      throw new EvaluationError(`cells of ${name} cannot be paired: their ${column} differ, so they have other items`)
  }
}

/** Gives the rows of resample b: as many items, or documents, as there are, drawn with replacement. */
function drawer(columns: Columns, seed: number): (b: number) => Int32Array {
  const { document } = columns
  if (!document) {
    const rows = allRows(columns)
    return b => {
      const words = randomWords(seed, b)
      const n = rows.length
      for (let i = 0; i < n; i++) rows[i] = below(words, n)
      return rows
    }
  }
  const units = [...documentsOf(document).values()]
  return b => {
    const words = randomWords(seed, b)
    const drawn = units.map(() => units[below(words, units.length)] as readonly number[])
    const rows = new Int32Array(drawn.reduce((sum, unit) => sum + unit.length, 0))
    let at = 0
    for (const unit of drawn) {
      rows.set(unit, at)
      at += unit.length
    }
    return rows
  }
}

/** Rows of each document, in the order in which documents occur. */
function documentsOf(document: readonly number[]): Map<number, number[]> {
  const units = new Map<number, number[]>()
  for (const [row, d] of document.entries()) {
    const unit = units.get(d)
    if (unit) unit.push(row)
    else units.set(d, [row])
  }
  return units
}

/** A figure made of others, resample by resample. Throws {@link EvaluationError} where they have different numbers of resamples. */
export function combined(of: readonly Sampled[], f: (values: readonly number[]) => number): Sampled {
  const [first] = of
  const count = first?.replicates.length ?? 0
  if (of.some(s => s.replicates.length !== count))
    throw new EvaluationError('figures with different numbers of resamples cannot be combined')
  return {
    value: f(of.map(s => s.value)),
    replicates: Float64Array.from({ length: count }, (_, b) => f(of.map(s => s.replicates[b] as number))),
  }
}

/** The q-quantile of sorted values, between neighbours where it falls between them. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  const at = Math.min(Math.max(q, 0), 1) * (sorted.length - 1)
  const i = Math.floor(at)
  const low = sorted[i] as number
  const high = sorted[Math.min(i + 1, sorted.length - 1)] as number
  return low === high ? low : low + (high - low) * (at - i)
}

/** Percentile bounds, each one-sided with `confidence` (default 0.95), and the standard error. */
export function interval({ value, replicates }: Sampled, confidence = 0.95): Interval {
  if (!(confidence > 0.5 && confidence < 1))
    throw new EvaluationError(`confidence is ${confidence}, not between 0.5 and 1`)
  const sorted = replicates.slice().sort()
  return {
    value,
    standardError: standardError(replicates),
    lower: quantile(sorted, 1 - confidence),
    upper: quantile(sorted, confidence),
    confidence,
  }
}

/** Standard deviation of the resamples' figures that are finite. */
export function standardError(replicates: Float64Array): number {
  const finite = replicates.filter(Number.isFinite)
  const mean = finite.reduce((a, b) => a + b, 0) / finite.length
  return Math.sqrt(finite.reduce((sum, v) => sum + (v - mean) ** 2, 0) / Math.max(1, finite.length - 1))
}
