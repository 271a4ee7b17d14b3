/** Model folders whose matrices are stored in 16 and 8 bits: loaded, they are what loading makes of the folder they come from. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { aloneRunner, estimate, inspectModel, loadModel, ModelError, type ModelFiles } from '@prismal/models'
import { folderFiles } from '@prismal/models/node'
import { createEngine, type Precision, rehearsalEngine } from '@prismal/tensor'
import { ConversionError, readSafetensors, storeModel, writeSafetensors } from '@prismal/weights-tools'
import fc from 'fast-check'
import { verifyFolder } from 'prismal'
import { describe, expect, it } from 'vitest'
import { bits } from '../compare.js'
import { CLI, WEIGHTS_CLI } from '../prismal-command.js'
import { randomFrom } from '../random.js'
import { RUNS } from '../runs.js'
import { failure } from './loading.js'
import {
  changed,
  FAMILIES,
  type Family,
  loadFolder,
  outputsOf,
  randomInput,
  type Stored,
  type StoredDtype,
  same,
  stateDict,
  type TinyModel,
  temporaryFolders,
  tinyModel,
  writeModel,
} from './tiny-model.js'

const newFolder = temporaryFolders()
const PREFIX = { bert: 'bert.', gpt2: 'transformer.', vit: 'vit.' } as const
const FILE = 'model.safetensors'

/** A matrix of each family that is stored on its own, one that is split or joined, and a vector. */
const NAMES: Readonly<Record<Family, readonly [matrix: string, shared: string, vector: string]>> = {
  bert: [
    'encoder.layer.1.output.dense.weight',
    'encoder.layer.0.attention.self.value.weight',
    'embeddings.LayerNorm.weight',
  ],
  gpt2: ['h.1.mlp.c_proj.weight', 'h.0.attn.c_attn.weight', 'ln_f.weight'],
  vit: ['encoder.layer.1.output.dense.weight', 'encoder.layer.2.attention.attention.key.weight', 'layernorm.weight'],
}

/** The model with each weight in a size of its own, so that codes and scales are not round numbers, and one column of zeros. */
function uneven(tiny: TinyModel, seed: number): TinyModel {
  const random = randomFrom(seed)
  const weights = [...tiny.weights].map(([name, { shape, values }]): [string, Stored] => {
    const size = 0.7 + 0.6 * random()
    const zero = Math.floor(random() * values.length)
    return [name, { shape, values: values.map((v, i) => (i >= zero && i < zero + 24 ? 0 : v * size)) }]
  })
  return { config: tiny.config, weights: new Map(weights) }
}

async function stored(folder: string, dtype: Precision): Promise<string> {
  const to = newFolder()
  await storeModel(await folderFiles(folder), to, { dtype })
  return to
}
async function answerOf(folder: string, dtype?: Precision): Promise<number[][]> {
  const model = await loadFolder(folder, dtype ? { dtype } : {})
  const outputs = await outputsOf(model, randomInput(model, 9, 5))
  expect(outputs.flatMap(output => [...output]).every(Number.isFinite)).toBe(true)
  model.dispose()
  expect(model.engine.arena.usedBytes).toBe(0)
  return outputs.map(bits)
}
const tensorsOf = (folder: string) => readSafetensors(Uint8Array.from(readFileSync(join(folder, FILE))))

/** The folder with tensors of its file replaced, left out (undefined) or added. */
function edited(folder: string, replace: Readonly<Record<string, Stored | undefined>>): string {
  const tensors = new Map(tensorsOf(folder))
  for (const [name, value] of Object.entries(replace)) {
    tensors.delete(name)
    if (value) for (const [, tensor] of stateDict(new Map([[name, value]]))) tensors.set(name, tensor)
  }
  const to = newFolder()
  writeFileSync(join(to, 'config.json'), readFileSync(join(folder, 'config.json')))
  writeFileSync(join(to, FILE), writeSafetensors(tensors))
  return to
}

/** The folder with its tensors' bytes in the order that `random` gives them. */
function shuffled(folder: string, random: () => number): string {
  const tensors = [...tensorsOf(folder)].map(([name, t]) => ({ name, t, at: random() })).sort((a, b) => a.at - b.at)
  let end = 0
  const header: Record<string, unknown> = {}
  const parts = tensors.map(({ name, t }) => {
    const bytes = t.storage.bytes()
    header[name] = { dtype: t.storage.dtype, shape: t.shape, data_offsets: [end, end + bytes.length] }
    end += bytes.length
    return bytes
  })
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  const to = newFolder()
  writeFileSync(join(to, 'config.json'), readFileSync(join(folder, 'config.json')))
  writeFileSync(join(to, FILE), Buffer.concat([length, json, ...parts]))
  return to
}

describe.each(FAMILIES)('%s', family => {
  const tiny = tinyModel(family)
  const [matrix, shared, vector] = NAMES[family]

  it('loads to the same bits from a file in 16 or 8 bits as from the file that it was made from', async () => {
    const dtype = fc.constantFrom<Precision>('f16', 'q8', 'f32')
    await fc.assert(
      fc.asyncProperty(dtype, fc.integer(), fc.boolean(), async (precision, seed, hasPrefix) => {
        const model = changed(uneven(tiny, seed), name => (hasPrefix ? PREFIX[family] + name : name))
        const folder = writeModel(newFolder(), model)
        const smaller = await stored(folder, precision)
        const wanted = await answerOf(folder, precision)
        expect(await answerOf(smaller, precision)).toEqual(wanted)
        if (precision !== 'f16') expect(await answerOf(smaller)).toEqual(wanted)
        if (precision === 'q8') expect(await answerOf(shuffled(smaller, randomFrom(seed)))).toEqual(wanted)
      }),
      { numRuns: RUNS / 10 },
    )
  })

  it.each(['F16', 'BF16'] as StoredDtype[])('does so from %s too', async dtype => {
    const folder = writeModel(newFolder(), tiny, dtype)
    for (const precision of ['f32', 'q8', 'f16'] as const)
      expect(await answerOf(await stored(folder, precision), precision)).toEqual(await answerOf(folder, precision))
  })

  it('keeps codes as they are, and gives them back as numbers', async () => {
    const folder = writeModel(newFolder(), uneven(tiny, 1))
    const codes = await stored(folder, 'q8')
    expect(readFileSync(join(await stored(codes, 'q8'), FILE))).toEqual(readFileSync(join(codes, FILE)))
    const [before, after] = [tensorsOf(folder), tensorsOf(await stored(codes, 'f32'))]
    expect([...after.keys()].sort()).toEqual([...before.keys()].sort())
    for (const [name, { storage }] of before) {
      const [want, got] = [storage, after.get(name)!.storage].map(s => new Float32Array(s.bytes().slice().buffer))
      const most = want!.reduce((a, b) => Math.max(a, Math.abs(b)), 0)
      const isMatrix = tensorsOf(codes).get(name)?.storage.dtype === 'I8'
      const bound = isMatrix ? (most / 254) * 1.0001 : 0
      for (const [i, value] of want!.entries()) expect(Math.abs(value - got![i]!), name).toBeLessThanOrEqual(bound)
    }
  })

  it('stores every matrix in 8 bits and nothing else', async () => {
    const folder = await stored(writeModel(newFolder(), tiny), 'q8')
    const tensors = tensorsOf(folder)
    expect(tensors.get(matrix)?.storage.dtype).toBe('I8')
    expect(tensors.get(vector)?.storage.dtype).toBe('F32')
    const { precision, parameters, dtypes } = await inspectModel(await folderFiles(folder))
    const elements = [...tiny.weights.values()].reduce((sum, { values }) => sum + values.length, 0)
    expect({ precision, parameters, dtypes }).toEqual({ precision: 'q8', parameters: elements, dtypes: ['F32', 'I8'] })
  })

  it('takes in rehearsal what it takes, by headers alone, and estimates requests to the byte', async () => {
    const path = await stored(writeModel(newFolder(), tiny), 'q8')
    const files = await folderFiles(path)
    const engine = await createEngine()
    const model = await loadModel(files, { engine })
    const headerEnd = 8 + Number(readFileSync(join(path, FILE)).readBigUInt64LE(0))
    const range: ModelFiles['range'] = (name, begin, end) => {
      if (name === FILE) expect(end).toBeLessThanOrEqual(headerEnd)
      return files.range(name, begin, end)
    }
    const rehearsal = rehearsalEngine()
    await loadModel({ location: path, size: files.size, range }, { engine: rehearsal })
    expect(rehearsal.arena.kept).toEqual(engine.arena.kept)
    expect(rehearsal.arena.peakBytes).toBe(engine.arena.peakBytes)
    expect(model.precision).toBe('q8')
    const rows = family === 'vit' ? 10 : 9
    const { peakBytes } = await estimate(model, { rows: [rows] })
    const request = aloneRunner(model).begin()
    await request.rows([randomInput(model, rows, 5)], 'all')
    expect(request.report().devices[0]?.peakBytes).toBe(peakBytes)
    request.end()
    model.dispose()
  })

  describe('is refused', () => {
    const folder = stored(writeModel(newFolder(), tiny), 'q8')
    const columns = (name: string): number => tiny.weights.get(name)!.shape[family === 'gpt2' ? 1 : 0]!
    const scale = (name: string, values: Float32Array): Readonly<Record<string, Stored>> => ({
      [`${name}_scale`]: { shape: [values.length], values },
    })

    it.each([matrix, shared])('where the scale of %s is missing or of another shape', async name => {
      const n = columns(name)
      const missing = edited(await folder, { [`${name}_scale`]: undefined })
      expect(await failure(missing)).toEqual(new ModelError(`${missing}: the weights lack ${name}_scale`))
      const longer = edited(await folder, scale(name, new Float32Array(n + 1)))
      expect(await failure(longer)).toEqual(
        new ModelError(`${longer}/${FILE}: ${name}_scale is [${n + 1}] where config.json asks for [${n}]`),
      )
    })

    it.each([Number.NaN, Number.POSITIVE_INFINITY, -0.5])('where a scale is %s', async bad => {
      const values = new Float32Array(columns(shared)).fill(0.01).with(3, bad)
      const wrong = edited(await folder, scale(shared, values))
      expect(await failure(wrong)).toEqual(
        new ModelError(`${wrong}/${FILE}: ${shared}_scale has ${bad} at 3; a scale is finite and not negative`),
      )
      const again = storeModel(await folderFiles(wrong), newFolder(), { dtype: 'f32' })
      await expect(again).rejects.toThrow(`${shared}: its scale 3 is ${bad}`)
    })

    it('where what is no matrix is stored in 8 bits', async () => {
      const { shape, storage } = tensorsOf(await folder).get(vector)!
      const values = new Float32Array(storage.length)
      const wrong = edited(await folder, { [vector]: { shape, values, dtype: 'I8' } })
      expect((await failure(wrong)).message).toBe(
        `${wrong}/${FILE}: ${vector} has dtype I8; weights are F32, F16 or BF16, and I8 only where they are matrices`,
      )
    })

    it.each(['f32', 'f16'] as const)('where %s is asked for', async dtype => {
      const engine = await createEngine()
      const loading = loadModel(await folderFiles(await folder), { engine, dtype })
      await expect(loading).rejects.toThrow(ModelError)
      await expect(loading).rejects.toThrow(`${dtype} was asked for, and the weights are stored in 8 bits`)
      expect(engine.arena.usedBytes).toBe(0)
    })

    it.each([
      ['q8', Number.NaN, 'not finite'],
      ['q8', Number.NEGATIVE_INFINITY, 'not finite'],
      ['f16', 1e6, '±65504'],
    ] as const)('to be stored in %s with the value %s, and leaves nothing', async (dtype, bad, why) => {
      const { shape, values } = tiny.weights.get(matrix)!
      const model = changed(tiny, same, { [matrix]: { shape, values: values.with(30, bad) } })
      const to = newFolder()
      const error = await storeModel(await folderFiles(writeModel(newFolder(), model)), to, { dtype }).catch(e => e)
      expect(error).toBeInstanceOf(ConversionError)
      expect(error.message).toContain(matrix)
      expect(error.message).toContain(why)
      expect([FILE, `${FILE}.part`].filter(name => existsSync(join(to, name)))).toEqual([])
    })
  })
})

describe('buffers and copies', () => {
  it('stay behind; what nobody knows comes along', async () => {
    const extra: Readonly<Record<string, Stored>> = {
      'lm_head.weight': tinyModel('gpt2').weights.get('wte.weight')!,
      'h.0.attn.bias': { shape: [1, 1, 4, 4], values: new Float32Array(16), dtype: 'U8' },
      'extra.weight': { shape: [3], values: new Float32Array([1, 2, 3]) },
    }
    const names = [
      ...tensorsOf(await stored(writeModel(newFolder(), changed(tinyModel('gpt2'), same, extra)), 'q8')).keys(),
    ]
    expect(Object.keys(extra).filter(name => names.includes(name))).toEqual(['extra.weight'])
  })
})

describe('a trained model in 8 bits', () => {
  it('is held to its golden results as 8-bit ones, and shared', async () => {
    const folder = await stored('models/vit-cifar10', 'q8')
    const results = []
    for await (const result of verifyFolder(folder, { builds: ['simd'], threads: [1] })) results.push(result)
    expect(results.map(({ precision, failure }) => [precision, failure])).toEqual([['q8', undefined]])
    const classify = (...args: string[]) =>
      spawnSync(process.execPath, [CLI, 'run', 'image-classification', 'examples/images/cat.png', '--model', ...args], {
        encoding: 'utf8',
      }).stdout.split('\n')
    const [alone, shared] = [classify(folder), classify(folder, '--devices', '2', '--strategy', 'full')]
    expect(alone[0]).toMatch(/^cat 0\.\d+ /)
    expect(alone[1]).toContain(' · q8 ')
    // Rounded sums lie elsewhere between two codes: the answers are alike, not the same.
    const share = (line = ''): number => Number(/^cat (0\.\d+) /.exec(line)?.[1])
    expect(Math.abs(share(shared[0]) - share(alone[0]))).toBeLessThan(0.02)
  })
})

describe('prismal-weights', () => {
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [WEIGHTS_CLI, ...args], {
      encoding: 'utf8',
    })
    return { status, stdout, stderr }
  }

  it('quantises a folder, and does not replace one unless told to', async () => {
    const [from, to] = [writeModel(newFolder(), tinyModel('bert')), newFolder()]
    writeFileSync(join(from, 'tokenizer.json'), '{}')
    expect(run('quantise', from, to)).toMatchObject({ status: 0, stderr: '' })
    expect(readFileSync(join(to, 'tokenizer.json'), 'utf8')).toBe('{}')
    expect(await answerOf(to)).toEqual(await answerOf(from, 'q8'))
    const again = run('quantise', from, to, '--dtype', 'f16')
    expect(again).toMatchObject({ status: 1, stderr: `${join(to, FILE)} is there already; --force replaces it\n` })
    expect(run('quantise', from, to, '--dtype', 'f16', '--force').stdout).toContain('matrices in f16')
    expect((await inspectModel(await folderFiles(to))).dtypes).toEqual(['F32', 'F16'])
    expect(run('quantise', from, to, '--dtype', 'q4').status).toBe(2)
    expect(run('quantise', join(from, 'nothing'), to)).toMatchObject({ status: 1, stdout: '' })
  })

  it('refuses means that are none, and to list a folder', () => {
    const folder = newFolder()
    for (const option of ['--image-mean', '--image-std'])
      expect(run('convert', 'x.pt', folder, option, '')).toMatchObject({ status: 2, stdout: '' })
    const { status, stderr } = run('inspect', 'models/vit-cifar10')
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining('is a folder, not a checkpoint file: prismal inspect'),
    ])
  })

  it('converts a checkpoint to 8 bits in one step', async () => {
    const from = writeModel(newFolder(), tinyModel('vit'))
    const [whole, codes] = [newFolder(), newFolder()]
    expect(run('convert', join(from, FILE), whole).stderr).toBe('')
    expect(run('convert', join(from, FILE), codes, '--dtype', 'q8')).toMatchObject({ status: 0, stderr: '' })
    expect(await answerOf(codes)).toEqual(await answerOf(whole, 'q8'))
  })
})
