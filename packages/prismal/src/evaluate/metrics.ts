/** What answers are worth: metrics over the columns of a cell, fast enough to be taken of thousands of resamples. */
import type { Columns, Metric } from './cell.js'
import { pearsonOf, spearmanOf } from './correlation.js'
import { EvaluationError } from './errors.js'

type Rows = ArrayLike<number>

/** A column by its name. Throws {@link EvaluationError} that names those that are there. */
export function column(columns: Columns, name: string): readonly number[] {
  const found = columns[name]
  if (found) return found
  throw new EvaluationError(
    `there is no column ${name}: these results have ${Object.keys(columns).join(', ') || 'none'}`,
  )
}

/** All rows of the columns, in order. */
export function allRows(columns: Columns): Int32Array {
  const [first = []] = Object.values(columns)
  return Int32Array.from(first, (_, i) => i)
}

function sum(values: readonly number[], rows: Rows): number {
  let total = 0
  for (let i = 0; i < rows.length; i++) total += values[rows[i] as number] as number
  return total
}

/** How many rows have the same in both, percent. */
function sameShare(a: readonly number[], b: readonly number[], rows: Rows): number {
  let same = 0
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as number
    if (a[row] === b[row]) same++
  }
  return (100 * same) / rows.length
}

/** Answers that are right, %. */
export const accuracy: Metric = {
  name: 'accuracy',
  unit: '%',
  better: 'higher',
  of: (columns, rows) => sameShare(column(columns, 'predicted'), column(columns, 'truth'), rows),
}

/** F1 of class 1, %: the harmonic mean of precision and recall. 0 where class 1 was neither foreseen nor there. */
export const f1: Metric = {
  name: 'F1',
  unit: '%',
  better: 'higher',
  of(columns, rows) {
    const predicted = column(columns, 'predicted')
    const truth = column(columns, 'truth')
    let hits = 0
    let named = 0
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i] as number
      const [said, is] = [predicted[row] === 1, truth[row] === 1]
      if (said && is) hits++
      named += Number(said) + Number(is)
    }
    return named === 0 ? 0 : (200 * hits) / named
  },
}

/** Matthews' correlation × 100, of any number of classes (Gorodkin's R_K). 0 where answers or truth are all one class. */
export const matthews: Metric = {
  name: 'Matthews',
  unit: 'points',
  better: 'higher',
  of(columns, rows) {
    const predicted = column(columns, 'predicted')
    const truth = column(columns, 'truth')
    const said: number[] = []
    const is: number[] = []
    let right = 0
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i] as number
      const p = predicted[row] as number
      const t = truth[row] as number
      said[p] = (said[p] ?? 0) + 1
      is[t] = (is[t] ?? 0) + 1
      if (p === t) right++
    }
    const n = rows.length
    // Σ over classes of the products of what was said and what is; absent classes are holes.
    const product = (a: readonly number[], b: readonly number[]): number =>
      a.reduce((total, count, k) => total + count * (b[k] ?? 0), 0)
    const scale = Math.sqrt(n * n - product(said, said)) * Math.sqrt(n * n - product(is, is))
    return scale === 0 ? 0 : (100 * (right * n - product(said, is))) / scale
  },
}

/** Spearman's rank correlation of `score` and `truth` × 100; equal values share the mean of their ranks. */
export const spearman: Metric = {
  name: 'Spearman',
  unit: 'points',
  better: 'higher',
  of: (columns, rows) => 100 * spearmanOf(column(columns, 'score'), column(columns, 'truth'), rows),
}

/** Pearson's correlation of `score` and `truth` × 100. */
export const pearson: Metric = {
  name: 'Pearson',
  unit: 'points',
  better: 'higher',
  of: (columns, rows) => 100 * pearsonOf(column(columns, 'score'), column(columns, 'truth'), rows),
}

/** Σ nats / ln 2 / Σ bytes. */
export const bitsPerByte: Metric = {
  name: 'bits per byte',
  unit: 'bits per byte',
  better: 'lower',
  of: (columns, rows) => sum(column(columns, 'nats'), rows) / Math.LN2 / sum(column(columns, 'bytes'), rows),
}

/** Σ nats / Σ tokens. */
export const natsPerToken: Metric = {
  name: 'nats per token',
  unit: 'nats',
  better: 'lower',
  of: (columns, rows) => sum(column(columns, 'nats'), rows) / sum(column(columns, 'tokens'), rows),
}

/** e to the nats per token. */
export const perplexity: Metric = {
  name: 'perplexity',
  unit: '',
  better: 'lower',
  of: (columns, rows) => Math.exp(natsPerToken.of(columns, rows)),
}

/** Generated tokens that are those of one device, %. */
export const agreedTokens: Metric = {
  name: 'agreement',
  unit: '%',
  better: 'higher',
  of: (columns, rows) => (100 * sum(column(columns, 'agreed'), rows)) / sum(column(columns, 'tokens'), rows),
}

/** Answers that are those of another cell on the same items, %. */
export function agreement(other: Columns): Metric {
  const theirs = column(other, 'predicted')
  return {
    name: 'agreement',
    unit: '%',
    better: 'higher',
    of(columns, rows) {
      const ours = column(columns, 'predicted')
      if (ours.length !== theirs.length)
        throw new EvaluationError(`agreement: ${ours.length} answers are compared with ${theirs.length}`)
      return sameShare(ours, theirs, rows)
    },
  }
}

/** All that need no other cell, by name. */
export const METRICS: readonly Metric[] = [
  ...[accuracy, f1, matthews, spearman, pearson],
  ...[bitsPerByte, natsPerToken, perplexity, agreedTokens],
]
