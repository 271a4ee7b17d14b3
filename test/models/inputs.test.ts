/** Inputs that do not fit a model: a typed error that names what was asked and what there is, and no memory kept. */
import {
  aloneRunner,
  InputError,
  type Model,
  type Part,
  patchify,
  textPart,
  type VitShape,
  type Want,
} from '@prismal/models'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bits } from '../compare.js'
import { normals } from '../random.js'
import {
  FAMILIES,
  type Family,
  loadFolder,
  POSITIONS,
  randomInput,
  temporaryFolders,
  tinyModel,
  writeModel,
} from './tiny-model.js'

const newFolder = temporaryFolders()
const VOCABULARY = 61

/** Loads a family's tiny model for a suite, and sees that its tests keep no memory. */
function modelOf(family: Family): () => Model {
  let model: Model
  let before: number
  beforeAll(async () => {
    model = await loadFolder(writeModel(newFolder(), tinyModel(family)))
    before = model.engine.arena.usedBytes
  })
  afterAll(() => {
    expect(model.engine.arena.usedBytes).toBe(before)
    model.dispose()
  })
  return () => model
}

async function rowsOf(model: Model, sequences: readonly Part[], want: Want = 'all'): Promise<Float32Array> {
  const request = aloneRunner(model).begin()
  try {
    return (await request.rows(sequences, want)).floats()
  } finally {
    request.end()
  }
}

/** Asks for rows, and for tokens where the model makes them; both must refuse alike and keep no memory. */
async function refusal(model: Model, sequence: Part): Promise<string> {
  const before = model.engine.arena.usedBytes
  const attempts = [() => rowsOf(model, [randomInput(model, 3, 1), sequence])]
  if (model.family === 'gpt2')
    attempts.push(async () => {
      const request = aloneRunner(model).begin()
      try {
        for await (const _ of request.tokens([randomInput(model, 3, 1), sequence], { maxNewTokens: 2 }));
        return new Float32Array(0)
      } finally {
        request.end()
      }
    })
  const messages = new Set<string>()
  for (const attempt of attempts) {
    const error = await attempt().then(
      () => undefined,
      error => error,
    )
    expect(error).toBeInstanceOf(InputError)
    expect(error.code).toBe('bad-input')
    expect(model.engine.arena.usedBytes).toBe(before)
    messages.add(error.message)
  }
  expect(messages.size).toBe(1)
  return [...messages][0] as string
}

describe.each(['bert', 'gpt2'] as const)('%s refuses', family => {
  const model = modelOf(family)

  it.each([VOCABULARY, -1, 2 ** 31 - 1])('token id %i', async id => {
    expect(await refusal(model(), textPart([1, 2, id, 3]))).toBe(
      `token id ${id} (number 2) is outside the vocabulary of ${VOCABULARY}`,
    )
  })

  it.each([POSITIONS + 1, 1_000_000])('%i tokens', async count => {
    expect(await refusal(model(), textPart(new Int32Array(count)))).toBe(
      `${count} tokens were given; the model has ${POSITIONS} positions`,
    )
  })

  it('no tokens, no ids, or ids for other rows', async () => {
    expect(await refusal(model(), textPart([]))).toBe('the input has no tokens')
    expect(await refusal(model(), { from: 0, to: 3 })).toBe('a text is given as token ids, one a row')
    const fewer = { from: 0, to: 3, ids: Int32Array.of(1, 2) }
    expect(await refusal(model(), fewer)).toBe('a text is given as token ids, one a row')
    expect(await refusal(model(), textPart([1, 2, 3], undefined, [0, 0, 0]))).toBe('the input has no tokens')
  })

  it('a token type beyond its table', async () => {
    const last = family === 'bert' ? 1 : 0
    expect(await refusal(model(), textPart([1, 2, 3], [0, last, last + 1]))).toBe(
      `token type ${last + 1} (number 2) is outside 0…${last}`,
    )
    expect(await refusal(model(), textPart([1, 2, 3], [-1, 0, 0]))).toBe(
      `token type -1 (number 0) is outside 0…${last}`,
    )
  })

  it('positions beyond the model, or not one a row', async () => {
    const part = (...positions: number[]): Part => ({ ...textPart([1, 2, 3]), positions: Int32Array.from(positions) })
    expect(await refusal(model(), part(0, POSITIONS, 2))).toBe(
      `position ${POSITIONS} (of token 1) is outside the model's ${POSITIONS} positions`,
    )
    expect(await refusal(model(), part(0, 1, -1))).toBe(
      `position -1 (of token 2) is outside the model's ${POSITIONS} positions`,
    )
    expect(await refusal(model(), part(0, 1))).toBe('2 position ids were given for 3 tokens; one each is needed')
    expect(await refusal(model(), { ...textPart([1, 2, 3]), types: Int32Array.of(0) })).toBe(
      '1 token types were given for 3 tokens; one each is needed',
    )
  })

  it('an image', async () => {
    const image = { from: 0, to: 10, patches: new Float32Array(9 * 48) }
    expect(await refusal(model(), image)).toBe('a text is given as token ids, one a row')
  })
})

describe.each(FAMILIES)('%s', family => {
  const model = modelOf(family)

  it('refuses rows that a sequence does not have', async () => {
    const sequence = randomInput(model(), 10, 1)
    for (const [row, named] of [
      [10, '10'],
      [-1, '-1'],
      [0.5, '0.5'],
    ] as const)
      await expect(rowsOf(model(), [sequence], [[0, row]])).rejects.toThrow(
        new InputError(`row ${named} was asked for of a sequence of 10 rows`),
      )
  })

  it('gives no rows for no sequences', async () => {
    for (const want of ['all', 'first', 'mean'] as const) expect(await rowsOf(model(), [], want)).toHaveLength(0)
  })
})

describe('ids and types', () => {
  it.each([1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32 + 1, -(2 ** 31) - 1, 2n ** 40n, '5', null, undefined])(
    'are whole numbers of 32 bits, not %s',
    value => {
      const message = (what: string) => new InputError(`${what} ${value} (number 1) is not a whole number of 32 bits`)
      expect(() => textPart([1, value as number])).toThrow(message('token id'))
      expect(() => textPart([1, 2], [0, value as number])).toThrow(message('token type'))
    },
  )
})

describe('token types', () => {
  const bert = modelOf('bert')
  const gpt2 = modelOf('gpt2')

  it('count, and are 0 where there are none', async () => {
    const ids = [5, 17, 9]
    const none = bits(await rowsOf(bert(), [textPart(ids)]))
    expect(bits(await rowsOf(bert(), [textPart(ids, [0, 0, 0])]))).toEqual(none)
    expect(bits(await rowsOf(bert(), [textPart(ids, [0, 1, 1])]))).not.toEqual(none)
    const [first] = [await rowsOf(bert(), [textPart(ids, [0, 1, 1]), textPart(ids)], 'all')]
    expect(bits(first.subarray(3 * 24))).toEqual(none)
  })

  it('of 0 change nothing for GPT-2, whose tokenizers give none', async () => {
    const ids = [5, 17, 9]
    const none = bits(await rowsOf(gpt2(), [textPart(ids)]))
    expect(bits(await rowsOf(gpt2(), [textPart(ids, [0, 0, 0])]))).toEqual(none)
  })
})

describe('an attention mask', () => {
  it('drops rows, and the others keep their positions', () => {
    expect(textPart([7, 8, 9, 10], [0, 0, 1, 1], [1, 0, 1, 0])).toEqual({
      from: 0,
      to: 2,
      ids: Int32Array.of(7, 9),
      types: Int32Array.of(0, 1),
      positions: Int32Array.of(0, 2),
    })
    expect(textPart([7, 8], undefined, [1, 1])).toEqual({ from: 0, to: 2, ids: Int32Array.of(7, 8) })
  })

  it('is of numbers, booleans or BigInts', () => {
    const kept = textPart([7, 8, 9], undefined, [1, 0, 1])
    expect(textPart([7, 8, 9], undefined, [true, false, true])).toEqual(kept)
    expect(textPart([7n, 8n, 9n], undefined, BigInt64Array.of(1n, 0n, 1n))).toEqual(kept)
    expect(textPart(BigInt64Array.of(7n, 9n), [0n, 1n])).toEqual(textPart([7, 9], [0, 1]))
    for (const [value, named] of [
      [2, '2'],
      [Number.NaN, 'NaN'],
      ['1', '1'],
      [null, 'null'],
      [-1n, '-1'],
    ] as const)
      expect(() => textPart([7, 8], undefined, [1, value as number])).toThrow(
        new InputError(`the attention mask is ${named} for token 1, not 0 or 1`),
      )
  })

  it('leaves out what stands in for tokens', () => {
    expect(textPart([7, -100, Number.NaN], undefined, [1, 0, 0])).toEqual({
      from: 0,
      to: 1,
      ids: Int32Array.of(7),
      positions: Int32Array.of(0),
    })
  })

  it('must have a value a token, as must the types', () => {
    expect(() => textPart([1, 2, 3], undefined, [1, 1])).toThrow(
      new InputError('3 token ids, but the attention mask has 2 values'),
    )
    expect(() => textPart([1, 2, 3], [0])).toThrow(new InputError('3 token ids, but token types has 1 values'))
  })

  describe.each(['bert', 'gpt2'] as const)('on %s', family => {
    const model = modelOf(family)
    const ids = [5, 17, 9, 33, 21, 60, 2]

    it('of padding at the end changes no bit', async () => {
      const padded = await rowsOf(model(), [textPart([...ids, 0, 0, 0], undefined, [1, 1, 1, 1, 1, 1, 1, 0, 0, 0])])
      expect(bits(padded)).toEqual(bits(await rowsOf(model(), [textPart(ids)])))
    })

    it('in the middle leaves what hand-made positions give, and not what moved-up ones would', async () => {
      const masked = await rowsOf(model(), [textPart(ids, undefined, [1, 0, 1, 1, 0, 1, 1])])
      const kept = Int32Array.of(5, 9, 33, 60, 2)
      const byHand: Part = { from: 0, to: 5, ids: kept, positions: Int32Array.of(0, 2, 3, 5, 6) }
      expect(bits(masked)).toEqual(bits(await rowsOf(model(), [byHand])))
      expect(bits(masked)).not.toEqual(bits(await rowsOf(model(), [{ from: 0, to: 5, ids: kept }])))
    })

    it('lets a long input through whose kept rows fit', async () => {
      const long = new Array(POSITIONS + 20).fill(3)
      const mask = long.map((_, i) => (i < POSITIONS ? 1 : 0))
      expect(await rowsOf(model(), [textPart(long, undefined, mask)])).toHaveLength(POSITIONS * 24)
      const late = long.map((_, i) => (i === POSITIONS + 3 ? 1 : 0))
      await expect(rowsOf(model(), [textPart(long, undefined, late)])).rejects.toThrow(
        new InputError(`position ${POSITIONS + 3} (of token 0) is outside the model's ${POSITIONS} positions`),
      )
    })
  })
})

describe('vit refuses', () => {
  const model = modelOf('vit')

  it('pixels of another size', () => {
    expect(() => patchify(normals(3 * 12 * 11, 1), model().shape as VitShape)).toThrow(
      new InputError('an image of 396 values was given; the model takes [3,12,12]'),
    )
  })

  it('another number of patches, or of rows', async () => {
    const other = { from: 0, to: 5, patches: normals(4 * 48, 1) }
    expect(await refusal(model(), other)).toBe('an image of 4 patches was given; the model takes 9 (12×12 pixels)')
    const good = randomInput(model(), 10, 1)
    expect(await refusal(model(), { ...good, to: 9 })).toContain('an image of 9 patches')
    expect(await refusal(model(), { ...good, patches: normals(9 * 48 + 1, 1) })).toContain('an image of 9.02')
  })

  it('a text', async () => {
    expect(await refusal(model(), textPart([1, 2, 3]))).toBe(
      'an image of 0 patches was given; the model takes 9 (12×12 pixels)',
    )
  })
})

describe('patchify', () => {
  it('reads patches in raster order, channel by channel, as a convolution does', () => {
    const shape = { channels: 2, imageSize: 4, patchSize: 2 } as VitShape
    const pixels = Float32Array.from({ length: 32 }, (_, i) => i) // [2, 4, 4]
    const { patches, to } = patchify(pixels, shape)
    expect(to).toBe(5)
    expect([...(patches as Float32Array)]).toEqual([
      ...[0, 1, 4, 5, 16, 17, 20, 21],
      ...[2, 3, 6, 7, 18, 19, 22, 23],
      ...[8, 9, 12, 13, 24, 25, 28, 29],
      ...[10, 11, 14, 15, 26, 27, 30, 31],
    ])
  })
})

describe('generation refuses', () => {
  const model = modelOf('gpt2')
  it.each<[object, string]>([
    [{ maxNewTokens: 0 }, 'maxNewTokens is 0, not a whole number ≥ 1'],
    [{ maxNewTokens: -5 }, 'maxNewTokens is -5, not a whole number ≥ 1'],
    [{ maxNewTokens: 1.5 }, 'maxNewTokens is 1.5, not a whole number ≥ 1'],
    [{ maxNewTokens: Number.NaN }, 'maxNewTokens is NaN, not a whole number ≥ 1'],
    [{}, 'maxNewTokens is undefined, not a whole number ≥ 1'],
    [{ sampling: { temperature: -1 } }, 'sampling: temperature is -1, not a number ≥ 0'],
    [{ sampling: { temperature: Number.POSITIVE_INFINITY } }, 'sampling: temperature is Infinity, not a number ≥ 0'],
    [{ sampling: { topK: 2.5 } }, 'sampling: topK is 2.5, not a whole number ≥ 0'],
    [{ sampling: { topP: -0.1 } }, 'sampling: topP is -0.1, not within [0, 1]'],
    [{ sampling: { topP: 1.1 } }, 'sampling: topP is 1.1, not within [0, 1]'],
    [{ sampling: { repetitionPenalty: 0 } }, 'sampling: repetitionPenalty is 0, not positive'],
    [{ sampling: { seed: 0.1 } }, 'sampling: seed is 0.1, not a whole number'],
  ])('%o before it computes anything', async (options, message) => {
    const request = aloneRunner(model()).begin()
    const before = model().engine.arena.usedBytes
    const tokens = request.tokens([randomInput(model(), 3, 1)], options as { maxNewTokens: number })
    const first = tokens[Symbol.asyncIterator]().next()
    await expect(first).rejects.toThrow(new InputError(message))
    expect(request.report().devices[0]?.flops).toBe(0)
    expect(model().engine.arena.usedBytes).toBe(before)
    request.end()
  })
})
