/** Loading: the forms in which weights are published, and what is wrong with a folder said by name. */
import { createHash } from 'node:crypto'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadModel, ModelError, type ModelFiles } from '@prismal/models'
import { folderFiles } from '@prismal/models/node'
import { createEngine, MemoryError } from '@prismal/tensor'
import { writeSafetensors } from '@prismal/weights-tools'
import { describe, expect, it } from 'vitest'
import { normals } from '../random.js'
import { answer, answerOf, failure } from './loading.js'
import {
  changed,
  FAMILIES,
  type Family,
  loadFolder,
  type Stored,
  same,
  stateDict,
  type TinyModel,
  temporaryFolders,
  tinyModel,
  writeModel,
} from './tiny-model.js'

const newFolder = temporaryFolders()
const PREFIX = { bert: 'bert.', gpt2: 'transformer.', vit: 'vit.' } as const
const isHead = (name: string): boolean => /^(cls|classifier)\b/.test(name)

interface StoredEntry {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly data_offsets: readonly [number, number]
}

describe.each(FAMILIES)('%s', family => {
  const tiny = tinyModel(family)
  const plain = answerOf(writeModel(newFolder(), tiny))

  describe('loads to the same bits', () => {
    it('and gives what it should', async () => {
      const model = await loadFolder(writeModel(newFolder(), tiny))
      expect([model.family, model.engine.arena.usedBytes > 0]).toEqual([family, true])
      expect(model.labels).toEqual({ vit: ['zero', 'one', 'two', 'three', 'four'] }[family as string])
      const heads = { bert: 3, vit: 2, gpt2: 1 }[family]
      expect(await plain).toHaveLength(1 + heads)
      model.dispose()
    })

    it.each(['F16', 'BF16'] as const)('from %s', async dtype => {
      expect(await answerOf(writeModel(newFolder(), tiny, dtype))).toEqual(await plain)
    })

    it('from several dtypes in one file', async () => {
      const dtypes = ['F32', 'F16', 'BF16'] as const
      const mixed = [...tiny.weights].map(([name, stored], i): [string, Stored] => [
        name,
        { ...stored, dtype: dtypes[i % 3]! },
      ])
      expect(await answerOf(writeModel(newFolder(), { ...tiny, weights: new Map(mixed) }))).toEqual(await plain)
    })

    it(`with the prefix ${PREFIX[family]}, on all names or on those of the stack`, async () => {
      const all = changed(tiny, name => PREFIX[family] + name)
      expect(await answerOf(writeModel(newFolder(), all))).toEqual(await plain)
      const stack = changed(tiny, name => (isHead(name) ? name : PREFIX[family] + name))
      expect(await answerOf(writeModel(newFolder(), stack))).toEqual(await plain)
    })

    it('with gamma and beta for the weight and bias of norms', async () => {
      const old = changed(tiny, name =>
        /(norm|ln_)[^.]*\.(weight|bias)$/i.test(name)
          ? name.replace(/weight$/, 'gamma').replace(/bias$/, 'beta')
          : name,
      )
      expect([...old.weights.keys()].filter(name => /gamma$/.test(name)).length).toBeGreaterThan(5)
      expect(await answerOf(writeModel(newFolder(), old))).toEqual(await plain)
    })

    it('from shards that an index names', async () => {
      expect(await answerOf(writeShards(newFolder(), tiny))).toEqual(await plain)
    })

    it("from the folder's only safetensors file", async () => {
      expect(await answerOf(writeModel(newFolder(), tiny, 'F32', 'model.fp16.safetensors'))).toEqual(await plain)
    })
  })

  it('names any tensor that is missing', async () => {
    // Heads are optional, and so is the bias of a patch projection.
    const optional = /^(pooler|classifier|cls\.predictions\.transform)\.?(dense)?\.weight$|projection\.bias$/
    for (const name of tiny.weights.keys()) {
      if (optional.test(name)) continue
      const folder = writeModel(newFolder(), changed(tiny, same, { [name]: undefined }))
      expect(await failure(folder)).toEqual(new ModelError(`${folder}: the weights lack ${name}`))
    }
  })

  it('names any tensor of another shape, as it is stored', async () => {
    for (const [name, { shape }] of tiny.weights) {
      const wrong = shape.with(-1, shape.at(-1)! + 1)
      const stored = { shape: wrong, values: new Float32Array(wrong.reduce((a, b) => a * b)) }
      const model = changed(changed(tiny, same, { [name]: stored }), n => PREFIX[family] + n)
      const folder = writeModel(newFolder(), model)
      expect(await failure(folder)).toEqual(
        new ModelError(
          `${folder}/model.safetensors: ${PREFIX[family]}${name} is [${wrong}] where config.json asks for [${shape}]`,
        ),
      )
    }
  })

  it('refuses weights of another dtype', async () => {
    const [[name, stored]] = [...tiny.weights] as [[string, Stored]]
    const folder = writeModel(newFolder(), changed(tiny, same, { [name]: { ...stored, dtype: 'I64' } }))
    expect(await failure(folder)).toEqual(
      new ModelError(`${folder}/model.safetensors: ${name} has dtype I64; weights are F32, F16 or BF16`),
    )
  })

  it('refuses a name that is there twice, with and without prefix', async () => {
    const [[name, stored]] = [...tiny.weights] as [[string, Stored]]
    const twice = changed(tiny, same, { [PREFIX[family] + name]: stored })
    expect((await failure(writeModel(newFolder(), twice))).message).toMatch(/ and .* are both /)
  })

  it('warns of tensors that nothing uses, five of them by name', async () => {
    const extra = Object.fromEntries(
      Array.from({ length: 7 }, (_, i) => [`extra.${i}.weight`, { shape: [1], values: new Float32Array(1) }]),
    )
    const folder = writeModel(newFolder(), changed(tiny, same, extra))
    const warnings: string[] = []
    const model = await loadFolder(folder, { warn: message => warnings.push(message) })
    expect(warnings).toEqual([
      `${folder}: 7 stored tensors are not used: ` +
        'extra.0.weight, extra.1.weight, extra.2.weight, extra.3.weight, extra.4.weight and 2 more',
    ])
    expect(await answer(model)).toEqual(await plain)
    model.dispose()
  })

  it('is silent about known buffers', async () => {
    const values = new Float32Array(4)
    const buffers: Record<Family, Record<string, Stored>> = {
      bert: {
        'bert.embeddings.position_ids': { shape: [1, 4], values, dtype: 'I64' },
        'cls.predictions.decoder.weight': tiny.weights.values().next().value as Stored,
        'cls.predictions.decoder.bias': { shape: [4], values },
        'cls.seq_relationship.weight': { shape: [4], values },
      },
      gpt2: {
        'h.0.attn.bias': { shape: [1, 1, 2, 2], values, dtype: 'U8' },
        'transformer.h.1.attn.bias': { shape: [1, 1, 2, 2], values },
        'h.0.attn.masked_bias': { shape: [], values: new Float32Array(1) },
        'lm_head.weight': tiny.weights.values().next().value as Stored,
      },
      vit: { 'vit.embeddings.mask_token': { shape: [4], values } },
    }
    const model = changed(tiny, same, buffers[family])
    expect(await answerOf(writeModel(newFolder(), model))).toEqual(await plain)
  })

  it('gives the memory back wherever it runs out, and says by how much', async () => {
    const folder = writeModel(newFolder(), tiny, 'F16')
    const needed = await loadFolder(folder).then(model => {
      const { peakBytes } = model.engine.arena
      model.dispose()
      return peakBytes
    })
    // The failure test itself holds 64 bytes.
    for (let limit = 64; limit < needed + 64; limit += Math.ceil(needed / 40 / 64) * 64) {
      const error = await failure(folder, await createEngine({ memoryLimitBytes: limit }))
      expect(error).toBeInstanceOf(MemoryError)
      expect(error.message).toContain(`limit of ${limit}`)
      expect((error as MemoryError).missingBytes).toBeGreaterThan(0)
    }
    const engine = await createEngine({ memoryLimitBytes: needed })
    const model = await loadModel(await folderFiles(folder), { engine })
    model.dispose()
  })

  it('gives the memory back whichever read fails, and closes the files', async () => {
    const folder = writeModel(newFolder(), tiny)
    for (let n = 1; ; n++) {
      const files = await failing(folder, n)
      const engine = await createEngine()
      const model = await loadModel(files, { engine }).catch(error => error)
      expect(files.closed).toBe(1)
      if (!(model instanceof Error)) {
        expect(n).toBe(7) // config.json, the header's length, the header, three pieces of the weights
        model.dispose()
        break
      }
      expect(model.message).toBe(`read ${n} failed`)
      expect(engine.arena.usedBytes).toBe(0)
      engine.dispose()
    }
  })

  it('has the digest that is defined: over config, names, dtypes, shapes, first and last 64 bytes', async () => {
    const folder = writeModel(
      newFolder(),
      changed(tiny, name => PREFIX[family] + name),
    )
    const file = readFileSync(join(folder, 'model.safetensors'))
    const start = 8 + Number(file.readBigUInt64LE())
    const header = JSON.parse(file.toString('utf8', 8, start)) as Record<string, StoredEntry>
    const entries = Object.entries(header).filter(([name]) => name !== '__metadata__')
    const lines = entries
      .map(([name, entry]) => [name.replace(PREFIX[family], ''), entry] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { dtype, shape, data_offsets }]) => {
        const bytes = file.subarray(start + data_offsets[0], start + data_offsets[1])
        return `${name} ${dtype} [${shape}] ${bytes.subarray(0, 64).join()} ${bytes.subarray(-64).join()}`
      })
    const model = await loadFolder(folder)
    model.dispose()
    expect(model.digest).toBe(
      createHash('sha256')
        .update([JSON.stringify(tiny.config), ...lines].join('\n'))
        .digest('hex'),
    )
  })

  it('ends with the reason of an abort, and gives the memory back', async () => {
    const folder = writeModel(newFolder(), tiny)
    const engine = await createEngine()
    const reason = new Error('enough')
    const before = loadModel(await folderFiles(folder), { engine, signal: AbortSignal.abort(reason) })
    await expect(before).rejects.toBe(reason)
    for (const piece of [1, 2, 3]) {
      const abort = new AbortController()
      const files = await failing(folder, 0)
      const chunks = files.chunks?.bind(files) as NonNullable<ModelFiles['chunks']>
      let pieces = 0
      const aborting: ModelFiles = {
        ...files,
        async *chunks(name, begin, end) {
          for await (const chunk of chunks(name, begin, end)) {
            if (++pieces === piece) abort.abort(reason)
            yield chunk
          }
        },
      }
      await expect(loadModel(aborting, { engine, signal: abort.signal })).rejects.toBe(reason)
      expect(pieces).toBe(piece)
      expect(engine.arena.usedBytes).toBe(0)
    }
    engine.dispose()
  })

  it('has a digest that tells models apart', async () => {
    const digest = async (model: TinyModel): Promise<string> => {
      const loaded = await loadFolder(writeModel(newFolder(), model))
      loaded.dispose()
      return loaded.digest
    }
    const [[name, { shape, values }]] = [...tiny.weights] as [[string, Stored]]
    const otherWeights = changed(tiny, same, { [name]: { shape, values: values.with(0, 1.25) } })
    const otherConfig = { ...tiny, config: { ...tiny.config, layer_norm_eps: 1e-6, layer_norm_epsilon: 1e-6 } }
    const digests = [await digest(tiny), await digest(otherWeights), await digest(otherConfig)]
    expect(new Set(digests).size).toBe(3)
    expect(await digest(tiny)).toBe(digests[0])
    expect(digests[0]).toMatch(/^[0-9a-f]{64}$/)
  })
})

describe('a folder', () => {
  const tiny = tinyModel('gpt2')
  const good = (): string => writeModel(newFolder(), tiny)

  it('that does not exist, or is a file', async () => {
    const missing = join(newFolder(), 'no')
    await expect(folderFiles(missing)).rejects.toEqual(new ModelError(`${missing} is not a folder (it does not exist)`))
    const file = join(good(), 'config.json')
    await expect(folderFiles(file)).rejects.toEqual(new ModelError(`${file} is not a folder`))
  })

  it('without config.json', async () => {
    const folder = newFolder()
    expect(await failure(folder)).toEqual(new ModelError(`${folder} has no config.json: it is not a model folder`))
  })

  it.each([
    ['{"model_type": ', 'config.json is not JSON: '],
    ['[1]', 'config.json is not a JSON object'],
    ['', 'config.json is not JSON: '],
    ['{"model_type": "t5"}', 'config.json: model_type "t5" is not supported (vit, bert, gpt2)'],
    ['{}', 'config.json: model_type (missing) is not supported (vit, bert, gpt2)'],
  ])('with %j for config.json', async (text, message) => {
    const folder = good()
    writeFileSync(join(folder, 'config.json'), text)
    const error = await failure(folder)
    expect(error).toBeInstanceOf(ModelError)
    expect(error.message.startsWith(`${folder}/${message}`)).toBe(true)
  })

  it('without weights, or with too many to choose from', async () => {
    const folder = newFolder()
    writeFileSync(join(folder, 'config.json'), JSON.stringify(tiny.config))
    const none = `${folder} has neither model.safetensors nor model.safetensors.index.json`
    expect(await failure(folder)).toEqual(new ModelError(none))
    writeModel(folder, tiny, 'F32', 'a.safetensors')
    writeModel(folder, tiny, 'F32', 'b.safetensors')
    const error = await failure(folder)
    expect(error.message).toMatch(/; [ab]\.safetensors, [ab]\.safetensors are there: which is meant\?$/)
  })

  it('with model.safetensors truncated anywhere', async () => {
    const folder = good()
    const file = join(folder, 'model.safetensors')
    const whole = readFileSync(file)
    const header = 8 + Number(whole.readBigUInt64LE())
    for (const length of [0, 7, 8, 100, header - 1, header, header + 1, whole.length - 4, whole.length - 1]) {
      writeFileSync(file, whole)
      truncateSync(file, length)
      const error = await failure(folder)
      expect(error).toBeInstanceOf(ModelError)
      expect(error.message).toMatch(length < 8 ? /is not safetensors/ : /truncated/)
      expect(error.message).toContain(file)
    }
  })

  it('whose file shrinks while it is read', async () => {
    const folder = good()
    const files = await folderFiles(folder)
    const size = await files.size('model.safetensors')
    truncateSync(join(folder, 'model.safetensors'), 1000)
    await expect(files.range('model.safetensors', 900, size as number)).rejects.toThrow(
      `ends at byte 1000 where byte ${size} is needed: truncated?`,
    )
    const stream = async (begin: number): Promise<void> => {
      for await (const _ of files.chunks?.('model.safetensors', begin, size as number) ?? []);
    }
    // A stream keeps the file open, and others may read it at the same time.
    const both = await Promise.allSettled([stream(0), stream(900)])
    for (const { status, reason } of both as PromiseRejectedResult[]) {
      expect([status, reason instanceof ModelError]).toEqual(['rejected', true])
      expect(reason.message).toContain(`ends at byte 1000 where byte ${size} is needed: truncated?`)
    }
    await files.close?.()
  })

  it('streams the bytes of a file, to several readers at once', async () => {
    const folder = newFolder()
    const bytes = Buffer.from(normals(900_000, 3).buffer)
    writeFileSync(join(folder, 'file'), bytes)
    const files = await folderFiles(folder)
    const read = async (begin: number, end: number): Promise<void> => {
      let at = begin
      for await (const chunk of files.chunks?.('file', begin, end) ?? []) {
        await new Promise(setImmediate) // what is read ahead must not spoil it
        expect(Buffer.compare(chunk, bytes.subarray(at, at + chunk.length))).toBe(0)
        at += chunk.length
      }
      expect(at).toBe(end)
    }
    for (
      let round = 0;
      round < 2;
      round++ // buffers are used again
    )
      await Promise.all([read(5, bytes.length - 7), read(0, bytes.length), read(1000, 1001), read(9, 9)])
    await files.close?.()
    await read(3, bytes.length) // as before it was closed
    await files.close?.()
  })

  it('with a shard missing, or an index that is none', async () => {
    const folder = writeShards(newFolder(), tiny)
    const index = join(folder, 'model.safetensors.index.json')
    const { weight_map } = JSON.parse(readFileSync(index, 'utf8'))
    const elsewhere = { ...weight_map, 'wpe.weight': 'model-00009-of-00003.safetensors' }
    writeFileSync(index, JSON.stringify({ weight_map: elsewhere }))
    expect(await failure(folder)).toEqual(new ModelError(`${folder}/model-00009-of-00003.safetensors does not exist`))
    for (const bad of [{}, { weight_map: 'all' }, { weight_map: { a: 3 } }]) {
      writeFileSync(index, JSON.stringify(bad))
      expect(await failure(folder)).toEqual(new ModelError(`${index} has no weight_map of file names`))
    }
  })

  it('of a BERT whose vocabulary head is its own, by its bias or the one beside it', async () => {
    const bert = tinyModel('bert')
    const config = { ...bert.config, tie_word_embeddings: false }
    const lacking = writeModel(newFolder(), { ...bert, config })
    expect((await failure(lacking)).message).toContain('the weights lack cls.predictions.decoder.weight')
    const [words, bias] = ['embeddings.word_embeddings.weight', 'cls.predictions.bias'].map(n => bert.weights.get(n))
    const copied = { 'cls.predictions.decoder.weight': words, 'cls.predictions.decoder.bias': bias }
    const zeros = { shape: [61], values: new Float32Array(61) }
    const tied = await answerOf(writeModel(newFolder(), bert))
    for (const stored of [
      { ...copied, 'cls.predictions.decoder.bias': undefined },
      { ...copied, 'cls.predictions.bias': undefined },
      { ...copied, 'cls.predictions.bias': zeros },
    ])
      expect(await answerOf(writeModel(newFolder(), { ...changed(bert, same, stored), config }))).toEqual(tied)
    const other = { 'cls.predictions.decoder.weight': { shape: [61, 24], values: normals(61 * 24, 78) } }
    const answers = await answerOf(writeModel(newFolder(), { ...changed(bert, same, other), config }))
    expect(answers.slice(0, -1)).toEqual(tied.slice(0, -1))
    expect(answers.at(-1)).not.toEqual(tied.at(-1))
  })

  it('of a GPT-2 whose shared matrix is stored as the head, and as words nowhere', async () => {
    const words = tiny.weights.get('wte.weight')
    const model = changed(tiny, same, { 'lm_head.weight': words, 'wte.weight': undefined })
    expect(await answerOf(writeModel(newFolder(), model))).toEqual(await answerOf(good()))
    const untied = { ...model, config: { ...tiny.config, tie_word_embeddings: false } }
    expect((await failure(writeModel(newFolder(), untied))).message).toContain('the weights lack wte.weight')
  })

  it('of a GPT-2 with a head of its own', async () => {
    const values = normals(61 * 24, 77)
    const untied = changed(tiny, same, { 'lm_head.weight': { shape: [61, 24], values } })
    const folder = writeModel(newFolder(), { ...untied, config: { ...tiny.config, tie_word_embeddings: false } })
    const [rows, logits] = await answerOf(folder)
    const [tiedRows, tiedLogits] = await answerOf(good())
    expect(rows).toEqual(tiedRows)
    expect(logits).not.toEqual(tiedLogits)
  })
})

it('says what it is given instead of files and an engine', async () => {
  const load = loadModel as (files?: unknown, options?: unknown) => Promise<unknown>
  const engine = await createEngine()
  const noFiles = { code: 'bad-input', message: expect.stringContaining('openFiles() of @prismal/models/node') }
  await expect(load('models/vit', { engine })).rejects.toMatchObject(noFiles)
  await expect(load(undefined, { engine })).rejects.toMatchObject(noFiles)
  const noEngine = { code: 'bad-input', message: expect.stringContaining('createEngine()') }
  const files = await folderFiles(newFolder())
  for (const options of [undefined, {}]) await expect(load(files, options)).rejects.toMatchObject(noEngine)
})

/** The weights dealt to three files, and an index of them. */
function writeShards(folder: string, { config, weights }: TinyModel): string {
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  const name = (shard: number): string => `model-0000${shard + 1}-of-00003.safetensors`
  const entries = [...weights]
  for (const shard of [0, 1, 2])
    writeFileSync(
      join(folder, name(shard)),
      writeSafetensors(stateDict(new Map(entries.filter((_, i) => i % 3 === shard)))),
    )
  const weight_map = Object.fromEntries(entries.map(([weight], i) => [weight, name(i % 3)]))
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map }))
  return folder
}

/** A folder's files, of which the nth read fails; the weights come in three pieces. */
async function failing(folder: string, n: number): Promise<ModelFiles & { readonly closed: number }> {
  const files = await folderFiles(folder)
  let reads = 0
  let closed = 0
  const range: ModelFiles['range'] = async (name, begin, end) => {
    if (++reads === n) throw new Error(`read ${n} failed`)
    return files.range(name, begin, end)
  }
  return {
    ...files,
    range,
    async *chunks(name, begin, end) {
      const third = Math.ceil((end - begin) / 3)
      for (let at = begin; at < end; at += third) yield await range(name, at, Math.min(end, at + third))
    },
    async close() {
      closed++
    },
    get closed() {
      return closed
    },
  }
}
