/** Claims that hold where they are true by a distance, and do not where they are not. */
import { describe, expect, it } from 'vitest'
import { randomFrom } from '../../../../test/random.js'
import { type Compared, methodBar, systemBar, type Trio } from './bars.js'
import { EvaluationError } from './errors.js'
import { accuracy } from './metrics.js'

/** Cells of methods that are right with these probabilities, on the same items, for these bytes. */
function cells(
  digest: string,
  methods: readonly (readonly [right: number, bytes: number])[],
  count = 4000,
): Compared[] {
  const random = randomFrom(digest.charCodeAt(0))
  const luck = Array.from({ length: count }, random)
  const truth = luck.map(() => 1)
  return methods.map(([right, bytesReceived]) => ({
    ...{ task: 't', data: { name: 'd', digest, items: count }, cost: { bytesReceived } },
    columns: { predicted: luck.map(u => Number(u < right)), truth },
  }))
}
function trio(name: string, one: number, published: number, ours: number, isolated = 0.5): Trio {
  const [a, b, c, d] = cells(name, [
    [one, 0],
    [published, 1000],
    [ours, 1000],
    [isolated, 0],
  ]) as [Compared, Compared, Compared, Compared]
  return { name, metric: accuracy, one: a, published: b, ours: c, isolated: d }
}
const options = { replicates: 300 }

describe('the bar of methods', () => {
  it('is the geometric mean over what can be compared; elsewhere ours must not be worse', () => {
    const found = methodBar(
      [trio('a', 0.8, 0.75, 0.79), trio('b', 0.8, 0.7, 0.77), trio('c', 0.8, 0.8, 0.8), trio('d', 0.8, 0.7, 0.7, 0.8)],
      0.5,
      options,
    )
    const [a, b] = found.ratios
    expect(found.ratios.map(r => r.name)).toEqual(['a', 'b'])
    expect(found.ratio?.figure.value).toBeCloseTo(Math.sqrt(a!.ratio.value * b!.ratio.value), 12)
    expect(found.ratio?.holds).toBe(true)
    expect(found.elsewhere).toMatchObject([{ name: 'c', most: 0.3, holds: true }])
    expect(found.left).toEqual(['d'])
  })

  it('does not hold where ours is little better, or worse where there is nothing to compare', () => {
    expect(methodBar([trio('a', 0.8, 0.75, 0.77)], 0.5, options).ratio?.holds).toBe(false)
    expect(methodBar([trio('a', 0.8, 0.8, 0.795)], 0.5, options)).toMatchObject({
      ratio: undefined,
      elsewhere: [{ holds: false }],
    })
  })
})

describe('the bar of systems', () => {
  const [one, published, ...grid] = cells('s', [
    [0.8, 0],
    [0.7, 1000],
    [0.6, 50],
    [0.72, 150],
    [0.79, 600],
    [0.795, 3000],
  ]) as [Compared, Compared, ...Compared[]]
  const asked = { metric: accuracy, one, published }

  it('compares bytes at equal loss and loss at equal bytes', () => {
    const found = systemBar(asked, grid, options)
    expect(found?.bytes.figure.value).toBeGreaterThan(0.05)
    expect(found?.bytes.figure.value).toBeLessThan(0.15)
    expect(found?.bytes.holds).toBe(true)
    // Of the cell with 600 bytes: a tenth of what the published method loses.
    expect(found?.loss?.figure.value).toBeGreaterThan(0.05)
    expect(found?.loss?.figure.value).toBeLessThan(0.16)
    expect(found?.loss?.holds).toBe(true)
  })

  it('does not hold for a grid that takes as much', () => {
    const found = systemBar(asked, grid.slice(3), options)
    expect(found?.bytes.holds).toBe(false)
    expect(found?.loss).toBeUndefined()
    expect(systemBar(asked, [grid[1]!, grid[2]!], { ...options, mostLoss: 0.05 })?.loss?.holds).toBe(false)
  })

  it('is not asked where the published method loses nothing', () => {
    expect(systemBar({ ...asked, published: { ...one, cost: published.cost } }, grid, options)).toBeUndefined()
    expect(() => systemBar(asked, [], options)).toThrow(EvaluationError)
  })
})
