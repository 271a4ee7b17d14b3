/** Metrics against their definitions, written down the long way. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Columns, Metric } from './cell.js'
import { EvaluationError } from './errors.js'
import {
  accuracy,
  agreedTokens,
  agreement,
  allRows,
  bitsPerByte,
  f1,
  matthews,
  natsPerToken,
  pearson,
  perplexity,
  spearman,
} from './metrics.js'

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

function correlation(a: readonly number[], b: readonly number[]): number {
  const [ma, mb] = [mean(a), mean(b)]
  const of = (x: readonly number[], y: readonly number[], mx: number, my: number): number =>
    x.reduce((sum, v, i) => sum + (v - mx) * (y[i]! - my), 0)
  const scale = Math.sqrt(of(a, a, ma, ma) * of(b, b, mb, mb))
  return scale === 0 ? 0 : of(a, b, ma, mb) / scale
}
/** A rank is how many are less, and half of those that are equal, itself among them. */
const ranks = (values: readonly number[]): number[] =>
  values.map(v => values.filter(w => w < v).length + (values.filter(w => w === v).length + 1) / 2)

const resampled = <T>(values: readonly T[], rows: readonly number[]): T[] => rows.map(r => values[r]!)

/** Few different values, so that there are ties, and rows that occur several times. */
const someRows = (count: number) =>
  fc.array(fc.nat({ max: count - 1 }), { minLength: 2, maxLength: 2 * count }).filter(rows => new Set(rows).size > 1)
const classes = (most: number) =>
  fc.integer({ min: 2, max: 25 }).chain(count =>
    fc.record({
      predicted: fc.array(fc.nat({ max: most }), { minLength: count, maxLength: count }),
      truth: fc.array(fc.nat({ max: most }), { minLength: count, maxLength: count }),
      rows: someRows(count),
    }),
  )
const scores = fc.integer({ min: 2, max: 25 }).chain(count =>
  fc.record({
    score: fc.array(fc.integer({ min: -3, max: 3 }), { minLength: count, maxLength: count }),
    truth: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: count, maxLength: count }),
    rows: someRows(count),
  }),
)

describe('metrics of classes', () => {
  it('are what their definitions say, of any rows', () => {
    fc.assert(
      fc.property(classes(1), ({ rows, ...columns }) => {
        const said = resampled(columns.predicted, rows)
        const is = resampled(columns.truth, rows)
        const count = (p: number, t: number): number => said.filter((s, i) => s === p && is[i] === t).length
        const [tp, tn, fp, fn] = [count(1, 1), count(0, 0), count(1, 0), count(0, 1)]
        expect(accuracy.of(columns, rows)).toBeCloseTo((100 * (tp + tn)) / rows.length, 9)
        const pointed = 2 * tp + fp + fn
        expect(f1.of(columns, rows)).toBeCloseTo(pointed === 0 ? 0 : (200 * tp) / pointed, 9)
        const scale = Math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        expect(matthews.of(columns, rows)).toBeCloseTo(scale === 0 ? 0 : (100 * (tp * tn - fp * fn)) / scale, 9)
      }),
    )
  })

  it('of more than two: Matthews is the correlation of the classes as vectors', () => {
    fc.assert(
      fc.property(classes(4), ({ rows, ...columns }) => {
        const said = resampled(columns.predicted, rows)
        const is = resampled(columns.truth, rows)
        const covariance = (a: readonly number[], b: readonly number[]): number =>
          [0, 1, 2, 3, 4].reduce((sum, k) => {
            const [x, y] = [a.map(v => Number(v === k)), b.map(v => Number(v === k))]
            return sum + mean(x.map((v, i) => v * y[i]!)) - mean(x) * mean(y)
          }, 0)
        const scale = Math.sqrt(covariance(said, said) * covariance(is, is))
        const expected = scale < 1e-12 ? 0 : (100 * covariance(said, is)) / scale
        expect(matthews.of(columns, rows)).toBeCloseTo(expected, 6)
      }),
    )
  })

  it('tell how far another cell says the same', () => {
    const columns = { predicted: [0, 1, 2, 2] }
    expect(agreement({ predicted: [0, 1, 0, 2] }).of(columns, [0, 1, 2, 3])).toBe(75)
    expect(agreement({ predicted: [0, 1, 0, 2] }).of(columns, [2, 2])).toBe(0)
    expect(() => agreement({ predicted: [0] }).of(columns, [0])).toThrow(EvaluationError)
  })
})

describe('correlations', () => {
  it('are what their definitions say, with ties and repeated rows', () => {
    fc.assert(
      fc.property(scores, ({ rows, ...columns }) => {
        const [a, b] = [resampled(columns.score, rows), resampled(columns.truth, rows)]
        expect(pearson.of(columns, rows)).toBeCloseTo(100 * correlation(a, b), 8)
        expect(spearman.of(columns, rows)).toBeCloseTo(100 * correlation(ranks(a), ranks(b)), 8)
      }),
    )
  })

  it('do not change with what keeps the order', () => {
    fc.assert(
      fc.property(scores, ({ rows, score, truth }) => {
        const bent = { score: score.map(v => Math.exp(v) + 7), truth }
        expect(spearman.of(bent, rows)).toBeCloseTo(spearman.of({ score, truth }, rows), 9)
      }),
    )
  })
})

describe('metrics of language', () => {
  const columns: Columns = { nats: [10, 20, 40], tokens: [4, 6, 10], bytes: [12, 18, 40], agreed: [4, 3, 0] }
  const of = (metric: Metric, rows: readonly number[]): number => metric.of(columns, rows)

  it('weigh by what they are of', () => {
    expect(of(natsPerToken, [0, 1, 2])).toBeCloseTo(70 / 20, 12)
    expect(of(perplexity, [0, 1, 2])).toBeCloseTo(Math.exp(3.5), 12)
    expect(of(bitsPerByte, [0, 0, 2])).toBeCloseTo(60 / Math.LN2 / 64, 12)
    expect(of(agreedTokens, [0, 1])).toBe(70)
  })

  it('say which column they lack', () => {
    expect(() => accuracy.of(columns, allRows(columns))).toThrow(
      'there is no column predicted: these results have nats, tokens, bytes, agreed',
    )
  })
})
