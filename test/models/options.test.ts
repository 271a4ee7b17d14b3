/** What calls of pipelines are given: inputs of other types, options that there are not, and what each option does. */
import {
  aloneRunner,
  type BatchPipeline,
  featureExtraction,
  fillMask,
  type GenerationOptions,
  type GenerationPipeline,
  InputError,
  imageClassification,
  type Label,
  type Model,
  type NumberArray,
  type Part,
  textClassification,
  textGeneration,
} from '@prismal/models'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadFolder, POSITIONS, randomInput, temporaryFolders, tinyModel, writeModel } from './tiny-model.js'
import { wordTokenizer } from './word-tokenizer.js'

const newFolder = temporaryFolders()
const tokenizer = wordTokenizer()
const models: Partial<Record<'bert' | 'gpt2' | 'vit', Model>> = {}
const used = new Map<Model, number>()
beforeAll(async () => {
  for (const family of ['bert', 'gpt2', 'vit'] as const) {
    const model = await loadFolder(writeModel(newFolder(), tinyModel(family)))
    models[family] = model
    used.set(model, model.engine.arena.usedBytes)
  }
})
afterAll(() => {
  for (const [model, bytes] of used) {
    expect(model.engine.arena.usedBytes).toBe(bytes)
    model.dispose()
  }
})
const runnerOf = (family: 'bert' | 'gpt2' | 'vit') => aloneRunner(models[family] as Model)
const classify = () => textClassification(runnerOf('bert'), tokenizer)
const classifyImages = () => imageClassification(runnerOf('vit'), async (part: Part) => part)
const fill = () => fillMask(runnerOf('bert'), tokenizer)
const extract = () => featureExtraction(runnerOf('bert'), (text: string, cut) => tokenizer.encode(text, cut))
const generate = () => textGeneration(runnerOf('gpt2'), tokenizer, [])
/** A pipeline as plain JavaScript calls it. */
type Loose = (input: unknown, options?: unknown) => PromiseLike<unknown>
const words = (count: number): string => Array.from({ length: count }, (_, i) => `w${i % 50}`).join(' ')

describe('an input that is no text', () => {
  const ways = { classify, fill, extract, generate }
  describe.each(Object.keys(ways) as (keyof typeof ways)[])('%s', way => {
    it.each<[string, unknown]>([
      ['undefined', undefined],
      ['null', null],
      ['number', 42],
      ['Object', {}],
      ['boolean', true],
      ['Uint8Array', new Uint8Array(3)],
    ])('is refused by its type: %s', async (name, input) => {
      const call = ways[way]() as unknown as Loose
      const refusal = new InputError(`a text is a string; ${name} was given`)
      await expect(call(input).then()).rejects.toThrow(refusal)
      await expect(call(['w1 [MASK]', input]).then()).rejects.toThrow(refusal)
    })
    it('is a list in a list', async () => {
      const call = ways[way]() as unknown as Loose
      await expect(call([['w1', 'w2']]).then()).rejects.toThrow(new InputError('a text is a string; Array was given'))
    })
  })

  it('is half a pair; a second text that is empty or absent is none', async () => {
    const call = classify() as unknown as Loose
    for (const wrong of [{ text: 3, text_pair: 'w1' }, { text: 'w1', text_pair: 3 }, { text: undefined }])
      await expect(call(wrong)).rejects.toThrow(/^a text is a string; (number|undefined) was given$/)
    const alone = await call('w1 w2')
    for (const text_pair of ['', null, undefined]) expect(await call({ text: 'w1 w2', text_pair })).toEqual(alone)
    expect(await call({ text: 'w1 w2', text_pair: 'w3' })).not.toEqual(alone)
  })

  it('is no prompt to stream', async () => {
    const stream = async (): Promise<void> => {
      for await (const _ of generate()([]));
    }
    await expect(stream()).rejects.toThrow(new InputError('a text is a string; undefined was given'))
    expect(await generate()([])).toEqual([])
  })
})

describe('options', () => {
  it('that there are not are refused by name', async () => {
    await expect(classify()('w1', { top_n: 3 } as object)).rejects.toThrow(
      new InputError('there is no option top_n (top_k, topk, truncation, max_length, signal)'),
    )
    await expect(classifyImages()([], { max_length: 3 } as object)).rejects.toThrow('there is no option max_length')
    await expect(extract()('w1', { quantize: true } as object)).rejects.toThrow('there is no option quantize')
    await expect(generate()('w1', { num_beams: 4 } as object)).rejects.toThrow('there is no option num_beams')
  })

  it('have a signal that is one', async () => {
    for (const [name, signal] of [
      ['Object', {}],
      ['string', 'soon'],
      ['AbortController', new AbortController()],
    ] as const) {
      const refusal = new InputError(`signal is an AbortSignal; ${name} was given`)
      await expect((classify() as Loose)('w1', { signal })).rejects.toThrow(refusal)
      await expect((generate() as Loose)('w1', { signal }).then()).rejects.toThrow(refusal)
    }
  })

  it('are an object', async () => {
    for (const [name, options] of [
      ['number', 42],
      ['Array', []],
      ['string', 'x'],
    ] as const) {
      const refusal = new InputError(`options are an object; ${name} was given`)
      await expect((classify() as Loose)('w1', options)).rejects.toThrow(refusal)
      await expect((generate() as Loose)('w1', options).then()).rejects.toThrow(refusal)
    }
  })

  it('that are null or undefined are absent', async () => {
    const plain = await generate()('w1')
    const names = [
      'max_new_tokens',
      'max_length',
      'do_sample',
      'temperature',
      'top_k',
      'top_p',
      'seed',
      'stop',
      'signal',
    ]
    for (const value of [null, undefined])
      expect(await generate()('w1', Object.fromEntries(names.map(name => [name, value])))).toEqual(plain)
    expect(await (generate() as Loose)('w1', null)).toEqual(plain)
    expect(await (extract() as Loose)('w1', { pooling: null, normalize: null })).toMatchObject({ dims: [3, 24] })
    expect(await (classify() as Loose)('w1', null)).toHaveLength(1)
  })
})

describe('top_k', () => {
  it.each<[string, () => unknown, unknown, number]>([
    ['texts', classify, 'w1 w2', 1],
    ['images', classifyImages, undefined, 5],
    ['masks', fill, 'w1 [MASK]', 5],
  ])('is how many are given, of %s', async (_, make, text, otherwise) => {
    const call = make() as BatchPipeline<unknown, Record<string, unknown>, unknown[]>
    const input = text ?? randomInput(models.vit as Model, 10, 1)
    const all = make === fill ? 61 : 5
    const lengths = async (...options: Record<string, unknown>[]) => {
      const found = []
      for (const option of options) found.push((await call(input, option)).length)
      return found
    }
    expect(await lengths({}, { top_k: undefined }, { topk: undefined })).toEqual(Array(3).fill(otherwise))
    expect(await lengths({ top_k: 3 }, { topk: 3 }, { top_k: 3, topk: 2 })).toEqual([3, 3, 3])
    expect(await lengths({ top_k: null }, { topk: null }, { top_k: 0 }, { topk: 0 }, { top_k: 100 })).toEqual(
      Array(5).fill(all),
    )
    for (const wrong of [-1, 2.5, Number.NaN, '3', Number.POSITIVE_INFINITY]) {
      await expect(call(input, { top_k: wrong })).rejects.toThrow(
        new InputError(`top_k is ${wrong}, not a whole number ≥ 0 (0: all)`),
      )
      await expect(call(input, { topk: wrong })).rejects.toThrow(`topk is ${wrong}`)
    }
  })
})

describe('a text that is too long', () => {
  const long = words(POSITIONS)
  it('is refused, and told what would cut it', async () => {
    const refusal = new InputError(
      `${POSITIONS + 2} tokens were given; the model has ${POSITIONS} positions: truncation: true cuts longer texts`,
    )
    await expect(classify()(long)).rejects.toThrow(refusal)
    await expect(classify()(long, { truncation: false, max_length: 5 })).rejects.toThrow(refusal)
    await expect(extract()(long)).rejects.toThrow(refusal)
    await expect(fill()(`[MASK] ${words(POSITIONS - 1)}`)).rejects.toThrow(refusal)
  })

  it('is cut to the positions of the model, or to max_length', async () => {
    const fitting = words(POSITIONS - 2)
    expect(await classify()(long, { truncation: true, top_k: 0 })).toEqual(await classify()(fitting, { top_k: 0 }))
    expect(await classify()(long, { max_length: 5, top_k: 0 })).toEqual(await classify()('w0 w1 w2', { top_k: 0 }))
    const options = { truncation: true, max_length: POSITIONS + 100 }
    expect(((await extract()(long, options)) as NumberArray).data).toEqual(
      ((await extract()(fitting)) as NumberArray).data,
    )
    const [{ sequence } = { sequence: '' }] = await fill()(`[MASK] ${long}`, { max_length: 6, top_k: 1 })
    expect(sequence.split(' ').slice(-3)).toEqual(['w0', 'w1', 'w2'])
  })

  it('of a pair loses the end of the longer text first', async () => {
    const cut = async (text: string, text_pair: string, max_length: number) =>
      (await classify()({ text, text_pair }, { top_k: 0, max_length })) as Label[]
    const whole = async (text: string, text_pair: string) =>
      (await classify()({ text, text_pair }, { top_k: 0 })) as Label[]
    expect(await cut(words(9), 'w40 w41', 8)).toEqual(await whole(words(3), 'w40 w41'))
    expect(await cut('w40 w41', words(9), 8)).toEqual(await whole('w40 w41', words(3)))
    expect(await cut(words(9), words(9), 8)).toEqual(await whole(words(2), words(3)))
    expect(await cut(words(9), words(8), 8)).toEqual(await whole(words(3), words(2)))
    expect(await cut('w1', words(9), 3)).toHaveLength(5)
    await expect(cut('w1', words(9), 2)).rejects.toThrow(
      new InputError('a pair cannot be cut to 2 tokens: 3 go to its special ones'),
    )
  })

  it.each<[object, string]>([
    [{ max_length: 0 }, 'max_length is 0, not a whole number ≥ 1'],
    [{ max_length: 2.5 }, 'max_length is 2.5, not a whole number ≥ 1'],
    [{ truncation: 'longest_first' }, 'truncation is longest_first, not true or false'],
    [{ max_length: 1 }, 'a text cannot be cut to 1 tokens: 1 go to the special ones that end it'],
  ])('cannot be cut by %o', async (options, message) => {
    for (const call of [classify(), extract()] as Loose[]) await expect(call(long, options)).rejects.toThrow(message)
  })
})

describe('generation', () => {
  const idsOf = async (of: GenerationPipeline, prompt: string, options: object): Promise<number> =>
    tokenizer.encode((await of(prompt, options))[0]?.generated_text ?? '', { specialTokens: false }).to

  it.each<[object, string]>([
    [{ temperature: -1 }, 'temperature is -1, not a number ≥ 0'],
    [{ temperature: Number.NaN }, 'temperature is NaN, not a number ≥ 0'],
    [{ temperature: -1, do_sample: false }, 'temperature is -1, not a number ≥ 0'],
    [{ temperature: '0.5' }, 'temperature is 0.5, not a number ≥ 0'],
    [{ max_new_tokens: 0 }, 'max_new_tokens is 0, not a whole number ≥ 1'],
    [{ max_length: 2.5 }, 'max_length is 2.5, not a whole number'],
    [{ do_sample: 'yes' }, 'do_sample is yes, not true or false'],
    [{ return_full_text: 1 }, 'return_full_text is 1, not true or false'],
    [{ stop: 3 }, 'stop is a text or a list of them; number was given'],
    [{ stop: ['a', null] }, 'stop is a text or a list of them; null was given'],
    [{ top_k: -1 }, 'sampling: topK is -1, not a whole number ≥ 0'],
    [{ top_p: 1.5, do_sample: true }, 'sampling: topP is 1.5, not within [0, 1]'],
  ])('refuses %o, whole or in pieces', async (options, message) => {
    const refusal = new InputError(message)
    await expect(generate()('w1', options)).rejects.toThrow(refusal)
    const first = generate().stream('w1', options)[Symbol.asyncIterator]().next()
    await expect(first).rejects.toThrow(refusal)
  })

  it('gives prompt and text together max_length tokens, each of several prompts', async () => {
    const options: GenerationOptions = { max_length: 9, return_full_text: false }
    const prompts = ['w1 w2', 'w3 w4 w5']
    const made = prompts.map(prompt => 9 - tokenizer.encode(prompt).to)
    expect(made).toEqual([5, 4])
    const apart = []
    for (const [i, prompt] of prompts.entries())
      apart.push(...(await generate()(prompt, { max_new_tokens: made[i] as number, return_full_text: false })))
    expect(await generate()(prompts, options)).toEqual(apart)
    const pieces = []
    for await (const piece of generate()(prompts[1] as string, options)) pieces.push(piece)
    expect(pieces.join('')).toBe(apart[1]?.generated_text)
    expect(await generate()(prompts, { ...options, max_new_tokens: 3 })).toEqual(
      await generate()(prompts, { max_new_tokens: 3, return_full_text: false }),
    )
    await expect(generate()(prompts, { max_length: 5 })).rejects.toThrow(
      new InputError('max_length is 5, and the prompt alone has 5 tokens: raise it, or give max_new_tokens'),
    )
    expect(await idsOf(generate(), 'w1', { max_length: 7 })).toBeGreaterThan(1)
  })

  it('with top_p 0 takes the likeliest token', async () => {
    expect(await generate()('w1 w2', { do_sample: true, top_p: 0 })).toEqual(await generate()('w1 w2'))
  })
})
