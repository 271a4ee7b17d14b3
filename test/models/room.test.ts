/** Loading in rehearsal, and limits that are found not to suffice before anything is read or computed. */
import { readFileSync } from 'node:fs'
import { cluster, DeviceError, memoryDevice } from '@prismal/distribute'
import {
  aloneRunner,
  estimate,
  imaginedFiles,
  type Json,
  loadModel,
  type Model,
  type ModelFiles,
} from '@prismal/models'
import { folderFiles } from '@prismal/models/node'
import { createEngine, MAX_MEMORY_BYTES, MemoryError, rehearsalEngine } from '@prismal/tensor'
import { describe, expect, test } from 'vitest'
import {
  changed,
  FAMILIES,
  randomInput,
  type StoredDtype,
  same,
  temporaryFolders,
  tinyModel,
  writeModel,
} from './tiny-model.js'

const folder = temporaryFolders()
const warn = (message: string): void => {
  throw new Error(`unexpected: ${message}`)
}
/** The files of a folder, and the ranges that are read of model.safetensors. */
async function watched(path: string): Promise<{ files: ModelFiles; read: (readonly [number, number])[] }> {
  const files = await folderFiles(path)
  const read: (readonly [number, number])[] = []
  const range: ModelFiles['range'] = (name, begin, end) => {
    if (name === 'model.safetensors') read.push([begin, end])
    return files.range(name, begin, end)
  }
  return { files: { location: path, size: files.size, range }, read }
}
/** Where the weights begin. */
const headerEnd = (path: string): number => 8 + Number(readFileSync(`${path}/model.safetensors`).readBigUInt64LE(0))
const caught = async (work: Promise<unknown>): Promise<MemoryError> => {
  const error = await work.then(
    () => undefined,
    error => error,
  )
  expect(error).toBeInstanceOf(MemoryError)
  return error
}

describe.each(FAMILIES)('a small %s model', family => {
  test.each(['F32', 'F16', 'BF16'] as StoredDtype[])(
    'in %s takes in rehearsal what it takes, by its headers alone',
    async dtype => {
      const path = writeModel(folder(), tinyModel(family), dtype)
      const engine = await createEngine()
      await loadModel(await folderFiles(path), { engine, warn })
      const { files, read } = await watched(path)
      const rehearsal = rehearsalEngine()
      await loadModel(files, { engine: rehearsal, warn })
      expect(rehearsal.arena.kept).toEqual(engine.arena.kept)
      expect(rehearsal.arena.kept.usedBytes).toBeGreaterThan(10_000)
      expect(rehearsal.arena.peakBytes).toBe(engine.arena.peakBytes)
      expect(read.length).toBeGreaterThan(0)
      for (const [, end] of read) expect(end).toBeLessThanOrEqual(headerEnd(path))
    },
  )

  test('of which only the config is known takes what one without heads takes', async () => {
    const isHead = (name: string): boolean => /^(pooler|classifier|cls\.)/.test(name)
    const model = tinyModel(family)
    const heads = [...model.weights.keys()].filter(isHead).map(name => [name, undefined])
    const path = writeModel(folder(), changed(model, same, Object.fromEntries(heads)))
    const [known, imagined] = [await createEngine(), rehearsalEngine()]
    await loadModel(await folderFiles(path), { engine: known, warn })
    const files = imaginedFiles(model.config, family)
    const rehearsed = await loadModel(files, { engine: imagined, warn })
    expect(imagined.arena.kept.usedBytes).toBe(known.arena.kept.usedBytes)
    expect((await estimate(rehearsed, { rows: [10] })).weightBytes).toBe(known.arena.kept.usedBytes)
    await expect(loadModel(files, { engine: await createEngine(), warn })).rejects.toThrow(/only its config is known/)
  })

  test('is refused before a weight is read where the limit is a byte too small, and loads where it is not', async () => {
    const path = writeModel(folder(), tinyModel(family))
    const rehearsal = rehearsalEngine()
    await loadModel(await folderFiles(path), { engine: rehearsal, warn })
    const need = rehearsal.arena.peakBytes
    for (const missing of [1, 5000]) {
      const { files, read } = await watched(path)
      const engine = await createEngine({ memoryLimitBytes: need - missing })
      const error = await caught(loadModel(files, { engine, warn }))
      expect(error.missingBytes).toBe(missing)
      expect(error.message).toContain(`needs ${need} bytes, ${missing} more than the memory limit of ${need - missing}`)
      expect(error.message).toMatch(/; as f16 it fits, with \d+$/)
      for (const [, end] of read) expect(end).toBeLessThanOrEqual(headerEnd(path))
      expect(engine.arena.usedBytes).toBe(0)
    }
    const engine = await createEngine({ memoryLimitBytes: need })
    await loadModel(await folderFiles(path), { engine, warn })
  })

  test('a request is refused beforehand where the limit is a byte too small, and runs where it is not', async () => {
    const path = writeModel(folder(), tinyModel(family))
    const loaded = async (memoryLimitBytes?: number): Promise<Model> => {
      const engine = await createEngine(memoryLimitBytes === undefined ? {} : { memoryLimitBytes })
      return loadModel(await folderFiles(path), { engine, warn })
    }
    const free = await loaded()
    const inputs = [1, 2, 3, 4, 5, 6, 7, 8].map(seed => randomInput(free, family === 'vit' ? 10 : 30, seed))
    const rows = inputs.map(({ to }) => to)
    const { peakBytes } = await estimate(free, { rows })
    expect(peakBytes).toBeGreaterThan(free.engine.arena.peakBytes) // else the limit would refuse to load it
    const model = await loaded(peakBytes - 1)
    const { usedBytes } = model.engine.arena
    const started = model.engine.arena.peakBytes
    const request = aloneRunner(model).begin()
    const error = await caught(request.rows(inputs, 'all'))
    expect(error.missingBytes).toBe(1)
    expect(error.message).toContain(`needs ${peakBytes} bytes, 1 more than the memory limit of ${peakBytes - 1}`)
    expect(model.engine.arena).toMatchObject({ usedBytes, peakBytes: started })
    request.end()

    // A device of a cluster refuses likewise, by its own share.
    const runner = await cluster(['local', memoryDevice(() => loaded())], {
      strategy: 'isolated',
      weights: [1, 0],
    }).runner(model)
    const shared = runner.begin()
    await expect(shared.rows(inputs, 'all')).rejects.toThrow(/device 0 \(local\): the request, .* 1 more than/)
    await expect(runner.begin().rows(inputs, 'all')).rejects.toBeInstanceOf(DeviceError)
    shared.end()
    await runner.dispose()

    const enough = aloneRunner(await loaded(peakBytes)).begin()
    await enough.rows(inputs, 'all')
    expect(enough.report().devices[0]?.peakBytes).toBe(peakBytes)
    enough.end()
  })
})

test('generation is refused beforehand too, caches included', async () => {
  const path = writeModel(folder(), tinyModel('gpt2'))
  const free = await loadModel(await folderFiles(path), { engine: await createEngine(), warn })
  const prompts = [1, 2, 3, 4].map(seed => randomInput(free, 9, seed))
  const { peakBytes } = await estimate(free, { rows: [9, 9, 9, 9], maxNewTokens: 20 })
  const engine = await createEngine({ memoryLimitBytes: peakBytes - 1 })
  const request = aloneRunner(await loadModel(await folderFiles(path), { engine, warn })).begin()
  const tokens = request.tokens(prompts, { maxNewTokens: 20 })[Symbol.asyncIterator]()
  expect((await caught(tokens.next())).missingBytes).toBe(1)
  // Room for fewer tokens is there.
  expect((await request.tokens(prompts, { maxNewTokens: 2 })[Symbol.asyncIterator]().next()).done).toBe(false)
  request.end()
})

const XL: Json = { model_type: 'gpt2', n_embd: 1600, n_layer: 48, n_head: 25, vocab_size: 50257 }

test("weights beyond wasm's 4 GiB are refused beforehand, saying by how much and what would fit", async () => {
  const error = await caught(loadModel(imaginedFiles(XL, 'gpt2-xl'), { engine: await createEngine(), warn }))
  expect(error.message).toMatch(
    /^gpt2-xl: loading it as f32 needs 6\d{9} bytes, \d+ more than wasm's 4 GiB allow: \d+;/,
  )
  const [need, room] = /needs (\d+) bytes.* (\d+);/.exec(error.message)!.slice(1).map(Number)
  expect(room).toBe(MAX_MEMORY_BYTES)
  expect(error.missingBytes).toBe(need! - room!)
  expect(error.message).toMatch(/; as f16 it fits, with 3\d{9}$/)
})

test('where f16 is too large q8 is named, and where nothing fits the size of each', async () => {
  const limited = async (memoryLimitBytes: number): Promise<string> => {
    const engine = await createEngine({ memoryLimitBytes })
    return (await caught(loadModel(imaginedFiles(XL, 'gpt2-xl'), { engine, warn }))).message
  }
  expect(await limited(2.2e9)).toMatch(/; as q8 it fits, with 1\d{9}$/)
  expect(await limited(1e9)).toMatch(/; no smaller precision fits \(f16 takes 3\d{9}, q8 takes 1\d{9}\)$/)
})

test('a request holds one layer at a time: ViT-B needs no more than the tensors of one', async () => {
  const config = {
    model_type: 'vit',
    hidden_size: 768,
    num_hidden_layers: 12,
    num_attention_heads: 12,
    intermediate_size: 3072,
  }
  const model = await loadModel(imaginedFiles(config, 'vit-base'), { engine: rehearsalEngine(), warn })
  const { weightBytes, peakBytes } = await estimate(model, { rows: [197] })
  // Block input, its norm, q, k, v, sums, attention, residual, its norm, and the inner rows; 64 KB for what a kernel needs.
  const layer = 4 * 197 * (10 * 768 + 2 * 12 + 3072) + 65536
  expect(peakBytes - weightBytes).toBeLessThan(layer)
  expect(peakBytes - weightBytes).toBeGreaterThan(layer / 2)
})
