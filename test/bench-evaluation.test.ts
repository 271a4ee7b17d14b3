/** The evaluation's report: which cells are planned, and what comparisons make of results whose truth is known. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createPlan } from '@prismal/distribute'
import { accuracy, type Cell, sample } from 'prismal/evaluate'
import { describe, expect, test } from 'vitest'
import { type Chosen, calibrationSection, calibrationSummary } from '../bench/evaluation/calibration.js'
import { overBytes, paretoFront } from '../bench/evaluation/charts.js'
import { meanRatio } from '../bench/evaluation/comparisons.js'
import { BEST_READING, EXPERIMENTS, type Experiment, plannedCells, type Role } from '../bench/evaluation/experiments.js'
import { type Finding, findingOf } from '../bench/evaluation/finding.js'
import { type Findings, NOTHING, readFindings, writeFindings } from '../bench/evaluation/findings.js'
import { evaluationMarkdown } from '../bench/evaluation/markdown.js'
import { differenceOf } from '../bench/evaluation/references.js'
import { randomFrom } from './random.js'
import { temporaryFolder } from './temporary-folder.js'

const vit = { layers: 9, causal: false, positions: 65, prefixRows: 1, patchWidth: 48, patchGrid: [8, 8] } as const
const text = { layers: 6, causal: false, positions: 512 } as const
const causal = { layers: 6, causal: true, positions: 1024 } as const
const shapeOf = ({ family }: Experiment) => ({ vit, bert: text, gpt2: causal })[family] as never

test.each(EXPERIMENTS.map(e => [e.name, e] as const))(
  '%s: every cell can be planned, and none stands twice for one role',
  (_, experiment) => {
    const cells = plannedCells(experiment, shapeOf(experiment))
    for (const { cell } of cells)
      createPlan({ shape: shapeOf(experiment), rows: [65], want: 'first', devices: cell.devices }, cell.sharing)
    const names = cells.map(({ role, cell }) => JSON.stringify([role, cell.devices, cell.cuts]))
    expect(new Set(names).size).toBe(names.length)
  },
)

/** Cells of 4,000 items, right with a chance each, wrong where the one before is wrong: a method's errors contain those of better ones. */
function resultOf(
  name: string,
  chances: readonly (readonly [Role, bytes: number, chance: number])[],
  more: Partial<Experiment> = {},
): Finding {
  const experiment = { ...EXPERIMENTS[0]!, name, devices: [2], rows: [3], ...more }
  const random = randomFrom(7)
  const luck = Array.from({ length: 4000 }, random)
  const truth = luck.map((_, i) => i % 10)
  const cells = chances.map(([role, bytesReceived, chance]): Cell => {
    const predicted = luck.map((l, i) => (l < chance ? truth[i]! : 10))
    return {
      ...{ task: experiment.task, method: role.kind, devices: role.kind === 'one' ? 1 : 2, sharing: {}, settings: {} },
      ...{ data: { name, digest: name, items: 4000 }, model: { name: 'm', digest: 'm', dtype: 'f32' } },
      cost: { bytesReceived, bytesSent: bytesReceived, flops: 5e8, flopsAlone: 1e9 },
      ...{ columns: { predicted, truth }, metrics: {}, numericsClass: 'c', seconds: 1 },
    }
  })
  const sampled = sample(cells, accuracy)
  const result = {
    ...{ experiment, metric: accuracy },
    environment: { machine: { cpu: 'c', cores: 2, memoryBytes: 1, platform: 'p' }, versions: {}, build: 'b' },
    cells: cells.map((cell, i) => ({ role: chances[i]![0], cuts: 2, cell, sampled: sampled[i]! })),
  }
  return findingOf(result, name, [])
}

const published: Role = { kind: 'published', reading: BEST_READING.vit, rows: 3, wire: 'f32' }
const rows = (lost: { isolated: number; published: number; method: number; system: readonly number[] }) =>
  [
    [{ kind: 'one' }, 0, 0.8],
    [{ kind: 'isolated' }, 0, 0.8 - lost.isolated],
    [published, 1000, 0.8 - lost.published],
    [{ kind: 'method', rows: 3 }, 1000, 0.8 - lost.method],
    ...lost.system.map((l, i) => [{ kind: 'system', rows: 2 ** i }, 100 * 2 ** i, 0.8 - l] as const),
  ] as readonly (readonly [Role, number, number])[]

describe('comparisons', () => {
  const good = resultOf(
    'good',
    rows({ isolated: 0.2, published: 0.08, method: 0.02, system: [0.12, 0.05, 0.01, 0.004] }),
  )
  const worse = resultOf(
    'worse',
    rows({ isolated: 0.2, published: 0.08, method: 0.07, system: [0.2, 0.15, 0.09, 0.07] }),
  )
  const idle = resultOf('idle', rows({ isolated: 0.001, published: 0.001, method: 0, system: [0] }))
  const close = resultOf('close', rows({ isolated: 0.2, published: 0.002, method: 0.001, system: [0.001] }))

  test('the same rows: what ours loses over what the published method loses', () => {
    const { ratio, compared } = good.method
    expect(meanRatio([ratio])!.value).toBeCloseTo(0.25, 1)
    expect(meanRatio([ratio])!.upper).toBeLessThan(0.5)
    expect(compared).toHaveLength(1)
    expect(compared[0]!.ratio!.upper).toBeCloseTo(meanRatio([ratio])!.upper, 1)
    expect(meanRatio([worse.method.ratio])!.upper).toBeGreaterThan(0.8)
  })

  test('of several experiments the mean is geometric, and closer bounded than each of them', () => {
    const [a, b] = [meanRatio([good.method.ratio])!, meanRatio([worse.method.ratio])!]
    const both = meanRatio([good.method.ratio, undefined, worse.method.ratio])!
    expect(both.value).toBeCloseTo(Math.sqrt(a.value * b.value), 5)
    const width = ({ lower, upper }: typeof both) => Math.log(upper / lower)
    expect(width(both)).toBeCloseTo(Math.hypot(width(a), width(b)) / 2, 5)
    expect(meanRatio([undefined])).toBeUndefined()
  })

  test('any wire: bytes at the published accuracy, and what is lost at the published bytes', () => {
    const { bytes, ratio, compared } = good.system
    // 8 points fall between 12 at 100 bytes and 5 at 200.
    expect(meanRatio([bytes])!.value).toBeCloseTo(0.1 * 2 ** (4 / 7), 1)
    expect(compared[0]!.ourRows).toBe(8)
    expect(meanRatio([ratio])!.value).toBeCloseTo(0.05, 1)
    expect(meanRatio([worse.system.bytes])!.value).toBeGreaterThan(0.4)
  })

  test('bytes of a way that never gets there are no number, of the mean neither', () => {
    const never = resultOf('never', rows({ isolated: 0.2, published: 0.08, method: 0.07, system: [0.2, 0.15] }))
    expect(never.system.compared[0]!.bytes!.value).toBe(Number.POSITIVE_INFINITY)
    expect(meanRatio([good.system.bytes, never.system.bytes])!.upper).toBe(Number.POSITIVE_INFINITY)
  })

  const findings = (...found: Finding[]): Findings => ({
    ...NOTHING,
    experiments: Object.fromEntries(found.map(f => [f.about.name, f])),
  })

  test('published is the reading that counts for the task', () => {
    const cells = rows({ isolated: 0.2, published: 0.08, method: 0.02, system: [0.05] })
    const other: Role = { ...published, reading: 'input, no counts' }
    const both = [...cells, [other, 1000, 0.76] as const]
    const found = resultOf('its own', both, { reading: 'input, no counts', remark: 'Mind the text.' })
    expect(found.method.compared[0]!.published).toBeCloseTo(4, 0)
    expect(resultOf('the family’s', both).method.compared[0]!.published).toBeCloseTo(8, 0)
    expect(overBytes(found)[0]!.series[0]!.points).toEqual([[1000, found.cells.at(-1)!.value]])
    const report = evaluationMarkdown(findings(good, close, found), { memory: '' })
    expect(report).toContain('development data: “normed, counts”; “input, no counts” of its own.')
    expect(report).toContain('\nMind the text.\n')
  })

  test('a task where isolation costs nothing does not count; where the published method hardly loses, ours must not be worse', () => {
    expect(idle.method.compared).toEqual([])
    const { ratio, compared } = close.method
    expect(ratio).toBeUndefined()
    expect(compared[0]!.isNonInferior).toBe(true)
  })

  test('a cell is what it loses against one device, and wins back of what isolation costs', () => {
    const [one, isolated, theirs] = good.cells
    expect([one!.lost, one!.recovered, isolated!.recovered]).toEqual([undefined, undefined, undefined])
    expect(theirs!.lost).toBeCloseTo(one!.value - theirs!.value, 9)
    expect(theirs!.recovered).toBeCloseTo(1 - theirs!.lost! / isolated!.lost!, 9)
    expect(theirs!.error).toBeGreaterThan(0)
  })

  test('the front is what nothing else does better with as few bytes', () => {
    const front = paretoFront(good, 2).map(c => [c.bytes, c.role.kind])
    expect(front).toEqual([
      [0, 'isolated'],
      [100, 'system'],
      [200, 'system'],
      [400, 'system'],
      [800, 'system'],
    ])
    expect(overBytes(good)[0]!.series.find(s => s.name.startsWith('ours, int4'))!.points).toHaveLength(4)
  })

  test('the report says of each bar whether it was reached', () => {
    const notRun = [{ name: 'MNIST', reason: 'not there' }]
    const markdown = evaluationMarkdown(findings(worse), { memory: 'memory', notRun })
    expect(markdown).toContain('# What compression costs')
    expect(markdown).toMatch(/same rows, same wire: \*\*0\.\d+\*\* .*bar 0\.5\): \*\*short\*\*/)
    expect(evaluationMarkdown(findings(good), { memory: 'memory' })).toMatch(
      /same rows, same wire: \*\*0\.\d+\*\* .*bar 0\.5\): reached/,
    )
    expect(markdown).toContain('MNIST: not there')
    expect(markdown).toContain('![worse, 2 devices](evaluation/bytes-worse-2.svg)')
  })

  test('the report says what ran on another machine than most did', () => {
    const { environment } = good
    const elsewhere = { ...environment, machine: { ...environment.machine, cpu: 'another' } }
    const markdown = evaluationMarkdown(findings(good, close, { ...worse, environment: elsewhere }), { memory: '' })
    expect(markdown).toMatch(/\nc, 2 cores.* On another, 2 cores.*: worse\. /)
  })

  test('the same report is written from findings that were stored', () => {
    const file = join(temporaryFolder(), 'evaluation.json')
    const never = resultOf('never', rows({ isolated: 0.2, published: 0.08, method: 0.07, system: [0.2, 0.15] }))
    const stored = findings(good, never)
    writeFindings(file, stored)
    const read = readFindings(file)
    expect(evaluationMarkdown(read, { memory: '' })).toBe(evaluationMarkdown(stored, { memory: '' }))
    expect(read.experiments.never!.system.bytes!.sum).toBe(Number.POSITIVE_INFINITY)
    // A cell is a line.
    const lines = readFileSync(file, 'utf8').split('\n')
    expect(lines.filter(line => line.includes('"method":"one"') && line.includes('"bytes"'))).toHaveLength(2)
    expect(readFindings(join(temporaryFolder(), 'none.json'))).toEqual(NOTHING)
  })
})

test('the report in the repository is what its findings give', () => {
  const results = fileURLToPath(new URL('../bench/results', import.meta.url))
  const written = readFileSync(join(results, 'evaluation.md'), 'utf8')
  const again = evaluationMarkdown(readFindings(join(results, 'evaluation.json')), { memory: '' })
  const found = (report: string): string => report.slice(0, report.indexOf('## Memory of a device'))
  expect(found(written)).toBe(found(again))
})

test('package.json has the command that the report names', () => {
  const { scripts } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  expect(scripts.evaluate).toBe('tsx bench/evaluation/run.ts')
})

describe('references', () => {
  const reference = {
    ...{ model: { sha256: '' }, data: { name: '' }, versions: { torch: '' } },
    columns: { predicted: [1, 2, 3, 0], margin: [2, 1e-6, 0.5, 3] },
  }
  test('are compared item by item, as far as there are predictions', () => {
    expect(differenceOf([1, 2, 3], reference)).toEqual({ items: 3, differing: 0, margin: 0 })
    expect(differenceOf([1, 0, 3, 0], reference)).toEqual({ items: 4, differing: 1, margin: 1e-6 })
    expect(differenceOf([1, 0, 1, 0], reference)).toEqual({ items: 4, differing: 2, margin: 0.5 })
    expect(differenceOf([1, 2, 3, 0, 1], reference).margin).toBe(Number.POSITIVE_INFINITY)
  })
})

test('of choices it is told how many hold, what they cost, and how many give up', () => {
  const way = (bytes: number) => ({ sharing: {}, bytes, lost: 0.1, standardError: 0.1 })
  const choice = (bytes: number, lost: number, cheapest: number, isFull = false): Chosen => ({
    ...{ ...way(bytes), lost, name: 'a', devices: 2, maxLoss: 0.5, upper: 0.5, inputs: 9, isFull },
    cheapest: way(cheapest),
  })
  const chosen = [choice(20, 0.4, 10), choice(30, 0.6, 10), choice(100, 0, 10, true), choice(10, 0.5, 10)]
  expect(calibrationSummary(chosen)).toEqual({ holds: 0.75, medianBytes: 2.5, givesUp: 0.25 })
  // Nothing cheaper does.
  expect(calibrationSummary([choice(100, 0, 100, true), choice(10, 0, 10)]).givesUp).toBe(0)
  expect(calibrationSection(chosen)).toContain('75 % of 4 choices')
})
