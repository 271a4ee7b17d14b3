/** What tells how good a cell's answers are. */
import type { Columns, Metric } from './cell.js'

type Rows = ArrayLike<number>

const column = (columns: Columns, name: string): readonly number[] => columns[name] ?? []

/** The mean of `of(row)`. */
function mean(rows: Rows, of: (row: number) => number): number {
  let sum = 0
  for (let i = 0; i < rows.length; i++) sum += of(rows[i] as number)
  return sum / rows.length
}
const sum = (rows: Rows, values: readonly number[]): number => mean(rows, r => values[r] as number) * rows.length

/** Right, wrong and missed of class 1. */
function confusion(columns: Columns, rows: Rows): [tp: number, fp: number, fn: number, tn: number] {
  const [predicted, truth] = [column(columns, 'predicted'), column(columns, 'truth')]
  const counts: [number, number, number, number] = [0, 0, 0, 0]
  for (let i = 0; i < rows.length; i++) {
    const r = rows[i] as number
    const [p, t] = [predicted[r] === 1, truth[r] === 1]
    counts[p ? (t ? 0 : 1) : t ? 2 : 3]++
  }
  return counts
}

function correlation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const all = Array.from({ length: a.length }, (_, i) => i)
  const [ma, mb] = [mean(all, i => a[i] as number), mean(all, i => b[i] as number)]
  let [ab, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [(a[i] as number) - ma, (b[i] as number) - mb]
    ab += x * y
    aa += x * x
    bb += y * y
  }
  return ab / Math.sqrt(aa * bb)
}

/** Ranks from 1; equal values share the mean of theirs. */
function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort(
    (i, j) => (values[i] as number) - (values[j] as number),
  )
  const out = new Float64Array(values.length)
  for (let from = 0; from < order.length; ) {
    let to = from + 1
    while (to < order.length && values[order[to] as number] === values[order[from] as number]) to++
    for (let k = from; k < to; k++) out[order[k] as number] = (from + 1 + to) / 2
    from = to
  }
  return out
}

const picked = (columns: Columns, name: string, rows: Rows): Float64Array => {
  const values = column(columns, name)
  return Float64Array.from(rows, r => values[r] as number)
}

export const accuracy: Metric = {
  name: 'accuracy',
  unit: '%',
  better: 'higher',
  of: (columns, rows) =>
    100 * mean(rows, r => (column(columns, 'predicted')[r] === column(columns, 'truth')[r] ? 1 : 0)),
}

/** Of class 1. */
export const f1: Metric = {
  name: 'f1',
  unit: '%',
  better: 'higher',
  of(columns, rows) {
    const [tp, fp, fn] = confusion(columns, rows)
    return (100 * 2 * tp) / (2 * tp + fp + fn)
  },
}

/** Matthews' correlation × 100. */
export const matthews: Metric = {
  name: 'matthews',
  unit: 'points',
  better: 'higher',
  of(columns, rows) {
    const [tp, fp, fn, tn] = confusion(columns, rows)
    const scale = Math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return scale === 0 ? 0 : (100 * (tp * tn - fp * fn)) / scale
  },
}

/** Rank correlation × 100. */
export const spearman: Metric = {
  name: 'spearman',
  unit: 'points',
  better: 'higher',
  of: (columns, rows) =>
    100 * correlation(ranks(picked(columns, 'score', rows)), ranks(picked(columns, 'truth', rows))),
}

/** Linear correlation × 100. */
export const pearson: Metric = {
  name: 'pearson',
  unit: 'points',
  better: 'higher',
  of: (columns, rows) => 100 * correlation(picked(columns, 'score', rows), picked(columns, 'truth', rows)),
}

export const bitsPerByte: Metric = {
  name: 'bitsPerByte',
  unit: 'bits per byte',
  better: 'lower',
  of: (columns, rows) => sum(rows, column(columns, 'nats')) / Math.LN2 / sum(rows, column(columns, 'bytes')),
}

/** Of a token. */
export const perplexity: Metric = {
  name: 'perplexity',
  unit: '',
  better: 'lower',
  of: (columns, rows) => Math.exp(sum(rows, column(columns, 'nats')) / sum(rows, column(columns, 'tokens'))),
}

/** Tokens that are chosen as on one device. */
export const agreement: Metric = {
  name: 'agreement',
  unit: '%',
  better: 'higher',
  of: (columns, rows) => (100 * sum(rows, column(columns, 'agreed'))) / sum(rows, column(columns, 'tokens')),
}
