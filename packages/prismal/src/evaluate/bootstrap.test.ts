/** The bootstrap: the same every time, paired, and with intervals that cover as often as they say. */
import { describe, expect, it } from 'vitest'
import { normalFrom, randomFrom } from '../../../../test/random.js'
import { combined, interval, quantile, type Resampled, sample } from './bootstrap.js'
import type { Columns } from './cell.js'
import {
  bytesAtLoss,
  bytesRatio,
  geometricMean,
  isAtMost,
  isBeyond,
  isNonInferior,
  loss,
  lossRatio,
  shareRecovered,
} from './compare.js'
import { EvaluationError } from './errors.js'
import { accuracy, natsPerToken, spearman } from './metrics.js'

const cell = (columns: Columns, digest = 'a'): Resampled => {
  const [first = []] = Object.values(columns)
  return { task: 't', data: { name: 'd', digest, items: first.length }, columns }
}

/** Answers of methods that are right with these probabilities, on the same items: a worse one errs where a better one does. */
function answers(count: number, right: readonly number[], seed: number): Resampled[] {
  const random = randomFrom(seed)
  const luck = Array.from({ length: count }, random)
  const truth = luck.map(() => 1)
  return right.map(p => cell({ predicted: luck.map(u => Number(u < p)), truth }))
}
/** As they are; what one row of several says is not changed by a constant. */
const constant = (value: number, replicates = 100) => ({ value, replicates: new Float64Array(replicates).fill(value) })

describe('sample', () => {
  it('gives the same figures for the same seed and others for another', () => {
    const cells = answers(300, [0.8, 0.7], 1)
    const [a] = sample(cells, accuracy, { replicates: 200 })
    expect(sample(cells, accuracy, { replicates: 200 })[0]).toEqual(a)
    expect(sample(cells, accuracy, { replicates: 200, seed: 2 })[0]).not.toEqual(a)
    // Which other cells are there does not matter.
    expect(sample(cells.slice(0, 1), accuracy, { replicates: 200 })[0]).toEqual(a)
  })

  it('pairs what has the same items, and nothing else', () => {
    const [a] = answers(400, [0.8], 3) as [Resampled]
    const twin = cell({ ...a.columns })
    const elsewhere = cell(a.columns, 'b')
    const [x, y] = sample([a, twin], accuracy, { replicates: 200 })
    expect(y!.replicates).toEqual(x!.replicates)
    const [z] = sample([elsewhere], accuracy, { replicates: 200 })
    expect(z!.value).toBe(x!.value)
    expect(z!.replicates).not.toEqual(x!.replicates)
  })

  it('refuses cells of the same data with other items', () => {
    const a = cell({ predicted: [0, 1], truth: [0, 1] })
    expect(() => sample([a, cell({ predicted: [0, 1], truth: [1, 1] })], accuracy)).toThrow(EvaluationError)
    expect(() => sample([a], accuracy, { replicates: 5 })).toThrow('replicates is 5, not a whole number ≥ 100')
  })

  it('draws rows of a document together', () => {
    // Two rows a document that cancel out: drawn together they always give 1.
    const document = Array.from({ length: 100 }, (_, i) => i >> 1)
    const nats = document.map((d, i) => (i % 2 === 0 ? d : 2 - d))
    const tokens = document.map(() => 1)
    const [together] = sample([cell({ document, nats, tokens })], natsPerToken, { replicates: 100 })
    expect(interval(together!).standardError).toBeCloseTo(0, 9)
    const [apart] = sample([cell({ nats, tokens }, 'c')], natsPerToken, { replicates: 100 })
    expect(interval(apart!).standardError).toBeGreaterThan(1)
  })

  it('pairs by document what is scored after other cuts', () => {
    const documents = 40
    const columnsOf = (rows: number): Columns => {
      const document = Array.from({ length: documents * rows }, (_, i) => Math.floor(i / rows))
      return { document, nats: document.map(d => d ** 2), tokens: document.map(() => 1) }
    }
    const after = (cuts: number, columns: Columns): Resampled => ({
      ...cell(columns),
      data: { name: 'd', digest: 'a', items: documents },
      settings: { cuts },
    })
    const [two, four] = sample([after(2, columnsOf(3)), after(4, columnsOf(5))], natsPerToken, { replicates: 100 })
    expect(two!.replicates.map((x, b) => x - four!.replicates[b]!).every(x => Math.abs(x) < 1e-9)).toBe(true)
    const others = { ...columnsOf(5), document: columnsOf(5).document!.map(d => d + 1) }
    expect(() => sample([after(2, columnsOf(3)), after(4, others)], natsPerToken)).toThrow('other documents')
    expect(() => sample([after(2, columnsOf(3)), after(2, columnsOf(5))], natsPerToken)).toThrow('other items')
  })

  it('draws other items of the same data independently', () => {
    const [one] = answers(400, [0.8], 4)
    const of = (name: string, items: string): Resampled => ({
      ...one!,
      columns: { ...one!.columns },
      data: { ...one!.data, name },
      settings: { items },
    })
    const [a, b, c, same] = sample(
      [of('d/dev', '0-9'), of('d/test', '0-9'), of('d/dev', '9-18'), of('d/dev', '0-9')],
      accuracy,
    )
    const spread = (x: typeof a): number => interval(loss(a!, x!, accuracy)).standardError
    expect(spread(same)).toBe(0)
    for (const other of [b, c]) expect(spread(other)).toBeGreaterThan(1.3 * interval(a!).standardError)
  })

  it('knows the standard errors that there are formulas for', () => {
    const [one, other] = answers(2000, [0.8, 0.75], 4)
    const [a, b] = sample([one!, other!], accuracy)
    const difference = loss(a!, b!, accuracy)
    const lost = difference.value / 100
    expect(interval(a!).standardError / (100 * Math.sqrt((0.8 * 0.2) / 2000))).toBeCloseTo(1, 1)
    expect(interval(difference).standardError / (100 * Math.sqrt((lost * (1 - lost)) / 2000))).toBeCloseTo(1, 1)
  })
})

/** How often `isIn` holds over so many data sets. */
function share(trials: number, isIn: (seed: number) => boolean): number {
  let hits = 0
  for (let i = 0; i < trials; i++) if (isIn(i + 1)) hits++
  return hits / trials
}

describe('coverage', () => {
  const options = { replicates: 400 }

  it('of losses in accuracy', () => {
    const upper = share(200, seed => {
      const [a, b] = sample(answers(400, [0.8, 0.75], seed), accuracy, options)
      return interval(loss(a!, b!, accuracy)).upper >= 5
    })
    expect(upper).toBeGreaterThan(0.91)
    expect(upper).toBeLessThan(0.99)
  })

  it('of differences of rank correlations', () => {
    const covered = share(120, seed => {
      const normal = normalFrom.bind(null, randomFrom(seed))
      const truth = Array.from({ length: 150 }, normal)
      const noisy = truth.map(t => t + normal())
      const noisier = noisy.map(t => t + normal())
      const [a, b] = sample([cell({ truth, score: noisy }), cell({ truth, score: noisier })], spearman, options)
      // Spearman of normal values is 6/π·asin(ρ/2).
      const rank = (r: number): number => (600 / Math.PI) * Math.asin(r / 2)
      const bounds = interval(loss(a!, b!, spearman))
      const really = rank(Math.SQRT1_2) - rank(Math.sqrt(1 / 3))
      return bounds.lower <= really && really <= bounds.upper
    })
    expect(covered).toBeGreaterThan(0.83)
    expect(covered).toBeLessThan(0.97)
  })

  it('of language by document, where rows alone would claim too much', () => {
    const covered = share(300, seed => {
      const normal = normalFrom.bind(null, randomFrom(seed))
      const document = Array.from({ length: 320 }, (_, i) => i >> 3)
      const levels = Array.from({ length: 40 }, normal)
      const nats = document.map(d => 3 + levels[d]! + 0.1 * normal())
      const [a] = sample([cell({ document, nats, tokens: nats.map(() => 1) })], natsPerToken, options)
      return interval(a!).upper >= 3
    })
    expect(covered).toBeGreaterThan(0.9)
    expect(covered).toBeLessThan(0.99)
  })

  it('of ratios of losses', () => {
    const covered = share(100, seed => {
      const [one, ours, published] = sample(answers(1500, [0.8, 0.78, 0.75], seed), accuracy, options)
      const ratio = lossRatio(loss(one!, ours!, accuracy), loss(one!, published!, accuracy))
      return interval(ratio).upper >= 0.4
    })
    expect(covered).toBeGreaterThan(0.88)
    expect(covered).toBeLessThanOrEqual(1)
  })
})

describe('comparisons', () => {
  const [one, ours, published, isolated] = sample(answers(5000, [0.8, 0.79, 0.75, 0.6], 7), accuracy, {
    replicates: 500,
  })
  const lost = (of: typeof one) => loss(one!, of!, accuracy)

  it('tell what is beyond errors, and what is not inferior', () => {
    expect(isBeyond(lost(isolated))).toBe(true)
    expect(isBeyond(lost(ours), 50)).toBe(false)
    expect(isNonInferior(lost(ours), 1.6)).toBe(true)
    expect(isNonInferior(lost(ours), 1)).toBe(false)
    expect(isBeyond(constant(0))).toBe(false)
    expect(isBeyond(constant(0.1))).toBe(true)
    expect(Object.is(loss(constant(1), constant(1), accuracy).value, 0)).toBe(true)
  })

  it('give shares of a loss, and what is recovered of isolation', () => {
    const ratio = lossRatio(lost(ours), lost(published))
    expect(ratio.value).toBeCloseTo(lost(ours).value / lost(published).value, 12)
    expect(isAtMost(ratio, 0.5)).toBe(true)
    expect(isAtMost(ratio, ratio.value)).toBe(false)
    const recovered = shareRecovered(one!, isolated!, ours!)
    expect(recovered.value).toBeCloseTo(1 - lost(ours).value / lost(isolated).value, 12)
    expect(interval(recovered).lower).toBeLessThan(recovered.value)
    expect(shareRecovered(constant(1), constant(1), constant(1)).value).toBeNaN()
  })

  it('claim nothing where the published method loses nothing', () => {
    expect(lossRatio(constant(-1), constant(0)).value).toBe(Infinity)
    expect(geometricMean([constant(0.25), constant(1)]).value).toBeCloseTo(0.5, 12)
    // A gain counts as a twentieth of the loss.
    expect(geometricMean([constant(-3), constant(1)]).value).toBeCloseTo(Math.sqrt(0.05), 12)
    expect(geometricMean([constant(Infinity), constant(0.1)]).value).toBe(Infinity)
    expect(() => geometricMean([])).toThrow(EvaluationError)
    expect(() => combined([constant(1), constant(1, 7)], ([a]) => a!)).toThrow(EvaluationError)
  })

  it('find the bytes at a loss', () => {
    const grid = (points: readonly (readonly [number, number])[]) =>
      points.map(([bytes, lost]) => ({ bytes, loss: constant(lost) }))
    const at = (points: readonly (readonly [number, number])[], goal: number) =>
      bytesAtLoss(grid(points), constant(goal)).value
    const falling = [
      [1000, 4],
      [100, 8],
      [10_000, 1],
    ] as const
    expect(at(falling, 4)).toBeCloseTo(1000, 6)
    expect(at(falling, 6)).toBeCloseTo(Math.sqrt(1e5), 6)
    expect(at(falling, 2.5)).toBeCloseTo(Math.sqrt(1e7), 6)
    expect(at(falling, 9)).toBeCloseTo(100, 6)
    expect(at(falling, 0.5)).toBe(Infinity)
    // More bytes for more loss help nobody, and nothing is claimed between them and what is better.
    expect(at([...falling, [5000, 6]], 4)).toBeCloseTo(1000, 6)
    expect(at([...falling, [5000, 6]], 2.5)).toBeCloseTo(Math.sqrt(5e7), 6)
    expect(bytesRatio(constant(22), constant(100)).value).toBeCloseTo(0.22, 12)
    expect(bytesRatio(constant(Infinity), constant(Infinity)).value).toBe(Infinity)
  })

  it('take quantiles between neighbours', () => {
    expect(quantile([1, 2, 3], 0.5)).toBe(2)
    expect(quantile([1, 2], 0.25)).toBe(1.25)
    expect(quantile([1, Infinity, Infinity], 1)).toBe(Infinity)
  })
})
