/** Measuring real devices: threads of their own, behind wires of a known speed. Nothing here depends on how fast they are. */
import {
  cluster,
  compare,
  type Measurements,
  measure,
  measured,
  predict,
  type SharedRunner,
  SharingError,
  type SharingOptions,
  verify,
} from '@prismal/distribute'
import { thread } from '@prismal/distribute/threads'
import { blankSequence, loadModel, type Model } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bits } from '../compare.js'
import { throttled, type Wire } from './throttled.js'

const ROWS = [64]
const load = async (): Promise<Model> =>
  loadModel(await openFiles('models/gpt2-chronicle'), { engine: await createEngine({ threads: 1 }) })
const behind = (wire: Wire, sharing: SharingOptions = {}) =>
  cluster([throttled(thread({ name: 'first' }), wire), thread({ name: 'second' })], sharing)
const rowsOf = async (runner: SharedRunner): Promise<number[]> => {
  const request = runner.begin()
  try {
    return bits((await request.rows([blankSequence(runner.model, 64)], 'last')).floats())
  } finally {
    request.end()
  }
}

describe('two devices, the first of which sends over 20 Mbit/s with 10 ms of latency', () => {
  const wire: Wire = { latencyMs: 10, bitsPerSecond: 20e6 }
  let runner: SharedRunner
  let measurements: Measurements
  beforeAll(async () => {
    runner = await behind(wire).runner(await load())
    measurements = await measure(runner, { rows: ROWS, want: 'last', budgetMs: 300 })
  })
  afterAll(() => runner.dispose())

  it('have their link measured, within a factor of two', () => {
    const [link] = measurements.links
    // Latency is half the round trip, and only one way is late.
    expect(link?.latencyMs).toBeGreaterThan(wire.latencyMs / 2 - 1)
    expect(link?.bitsPerSecond).toBeGreaterThan(wire.bitsPerSecond / 2)
    expect(link?.bitsPerSecond).toBeLessThan(wire.bitsPerSecond * 2)
  })

  it('have only those links measured that a causal model uses', () => {
    expect(measurements.links.map(l => [l.from, l.to])).toEqual([[0, 1]])
    expect(measurements.controls).toHaveLength(2)
  })

  it('have speeds, out of which predictions are made that requests are put beside', async () => {
    const { shape } = runner.model
    for (const device of measurements.devices) {
      expect(device.overallFlopsPerSecond).toBeGreaterThan(0)
      expect(device.aloneFactor).toBeGreaterThan(0)
    }
    expect(JSON.parse(JSON.stringify(measurements))).toEqual(measurements)
    const work = { shape, rows: ROWS, want: 'last' as const }
    const { candidates } = compare(work, measurements)
    expect(candidates.map(c => c.strategy).sort()).toEqual(['full', 'means', 'one device'])
    const verified = await verify(runner, work, measurements, candidates, { rounds: 2, budgetMs: 0 })
    for (const { candidate, predictedMs, measuredMs, requests } of verified) {
      expect(requests).toBe(2)
      expect(predictedMs / measuredMs - 1, candidate.name).toBeCloseTo(
        verified.find(v => v.candidate === candidate)?.error ?? 0,
        9,
      )
      if (candidate.strategy === 'one device') continue
      // Every layer but the last sends once, and each takes the latency of this wire at least; one way, so half is measured. Of
      // devices as fast as each other: one that was held up while it was measured is late itself, and waits less.
      const even = {
        ...measurements,
        devices: measurements.devices.map(() => measurements.devices[0] as Measurements['devices'][number]),
      }
      const waiting = predict(candidate.plan, shape, even).devices[1]?.waitingMs as number
      expect(waiting).toBeGreaterThan(wire.latencyMs / 4)
    }
  })

  it('deal a batch out whole rather than wait', () => {
    const work = { shape: runner.model.shape, rows: [64, 64, 64, 64], want: 'last' as const }
    const shared = compare(work, measurements).candidates.filter(c => c.strategy !== 'one device')
    expect(shared[0]?.strategy).toBe('whole')
  })

  it('answer as before they were measured', async () => {
    const again = await behind({ latencyMs: 0, bitsPerSecond: 1e12 }).runner(await load())
    try {
      expect(await rowsOf(runner.with({ segments: 4 }))).toEqual(await rowsOf(again.with({ segments: 4 })))
    } finally {
      await again.dispose()
    }
  })

  it('refuse probes beyond what devices give, and of devices that are not there', async () => {
    const ask = (json: unknown) => runner.probe(0, { json }, 10_000)
    await expect(ask({ peer: 1, bytes: 5e6, times: 1 })).rejects.toThrow(
      'device 0 (first): probes of bytes: 5000000 were asked for; a device gives from 0 to 4194304',
    )
    await expect(ask({ peer: 1, bytes: 1, times: 1000 })).rejects.toThrow('probes: 1000 were asked for')
    await expect(ask({ back: -1 })).rejects.toThrow('an answer of bytes: -1 were asked for')
    await expect(ask({ peer: 7, bytes: 1, times: 1 })).rejects.toThrow('device 0 has no connection to device 7')
    await expect(ask({ peer: 1, bytes: 1, times: 256 }).then(() => 'answered')).resolves.toBe('answered')
    await expect(runner.probe(0, { json: { peer: 1, bytes: 4e6, times: 1 } }, 5)).rejects.toThrow(
      'device 0 (first) did not answer a probe within 5 ms',
    )
  })
})

describe('a cluster that measures itself', () => {
  const slow: Wire = { latencyMs: 20, bitsPerSecond: 200e3 }
  // Where one of them is held up while it is measured, the other would be given every row, and nobody would wait for the link.
  const even: SharingOptions = { weights: [1, 1] }

  it('refuses a request where sharing would not pay, and names the link', async () => {
    const runner = await measured(behind(slow, even), { budgetMs: 100 }).runner(await load())
    try {
      await expect(rowsOf(runner)).rejects.toThrow(SharingError)
      await expect(rowsOf(runner)).rejects.toThrow(
        /^sharing would not pay: one device \(\w+\) takes .* ms, means L=16, int4 .* waiting: .* a layer at \d+ kbit\/s, \d+ ms late$/,
      )
    } finally {
      await runner.dispose()
    }
  })

  it('shares all the same where it is forced to, once measured for all requests like it', async () => {
    const choices: string[] = []
    const onChoice = (choice: { chosen: { strategy: string } }): void => void choices.push(choice.chosen.strategy)
    const runner = await measured(behind(slow, even), { budgetMs: 100, force: true, onChoice }).runner(await load())
    try {
      const first = await rowsOf(runner)
      expect(await rowsOf(runner)).toEqual(first)
      expect(choices).toEqual(['means'])
    } finally {
      await runner.dispose()
    }
  })
})

it('a request that is aborted while its cluster is measured does not wait, and the next one has the measurements', async () => {
  const choices: unknown[] = []
  const devices = measured(cluster(['local', thread()]), { force: true, budgetMs: 300, onChoice: c => choices.push(c) })
  const runner = await devices.runner(await load())
  const controller = new AbortController()
  const request = runner.begin(controller.signal)
  const rows = request.rows([blankSequence(runner.model, 64)], 'last')
  controller.abort(new Error('no longer wanted'))
  await expect(rows).rejects.toThrow('no longer wanted')
  request.end()
  expect(choices).toEqual([])
  expect(await rowsOf(runner)).toHaveLength(runner.model.shape.width)
  expect(choices).toHaveLength(1)
  await runner.dispose()
})
