/** Models in the Object Store of a real server: pushed, fetched, altered. */
import { cpSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { NatsConnection } from '@nats-io/nats-core'
import { Objm } from '@nats-io/obj'
import { Secret } from '@prismal/distribute'
import { pushModel } from '@prismal/distribute/nats'
import { loadModel, ModelError } from '@prismal/models'
import { folderFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { modelFromStore } from 'prismal/nats'
import { describe, expect, it } from 'vitest'
import { hasNatsServer } from '../nats-server.js'
import { temporaryFolder } from '../temporary-folder.js'
import { connected, started } from './opened.js'

const MODEL = 'models/vit-cifar10'

async function store(): Promise<{ nc: NatsConnection; cacheDir: string; digest: string }> {
  const { url } = await started({ jetStream: true })
  const nc = await connected(url)
  const cacheDir = temporaryFolder()
  return { nc, cacheDir, digest: await digestOf(MODEL) }
}
async function digestOf(folder: string): Promise<string> {
  const model = await loadModel(await folderFiles(folder), { engine: await createEngine(), warn: () => {} })
  model.dispose()
  return model.digest
}
const push = async (nc: NatsConnection, digest: string, options = {}) =>
  pushModel(nc, await folderFiles(MODEL), digest, options)
const objects = (nc: NatsConnection) => new Objm(nc).open('prismal-models')
const FILES = ['config.json', 'model.safetensors', 'preprocessor_config.json']

describe.skipIf(!hasNatsServer)('models in the Object Store', () => {
  it('come as they were pushed, once, and load with their digest', async () => {
    const { nc, cacheDir, digest } = await store()
    const size = FILES.reduce((sum, name) => sum + statSync(join(MODEL, name)).size, 0)
    expect(await push(nc, digest)).toEqual({ bytes: size, sentBytes: size })
    expect(await push(nc, digest)).toEqual({ bytes: size, sentBytes: 0 })
    const told: number[] = []
    const folder = await modelFromStore(nc, digest, { cacheDir, progress: p => told.push(p.doneBytes) })
    expect(folder).toBe(join(cacheDir, digest))
    for (const name of FILES)
      expect(Buffer.compare(readFileSync(join(folder, name)), readFileSync(join(MODEL, name))), name).toBe(0)
    expect(told.at(-1)).toBe(size)
    expect(await digestOf(folder)).toBe(digest)
    // From the cache, without the server.
    await nc.close()
    expect(await modelFromStore(nc, digest, { cacheDir })).toBe(folder)
  })

  it('are brought once where several ask for them at the same time', async () => {
    const { nc, cacheDir, digest } = await store()
    await push(nc, digest)
    const folders = await Promise.all([1, 2, 3].map(() => modelFromStore(nc, digest, { cacheDir })))
    expect(new Set(folders)).toEqual(new Set([join(cacheDir, digest)]))
    expect(existsSync(join(cacheDir, `${digest}.partial`))).toBe(false)
    expect(await digestOf(folders[0] as string)).toBe(digest)
  })

  it('continue where an attempt was cut off, and mend what it left', async () => {
    const { nc, cacheDir, digest } = await store()
    await push(nc, digest)
    const partial = join(cacheDir, `${digest}.partial`)
    cpSync(MODEL, partial, { recursive: true, filter: path => !/\.(md|json)$|puts\./.test(path) })
    truncateSync(join(partial, 'model.safetensors'), 1_000_000)
    writeFileSync(join(partial, 'config.json'), '{"model_type": "something longer than the real one"}'.repeat(100))
    const folder = await modelFromStore(nc, digest, { cacheDir })
    expect(await digestOf(folder)).toBe(digest)
    expect(readFileSync(join(folder, 'config.json'))).toEqual(readFileSync(join(MODEL, 'config.json')))
  })

  it('are refused where a part was altered, shortened or taken away', async () => {
    const { nc, cacheDir, digest } = await store()
    const weights = readFileSync(join(MODEL, 'model.safetensors'))
    const altered = new Uint8Array(weights)
    altered[4_000_000] = (altered[4_000_000] as number) ^ 1
    for (const [what, change] of [
      [/is not what the manifest says/, async (name: string) => (await objects(nc)).putBlob({ name }, altered)],
      [
        /is not what the manifest says/,
        async (name: string) => (await objects(nc)).putBlob({ name }, weights.subarray(0, 1000)),
      ],
      [/is missing/, async (name: string) => (await objects(nc)).delete(name)],
    ] as const) {
      await push(nc, digest)
      await change(`${digest}/model.safetensors/0`)
      const failed = modelFromStore(nc, digest, { cacheDir })
      await expect(failed).rejects.toThrow(ModelError)
      await expect(failed).rejects.toThrow(what)
      expect(existsSync(join(cacheDir, digest))).toBe(false)
    }
  })

  it('are refused where the manifest names other places, or is not signed with the secret', async () => {
    const { nc, cacheDir, digest } = await store()
    const secret = Secret.create()
    const file = (name: unknown) => ({ name, bytes: 1, parts: ['0'.repeat(64)] })
    const manifest = { version: 1, digest, partBytes: 1000 }
    await push(nc, digest)
    for (const [files, why] of [
      ...['../evil', '/etc/passwd', 'a/b', 'a\\b', '.hidden', '..', '', 'x'.repeat(200), 7, null].map(
        name => [[file(name)], /names a file/] as const,
      ),
      [[file('a'), file('a')], /names a file twice/],
      [[{ ...file('a'), bytes: 1e15 }], /tells nothing usable of a/],
      [[{ ...file('a'), parts: [] }], /tells nothing usable of a/],
      ['none', /names no files/],
    ] as const) {
      const text = JSON.stringify({ manifest: JSON.stringify({ ...manifest, files }) })
      await (await objects(nc)).putBlob({ name: `${digest}/manifest` }, new TextEncoder().encode(text))
      await expect(modelFromStore(nc, digest, { cacheDir }), String(why)).rejects.toThrow(why)
    }
    await push(nc, digest)
    await expect(modelFromStore(nc, digest, { cacheDir, secret })).rejects.toThrow(/not believed: it carries no MAC/)
    await push(nc, digest, { secret: Secret.create() })
    await expect(modelFromStore(nc, digest, { cacheDir, secret })).rejects.toThrow(/MAC is not of this secret/)
    await push(nc, digest, { secret })
    expect(await modelFromStore(nc, digest, { cacheDir, secret })).toBe(join(cacheDir, digest))
  })

  it('say what is missing: the model, a model folder, JetStream', async () => {
    const { nc, cacheDir, digest } = await store()
    await expect(modelFromStore(nc, 'f'.repeat(64), { cacheDir })).rejects.toThrow(/no model sha256 ffff.*prismal push/)
    for (const name of ['../x', `../${basename(cacheDir)}`, '.'])
      await expect(modelFromStore(nc, name, { cacheDir })).rejects.toThrow(/not a model's digest/)
    await expect(pushModel(nc, await folderFiles('test'), digest)).rejects.toThrow(/not a model folder/)
    const other = await connected((await started()).url)
    await expect(push(other, digest)).rejects.toThrow(/without JetStream.*nats-server -js/)
  })
})
