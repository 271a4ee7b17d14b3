/** Images as a pipeline is given them: what they may be, and what the preprocessor makes of them. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { InputError, ModelError } from '@prismal/models'
import { type ImageInput, type Pipelines, pipeline } from 'prismal'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { temporaryFolders } from '../models/tiny-model.js'

const vit = fileURLToPath(new URL('../../models/vit-cifar10', import.meta.url))
const newFolder = temporaryFolders()

/** vit-cifar10 with some fields of its preprocessor_config.json replaced. */
function preprocessedBy(fields: object): string {
  const folder = newFolder()
  cpSync(vit, folder, { recursive: true })
  const file = join(folder, 'preprocessor_config.json')
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...fields }))
  return folder
}

describe('pixels', () => {
  let classify: Pipelines['image-classification']
  beforeAll(async () => {
    classify = await pipeline('image-classification', vit)
  })
  afterAll(() => classify.dispose())
  const grey = Uint8Array.from({ length: 32 * 32 }, (_, i) => i % 251)
  const image = (data: unknown): ImageInput => ({ width: 32, height: 32, data: data as Uint8Array })

  it('are bytes, clamped or not, or a Buffer', async () => {
    const labels = await classify(image(grey))
    for (const data of [new Uint8ClampedArray(grey), Buffer.from(grey)])
      expect(await classify(image(data))).toEqual(labels)
  })

  it('are read from a file by its URL, as a text too', async () => {
    const cat = join(newFolder(), 'a cat.png')
    cpSync(fileURLToPath(new URL('../../examples/images/cat.png', import.meta.url)), cat)
    const labels = await classify(cat)
    const url = pathToFileURL(cat)
    for (const input of [url, url.href]) expect(await classify(input)).toEqual(labels)
    await expect(classify('file:///nowhere/cat.png')).rejects.toThrow(
      new InputError('file:///nowhere/cat.png cannot be read: it does not exist'),
    )
  })

  it('are files as bytes, in a buffer of their own or not', async () => {
    const cat = new Uint8Array(readFileSync(new URL('../../examples/images/cat.png', import.meta.url)))
    expect(await classify(cat.buffer)).toEqual(await classify(cat))
    await expect(classify('')).rejects.toThrow(new InputError('the address of the image is empty'))
  })

  it('are read from what an address holds, which errors do not repeat', async () => {
    const cat = readFileSync(new URL('../../examples/images/cat.png', import.meta.url))
    const base64 = `data:image/png;base64,${cat.toString('base64')}`
    const labels = await classify(cat)
    const escaped = Array.from(cat, byte => `%${byte.toString(16).padStart(2, '0')}`).join('')
    for (const input of [base64, new URL(base64), `data:image/png,${escaped}`]) {
      expect(await classify(input)).toEqual(labels)
    }
    await expect(classify('data:,notes')).rejects.toThrow(/^the data: address is not an image/)
    await expect(classify('data:image/png;base64,!')).rejects.toThrow(/^the data: address cannot be read: \w/)
    await expect(classify('data:')).rejects.toThrow(/^the data: address is not an image \(.*it is empty/)
  })

  it('are called by the name of the file that they are in, where there is one', async () => {
    for (const [input, name] of [
      [new File(['notes'], 'notes.txt'), 'notes.txt'],
      [new File(['notes'], ''), 'the Blob'],
      [new Blob(['notes']), 'the Blob'],
    ] as const)
      await expect(classify(input)).rejects.toThrow(`${name} is not an image`)
  })

  it.each([
    ['Float32Array', Float32Array.from(grey)],
    ['Uint16Array', Uint16Array.from(grey)],
    ['Int8Array', Int8Array.from(grey)],
    ['Array', [...grey]],
    ['ArrayBuffer', grey.buffer],
    ['string', 'pixels'],
    ['undefined', undefined],
  ])('of another type are refused: %s', async (name, data) => {
    await expect(classify(image(data))).rejects.toThrow(
      new InputError(`pixels are bytes (Uint8Array or Uint8ClampedArray); ${name} was given`),
    )
  })

  it('from an address whose server never answers, until a signal ends it', async () => {
    const abort = new AbortController()
    const stuck = new Error('it takes too long')
    const silent = createServer(() => abort.abort(stuck))
    await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
    const address = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/cat.png`
    await expect(classify(address, { signal: abort.signal })).rejects.toBe(stuck)
    silent.closeAllConnections()
    await new Promise(resolve => silent.close(resolve))
  })

  it.each([
    ['undefined', undefined],
    ['null', null],
    ['number', 42],
    ['Object', {}],
    ['Float32Array', new Float32Array(3)],
  ])('and what is no image is refused: %s', async (name, input) => {
    await expect(classify(input as ImageInput)).rejects.toThrow(
      new InputError(
        `${name} is not an image: give a path, a URL, a Blob, bytes, or { width, height, data } with pixels`,
      ),
    )
  })
})

describe('a preprocessor of other sides than the model', () => {
  it.each([
    ['as many pixels', { size: { height: 16, width: 64 } }, '16×64'],
    ['others', { size: 48 }, '48×48'],
    ['cut out', { do_center_crop: true, crop_size: { height: 64, width: 16 } }, '64×16'],
  ])('is refused when the pipeline is loaded: %s', async (_, fields, sides) => {
    const folder = preprocessedBy(fields)
    await expect(pipeline('image-classification', folder)).rejects.toThrow(
      new ModelError(`${folder}/preprocessor_config.json makes images of ${sides} pixels; config.json says 32×32`),
    )
  })

  it('that follow from the image is refused at the first such image', async () => {
    const classify = await pipeline('image-classification', preprocessedBy({ do_resize: false }))
    const data = new Uint8Array(3 * 32 * 32)
    expect(await classify({ width: 32, height: 32, data })).toHaveLength(5)
    const wide = { width: 64, height: 16, data }
    await expect(classify(wide)).rejects.toThrow(
      new InputError('an image of 16×64 pixels was given; the model takes 32×32'),
    )
    await classify.dispose()
  })
})
