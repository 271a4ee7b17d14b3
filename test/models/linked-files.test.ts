/** Models by the URLs of their files: as model packages export them, and as bundlers rename them. */
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import chronicle from '@prismal/gpt2-chronicle'
import { linkedFiles, loadModel, ModelError } from '@prismal/models'
import { createEngine } from '@prismal/tensor'
import cifar10 from '@prismal/vit-cifar10'
import { pipeline } from 'prismal'
import { cluster, thread } from 'prismal/distribute'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { answer, answerOf, failure } from './loading.js'
import { temporaryFolders, tinyModel, writeModel } from './tiny-model.js'

const newFolder = temporaryFolders()

describe('files at URLs of their own', () => {
  const folder = writeModel(newFolder(), tinyModel('bert'))
  const weights = readFileSync(join(folder, 'model.safetensors'))
  const config = `data:application/json;base64,${readFileSync(join(folder, 'config.json')).toString('base64')}`
  let server: Server
  beforeAll(async () => {
    server = createServer((request, response) => {
      if (request.url !== '/assets/model-CmB1x9f2.safetensors') response.writeHead(404).end()
      else if (request.method === 'HEAD') response.setHeader('content-length', weights.length).end()
      else response.end(weights)
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  it('load to the same bits, renamed, in the address itself or in a Blob', async () => {
    const served = `http://127.0.0.1:${(server.address() as AddressInfo).port}/assets/model-CmB1x9f2.safetensors`
    for (const url of [served, new URL(served), URL.createObjectURL(new Blob([weights]))]) {
      const model = await loadModel(linkedFiles({ 'config.json': config, 'model.safetensors': url }), {
        engine: await createEngine(),
      })
      expect(await answer(model)).toEqual(await answerOf(folder))
      model.dispose()
    }
  })

  it('need no fetch where they are in the address itself, which policies of pages refuse', async () => {
    const fetched = vi.spyOn(globalThis, 'fetch').mockRejectedValue(new TypeError('Failed to fetch'))
    try {
      const texts = { base64: config, percent: `data:text/plain,${encodeURIComponent('{ "é": 1 }')}#x`, none: 'data:,' }
      const files = linkedFiles(texts)
      const read = async (name: string) => files.range(name, 0, (await files.size(name)) as number)
      expect(Buffer.from(await read('base64'))).toEqual(readFileSync(join(folder, 'config.json')))
      expect(JSON.parse(Buffer.from(await read('percent')).toString())).toEqual({ é: 1 })
      expect(await read('none')).toHaveLength(0)
      expect(fetched).not.toHaveBeenCalled()
    } finally {
      fetched.mockRestore()
    }
  })

  it('are opened by devices in threads as by this one', async () => {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/assets/model-CmB1x9f2.safetensors`
    const model = await loadModel(linkedFiles({ 'config.json': config, 'model.safetensors': url }), {
      engine: await createEngine(),
    })
    const runner = await cluster(['local', thread()], { strategy: 'full' }).runner(model)
    await runner.dispose()
    model.dispose()
  })

  it('are refused where one is missing or cannot be fetched', async () => {
    expect((await failure(linkedFiles({ 'config.json': config }))).message).toContain('model.safetensors')
    await expect(linkedFiles({ 'config.json': config }).range('tokenizer.json', 0, 1)).rejects.toThrow(
      /has no tokenizer\.json: of its files only config\.json are named/,
    )
    expect(() => linkedFiles({ 'config.json': 'file:///somewhere/config.json' })).toThrow(ModelError)
  })
})

describe('model packages', () => {
  const image = { width: 2, height: 2, data: Uint8Array.from({ length: 12 }, (_, i) => 20 * i) }

  it('are pipelines by what they export, in this thread and in a worker, and by the URL of their folder', async () => {
    const answers = []
    for (const [source, worker] of [
      ['@prismal/vit-cifar10', false],
      [cifar10, false],
      [cifar10, true],
      [new URL('.', cifar10['config.json']), false],
    ] as const) {
      const classify = await pipeline('image-classification', source, { worker })
      answers.push(await classify(image))
      await classify.dispose()
    }
    expect(new Set(answers.map(a => JSON.stringify(a))).size).toBe(1)
  })

  it('name files that are there', () => {
    for (const files of [cifar10, chronicle])
      for (const url of Object.values(files)) expect(readFileSync(url).length).toBeGreaterThan(0)
  })
})
