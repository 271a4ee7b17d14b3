/** Pipelines: from texts and images to answers, with what each call cost, and nothing kept afterwards. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  aloneRunner,
  type Filled,
  featureExtraction,
  fillMask,
  type GenerationOptions,
  type GenerationPipeline,
  InputError,
  imageClassification,
  type Label,
  loadTokenizer,
  type Model,
  ModelError,
  type NumberArray,
  type Part,
  type TimedStage,
  Tokenizer,
  textClassification,
  textGeneration,
} from '@prismal/models'
import { folderFiles } from '@prismal/models/node'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RUNS } from '../runs.js'
import { type Family, loadFolder, randomInput, temporaryFolders, tinyModel, writeModel } from './tiny-model.js'
import { wordTokenizer } from './word-tokenizer.js'

const newFolder = temporaryFolders()
const chronicle = join(fileURLToPath(new URL('../..', import.meta.url)), 'models/gpt2-chronicle')

/** Loads a model for a suite, and sees that its tests keep no memory. */
function suiteModel(folder: () => string): () => Model {
  let model: Model
  let before: number
  beforeAll(async () => {
    model = await loadFolder(folder())
    before = model.engine.arena.usedBytes
  })
  afterAll(() => {
    expect(model.engine.arena.usedBytes).toBe(before)
    model.dispose()
  })
  return () => model
}
const tiny = (family: Family) => suiteModel(() => writeModel(newFolder(), tinyModel(family)))

describe('classification', () => {
  const bert = tiny('bert')
  const vit = tiny('vit')
  const tokenizer = wordTokenizer()

  it('of texts and pairs: probabilities, most likely first, one by one or together', async () => {
    const classify = textClassification(aloneRunner(bert()), tokenizer)
    const inputs = ['w1 w2 w3', { text: 'w4', text_pair: 'w5 w6' }, 'w7 w8 w9 w10 w11']
    const apart = []
    for (const input of inputs) apart.push((await classify(input, { topk: 5 })) as Label[])
    expect(await classify(inputs, { topk: 5 })).toEqual(apart)
    for (const labels of apart) {
      expect(labels.map(l => l.score)).toEqual(labels.map(l => l.score).sort((a, b) => b - a))
      expect(labels.reduce((sum, l) => sum + l.score, 0)).toBeCloseTo(1, 12)
      expect(labels.map(l => l.label).sort()).toEqual(['LABEL_0', 'LABEL_1', 'LABEL_2', 'LABEL_3', 'LABEL_4'])
    }
    expect(await classify(inputs)).toEqual(apart.map(labels => labels.slice(0, 1)))
    expect(await classify([])).toEqual([])
  })

  it('of images, by their names', async () => {
    const images = [randomInput(vit(), 10, 1), randomInput(vit(), 10, 2)]
    const classify = imageClassification(aloneRunner(vit()), async (image: Part) => image)
    const [first, second] = (await classify(images)) as Label[][]
    expect(first?.map(l => l.label).sort()).toEqual(['four', 'one', 'three', 'two', 'zero'])
    expect(await classify(images[1] as Part, { topk: 2 })).toEqual(second?.slice(0, 2))
  })

  it.each(['multi_label_classification', 'regression'] as const)('whose problem is %s', async problem_type => {
    for (const family of ['bert', 'vit'] as const) {
      const stored = tinyModel(family)
      const config = { ...stored.config, problem_type }
      const model = await loadFolder(writeModel(newFolder(), { ...stored, config }))
      const sequence = family === 'bert' ? tokenizer.encode('w1 w2') : randomInput(model, 10, 1)
      const classify = imageClassification(aloneRunner(model), async (part: Part) => part)
      const labels = (await classify(sequence)) as Label[]
      const request = aloneRunner(model).begin()
      const logits = [...(model.classify?.(await request.rows([sequence], 'first')).floats() ?? [])]
      request.end()
      const scores = problem_type === 'regression' ? logits : logits.map(v => 1 / (1 + Math.exp(-v)))
      expect(labels.map(l => l.score)).toEqual(scores.sort((a, b) => b - a))
      model.dispose()
    }
  })

  it('reports what a call cost, the same from call to call', async () => {
    const classify = textClassification(aloneRunner(bert()), tokenizer)
    const { output, report } = await classify.withReport('w1 w2 w3')
    expect(output).toEqual(await classify('w1 w2 w3'))
    expect([report.strategy, report.deviations, report.devices.length]).toEqual(['alone', [], 1])
    const [device] = report.devices
    expect([device?.rows, device?.stages.map(s => s.stage)]).toEqual([5, ['embed', '0', '1', '2', 'head']])
    const { report: again } = await classify.withReport('w1 w2 w3')
    const counted = (stages: readonly TimedStage[] = []) => stages.map(({ milliseconds: _, ...stage }) => stage)
    expect(counted(again.devices[0]?.stages)).toEqual(counted(device?.stages))
    const spent = device?.stages.reduce((sum, s) => sum + s.milliseconds, 0) ?? 0
    expect(spent).toBeGreaterThan(0)
    expect(spent).toBeLessThanOrEqual((device?.milliseconds ?? 0) + 1)
    expect(again.devices[0]?.peakBytes).toBe(device?.peakBytes)
  })

  it('is refused by a model without the head, by name', () => {
    const headless = { ...bert(), classify: undefined, vocabulary: undefined } as unknown as Model
    const runner = aloneRunner(headless)
    const where = bert().location
    expect(() => textClassification(runner, tokenizer)).toThrow(
      new ModelError(`${where} has no classifier: it cannot do text-classification`),
    )
    expect(() => imageClassification(runner, async (part: Part) => part)).toThrow(/cannot do image-classification/)
    expect(() => fillMask(runner, tokenizer)).toThrow(
      new ModelError(`${where} has no head over the vocabulary: it cannot do fill-mask`),
    )
    expect(() => textGeneration(aloneRunner(bert()), tokenizer, [])).toThrow(
      new ModelError(`${where} is not a causal language model: it cannot do text-generation`),
    )
  })
})

describe('feature extraction', () => {
  const model = tiny('bert')
  const tokenizer = wordTokenizer()
  const extractor = () => featureExtraction(aloneRunner(model()), (text: string) => tokenizer.encode(text))
  const texts = ['w1 w2 w3', 'w4']

  it('of every row, the first, or their mean', async () => {
    const extract = extractor()
    const rows = (await extract(texts)) as NumberArray[]
    expect(rows.map(r => r.dims)).toEqual([
      [5, 24],
      [3, 24],
    ])
    const nested = rows[1]?.tolist() as number[][]
    expect([nested.length, nested[0]?.length, nested[2]?.[23]]).toEqual([3, 24, rows[1]?.data[71]])
    const cls = (await extract(texts, { pooling: 'cls' })) as NumberArray
    expect(cls.dims).toEqual([2, 24])
    expect(cls.tolist()).toEqual(rows.map(r => (r.tolist() as number[][])[0]))
    const mean = (await extract(texts[1] as string, { pooling: 'mean' })) as NumberArray
    expect(mean.dims).toEqual([1, 24])
    for (const [i, value] of mean.data.entries())
      expect(value).toBeCloseTo((nested[0]![i]! + nested[1]![i]! + nested[2]![i]!) / 3, 5)
  })

  it('scales vectors to length 1 where asked', async () => {
    const unit = (await extractor()(texts, { pooling: 'mean', normalize: true })) as NumberArray
    for (const row of unit.tolist() as number[][]) expect(Math.hypot(...row)).toBeCloseTo(1, 6)
  })

  it('refuses another pooling by name', async () => {
    await expect(extractor()(texts, { pooling: 'max' as 'mean' })).rejects.toThrow(
      new InputError('pooling is "max", not none, mean or cls'),
    )
  })
})

describe('fill-mask', () => {
  const model = tiny('bert')
  const fill = () => fillMask(aloneRunner(model()), wordTokenizer())

  it('gives the likely tokens and the texts with them', async () => {
    const texts = ['w1 [MASK] w3', '[MASK] w4 w5 w6']
    const [first, second] = (await fill()(texts, { topk: 3 })) as Filled[][]
    expect(await fill()(texts[1] as string, { topk: 3 })).toEqual(second)
    for (const { score, token_str, sequence } of first as Filled[]) {
      expect(score).toBeGreaterThan(0)
      expect(sequence).toBe(`w1 ${token_str} w3`.replace('  ', ' '))
    }
    const all = (await fill()(texts[0] as string, { topk: 61 })) as Filled[]
    expect(all.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 12)
  })

  it.each([
    ['w1 w2', 0],
    ['[MASK] [MASK]', 2],
  ])('refuses %j, which has %i masks', async (text, count) => {
    await expect(fill()(text)).rejects.toThrow(
      new InputError(`fill-mask: a text has one [MASK]; ${JSON.stringify(text)} has ${count}`),
    )
  })
})

describe('text generation with tokens that are parts of characters', () => {
  const model = tiny('gpt2')
  // A word and the first half of é, or the other half and a word; parts of € and 😀; as byte-level tokenizers spell bytes.
  const letters = [...'abcdefghijklmnopqrstuvwxyz']
  const tokens = [
    ...letters.map(c => `${c}Ã`),
    ...letters.map(c => `©${c}`),
    'â',
    'âĤ',
    'Ĥ¬',
    '¬',
    'ðŁ',
    'ĺĢ',
    'ð',
    'Łĺ',
    'a',
  ]
  const json = {
    added_tokens: [],
    normalizer: null,
    post_processor: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges: [] },
  }

  it('streams whole characters that make up the whole text', async () => {
    const generate = textGeneration(aloneRunner(model()), new Tokenizer(json, {}, 'parts'), [])
    let joined = 0
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.subarray(['é', 'éb', 'Ã', '😀', '€', 'q']), async (seed, stop) => {
        const options = { temperature: 8, seed, stop, max_new_tokens: 30, return_full_text: false }
        const pieces: string[] = []
        for await (const piece of generate('a', options)) pieces.push(piece)
        const [{ generated_text: whole } = { generated_text: '' }] = await generate('a', options)
        expect(pieces.join('')).toBe(whole)
        for (const text of stop) expect(whole).not.toContain(text)
        joined += whole.split('é').length - 1
      }),
      { numRuns: RUNS },
    )
    expect(joined).toBeGreaterThan(RUNS / 2)
  })
})

describe('text generation with gpt2-chronicle', () => {
  const model = suiteModel(() => chronicle)
  let tokenizer: Tokenizer
  let generate: GenerationPipeline
  beforeAll(async () => {
    tokenizer = (await loadTokenizer(await folderFiles(chronicle))) as Tokenizer
    generate = textGeneration(aloneRunner(model()), tokenizer, [0])
  })
  const PROMPT = 'And it came to pass'
  const textOf = async (prompt: string, options: GenerationOptions = {}): Promise<string> =>
    (await generate(prompt, { return_full_text: false, ...options }))[0]?.generated_text as string
  const piecesOf = async (prompt: string, options: GenerationOptions = {}): Promise<string[]> => {
    const pieces = []
    for await (const piece of generate(prompt, options)) pieces.push(piece)
    return pieces
  }

  it('is the greedy continuation, with the prompt before it unless told otherwise', async () => {
    const continuation = await textOf(PROMPT, { max_new_tokens: 12 })
    expect(tokenizer.encode(continuation).to).toBeGreaterThan(8)
    expect(await generate(PROMPT, { max_new_tokens: 12 })).toEqual([{ generated_text: PROMPT + continuation }])
    expect(await textOf(PROMPT)).toMatch(continuation) // 20 tokens by default
  })

  it('of several prompts equals that of each', async () => {
    const prompts = [PROMPT, 'The whale', 'In the name of the King, and of the Parliament']
    const apart = []
    for (const prompt of prompts) apart.push({ generated_text: prompt + (await textOf(prompt)) })
    expect(await generate(prompts)).toEqual(apart)
  })

  it('starts an empty prompt with the end token', async () => {
    expect((await textOf('')).length).toBeGreaterThan(0)
    const without = textGeneration(aloneRunner(model()), tokenizer, [])
    await expect(without('')).rejects.toThrow(
      new InputError('the prompt is empty, and the model has no token to start with'),
    )
  })

  it('streams pieces that make up the whole text', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.constantFrom(0.8, 3), async (seed, temperature) => {
        const options = { temperature, seed, max_new_tokens: 24 }
        const pieces = await piecesOf(PROMPT, options)
        expect(pieces.join('')).toBe(await textOf(PROMPT, options))
        expect(pieces.every(piece => piece.length > 0)).toBe(true)
      }),
      { numRuns: Math.ceil(RUNS / 40) },
    )
  })

  it('ends before the stop text that is complete first, whole or in pieces', async () => {
    const whole = await textOf(PROMPT, { max_new_tokens: 24 })
    const place = fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 12 }))
    await fc.assert(
      fc.asyncProperty(fc.array(place, { minLength: 1, maxLength: 2 }), async places => {
        const stop = places.map(([at, length]) => whole.slice(at, at + length))
        const found = stop.map(text => ({ from: whole.indexOf(text), to: whole.indexOf(text) + text.length }))
        const end = found.sort((a, b) => a.to - b.to || a.from - b.from)[0]?.from
        const options = { max_new_tokens: 24, stop }
        expect(await textOf(PROMPT, options)).toBe(whole.slice(0, end))
        expect((await piecesOf(PROMPT, options)).join('')).toBe(whole.slice(0, end))
      }),
      { numRuns: Math.ceil(RUNS / 10) },
    )
    // One within the other, which one token may complete both.
    for (let at = 0; at < 20; at++) {
      const stop = [whole.slice(at, at + 4), whole.slice(at + 1, at + 3)]
      const inner = whole.indexOf(stop[1] as string)
      expect(await textOf(PROMPT, { max_new_tokens: 24, stop })).toBe(whole.slice(0, inner))
    }
    const never = { max_new_tokens: 24, stop: [`${whole.slice(-3)}§`, ''] }
    expect((await piecesOf(PROMPT, never)).join('')).toBe(whole)
  })

  it('stops computing once every text has ended', async () => {
    const whole = await textOf(PROMPT, { max_new_tokens: 40 })
    const early = await generate.withReport(PROMPT, { max_new_tokens: 40, stop: whole.slice(5, 9) })
    const late = await generate.withReport(PROMPT, { max_new_tokens: 40 })
    const flops = (of: typeof early) => of.report.devices[0]?.flops as number
    expect(flops(early)).toBeLessThan(flops(late) / 2)
  })

  it('reports the cost of a stream at its end', async () => {
    let reported: string | undefined
    const pieces = []
    for await (const piece of generate.stream(PROMPT, {}, ({ output, report }) => {
      reported = output
      expect(report.devices[0]?.stages.map(s => s.stage)).toEqual(
        expect.arrayContaining(['embed', '0', '5', 'head', 'decode']),
      )
    }))
      pieces.push(piece)
    expect(pieces.join('')).toBe(reported)
  })

  it('samples the same text for the same seed', async () => {
    const options = { temperature: 1, seed: 5, top_k: 50, top_p: 0.9, repetition_penalty: 1.2 }
    const text = await textOf(PROMPT, options)
    expect(await textOf(PROMPT, options)).toBe(text)
    expect(await textOf(PROMPT, { ...options, seed: 6 })).not.toBe(text)
    expect(await textOf(PROMPT, { ...options, do_sample: false, repetition_penalty: 1 })).toBe(await textOf(PROMPT))
    expect(await textOf(PROMPT, { temperature: 1, top_k: 1 })).toBe(await textOf(PROMPT))
  })

  it('stops where the signal says so, before and in the middle', async () => {
    const before = model().engine.arena.usedBytes
    await expect(generate(PROMPT, { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before')
    const controller = new AbortController()
    const pieces: string[] = []
    const reading = async (): Promise<void> => {
      for await (const piece of generate(PROMPT, { signal: controller.signal, max_new_tokens: 200 })) {
        pieces.push(piece)
        if (pieces.length === 3) controller.abort(new Error('in the middle'))
      }
    }
    await expect(reading()).rejects.toThrow('in the middle')
    expect(pieces).toHaveLength(3)
    expect(model().engine.arena.usedBytes).toBe(before)
  })

  it('gives its memory back when nobody reads on', async () => {
    const before = model().engine.arena.usedBytes
    for await (const _ of generate(PROMPT)) break
    expect(model().engine.arena.usedBytes).toBe(before)
  })

  it('lets timers run while it computes', async () => {
    let ticks = 0
    const timer = setInterval(() => ticks++, 1)
    await textOf('The whale '.repeat(400), { max_new_tokens: 20 })
    clearInterval(timer)
    expect(ticks).toBeGreaterThan(2)
  })
})
