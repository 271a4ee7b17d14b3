/** Loading: the forms in which weights are published, and what is wrong with a folder said by name. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { loadModel, type Model, ModelError, type ModelFiles, urlFiles } from '@prismal/models'
import { folderFiles, openFiles } from '@prismal/models/node'
import { createEngine, type Engine, MemoryError } from '@prismal/tensor'
import { writeSafetensors } from '@prismal/weights-tools'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bits } from '../compare.js'
import { normals } from '../random.js'
import {
  changed,
  FAMILIES,
  type Family,
  loadFolder,
  outputsOf,
  randomInput,
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

/** The bits of everything a model gives for one input. */
async function answer(model: Model): Promise<number[][]> {
  const outputs = await outputsOf(model, randomInput(model, 9, 5))
  return outputs.map(bits)
}
async function answerOf(folder: string): Promise<number[][]> {
  const model = await loadFolder(folder)
  const given = await answer(model)
  model.dispose()
  expect(model.engine.arena.usedBytes).toBe(0)
  return given
}
/** What loading a folder fails with; the engine must be as before. */
async function failure(files: ModelFiles | string, engine?: Engine): Promise<Error> {
  const on = engine ?? (await createEngine())
  const held = on.tensor([1, 2, 3], [3])
  const before = on.arena.usedBytes
  const warn = (): void => {}
  const error = await loadModel(typeof files === 'string' ? await openFiles(files) : files, { engine: on, warn }).then(
    () => undefined,
    error => error,
  )
  expect(on.arena.usedBytes).toBe(before)
  expect([...held.data()]).toEqual([1, 2, 3])
  on.dispose()
  if (!error) throw new Error('the model was loaded')
  return error
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
        expect(n).toBeGreaterThan(tiny.weights.size * 3) // each tensor is read, and its first and last bytes
        model.dispose()
        break
      }
      expect(model.message).toBe(`read ${n} failed`)
      expect(engine.arena.usedBytes).toBe(0)
      engine.dispose()
    }
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

  it('of a BERT whose vocabulary head is not tied, which would be ignored', async () => {
    const bert = tinyModel('bert')
    const folder = writeModel(newFolder(), { ...bert, config: { ...bert.config, tie_word_embeddings: false } })
    expect((await failure(folder)).message).toContain('tie_word_embeddings false is not supported for BERT')
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

describe('a URL', () => {
  const tiny = tinyModel('bert')
  const folder = writeModel(newFolder(), tiny)
  let server: Server
  let requests: { method: string; name: string; range: string | undefined }[]
  /** How GET of an existing file is answered. */
  let get: (request: IncomingMessage, response: ServerResponse, bytes: Buffer) => void

  const withRanges: typeof get = (request, response, bytes) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    if (from === undefined) response.end(bytes)
    else response.writeHead(206).end(bytes.subarray(Number(from), Number(to) + 1))
  }
  const withoutRanges: typeof get = (_, response, bytes) => response.end(bytes)

  beforeEach(async () => {
    requests = []
    server = createServer((request, response) => {
      const name = (request.url ?? '').replace('/models/tiny/', '')
      requests.push({ method: request.method ?? '', name, range: request.headers.range })
      const bytes = ['config.json', 'model.safetensors'].includes(name) ? readFileSync(join(folder, name)) : undefined
      if (!bytes) response.writeHead(404).end('no such file')
      else if (request.method === 'HEAD') response.setHeader('content-length', bytes.length).end()
      else get(request, response, bytes)
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  })
  afterEach(async () => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  })
  const base = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/models/tiny`

  it('loads to the same bits, by ranges of the file', async () => {
    get = withRanges
    const model = await loadModel(await openFiles(`${base()}/`), { engine: await createEngine() })
    expect(model.location).toBe(base())
    expect(await answer(model)).toEqual(await answerOf(folder))
    model.dispose()
    const gets = requests.filter(r => r.method === 'GET' && r.name === 'model.safetensors')
    expect(gets.every(r => r.range)).toBe(true)
    expect(requests.filter(r => r.method === 'HEAD' && r.name === 'model.safetensors')).toHaveLength(1)
  })

  it('loads to the same bits from a server without ranges, which sends each file once', async () => {
    get = withoutRanges
    const model = await loadModel(urlFiles(new URL(base())), { engine: await createEngine() })
    expect(await answer(model)).toEqual(await answerOf(folder))
    model.dispose()
    const gets = requests.filter(r => r.method === 'GET').map(r => r.name)
    expect(gets).toEqual(['config.json', 'model.safetensors'])
  })

  it('without a model there', async () => {
    get = withRanges
    const error = await failure(urlFiles(`${base()}/../other`))
    expect(error).toBeInstanceOf(ModelError)
    expect(error.message).toMatch(/other has no config\.json: it is not a model folder$/)
  })

  it('of a server that fails, or sends too little', async () => {
    get = (request, response, bytes) => {
      if (request.url?.endsWith('config.json')) withRanges(request, response, bytes)
      else response.writeHead(503).end()
    }
    expect(await failure(urlFiles(base()))).toEqual(new ModelError(`${base()}/model.safetensors: HTTP 503`))
    get = (request, response, bytes) => {
      if (request.url?.endsWith('config.json')) withRanges(request, response, bytes)
      else response.writeHead(206).end(bytes.subarray(0, 5))
    }
    expect(await failure(urlFiles(base()))).toEqual(
      new ModelError(`${base()}/model.safetensors: bytes 0…8 were asked for, 5 came`),
    )
    get = (_, response, bytes) => response.end(bytes.subarray(0, 5))
    expect(await failure(urlFiles(base()))).toEqual(
      new ModelError(`${base()}/config.json: bytes 0…${JSON.stringify(tiny.config).length} were asked for, 5 came`),
    )
  })
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

/** A folder's files, of which the nth read fails. */
async function failing(folder: string, n: number): Promise<ModelFiles & { readonly closed: number }> {
  const files = await folderFiles(folder)
  let reads = 0
  let closed = 0
  return {
    ...files,
    async range(name, begin, end) {
      if (++reads === n) throw new Error(`read ${n} failed`)
      return files.range(name, begin, end)
    },
    async close() {
      closed++
    },
    get closed() {
      return closed
    },
  }
}
