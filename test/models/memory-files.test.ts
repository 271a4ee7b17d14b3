/** Models out of memory: the same bits as from their folder, and errors that name the file. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadModel, ModelError, memoryFiles } from '@prismal/models'
import { createEngine } from '@prismal/tensor'
import { InputError, pipeline } from 'prismal'
import { describe, expect, it } from 'vitest'
import { answer, answerOf, failure } from './loading.js'
import { temporaryFolders, tinyModel, writeModel } from './tiny-model.js'

const newFolder = temporaryFolders()
const vit = fileURLToPath(new URL('../../models/vit-cifar10', import.meta.url))

describe('files in memory', () => {
  const folder = writeModel(newFolder(), tinyModel('bert'))
  const bytes = (name: string): Uint8Array => readFileSync(join(folder, name))
  const config = bytes('config.json')
  const weights = bytes('model.safetensors')

  it('load to the same bits as their folder, given as bytes, buffers or text', async () => {
    const text = new TextDecoder().decode(config)
    for (const given of [weights, new Uint8Array(weights).buffer]) {
      const files = memoryFiles({ 'config.json': text, 'model.safetensors': given })
      expect(await files.list?.()).toEqual(['config.json', 'model.safetensors'])
      const model = await loadModel(files, { engine: await createEngine() })
      expect(model.location).toBe('memory')
      expect(await answer(model)).toEqual(await answerOf(folder))
      model.dispose()
    }
  })

  it('that lack one or were cut short are refused by name', async () => {
    expect((await failure(memoryFiles({}, 'a bundle'))).message).toBe(
      'a bundle has no config.json: it is not a model folder',
    )
    const cut = { 'config.json': config, 'model.safetensors': weights.subarray(0, weights.length - 1) }
    const error = await failure(memoryFiles(cut))
    expect(error).toBeInstanceOf(ModelError)
    expect(error.message).toContain('memory/model.safetensors')
    expect(() => memoryFiles({ 'config.json': {} as Uint8Array })).toThrow(
      new ModelError('config.json is given as [object Object], not as bytes or text'),
    )
  })

  it('make a pipeline, which answers as the folder does; a worker cannot be given them', async () => {
    const names = ['config.json', 'preprocessor_config.json', 'model.safetensors']
    const files = memoryFiles(Object.fromEntries(names.map(name => [name, readFileSync(join(vit, name))])))
    const image = { width: 2, height: 2, data: Uint8Array.from({ length: 12 }, (_, i) => 20 * i) }
    const [here, there] = [await pipeline('image-classification', files), await pipeline('image-classification', vit)]
    expect(await here(image)).toEqual(await there(image))
    await Promise.all([here.dispose(), there.dispose()])
    await expect(pipeline('image-classification', files, { worker: true })).rejects.toThrow(InputError)
  })
})
