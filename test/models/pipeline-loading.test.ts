/** What `pipeline()` tells while it loads, and how it is stopped. */
import { fileURLToPath, pathToFileURL } from 'node:url'
import { InputError } from '@prismal/models'
import { type ModelSource, type PipelineOptions, type ProgressInfo, pipeline } from 'prismal'
import { expect, it } from 'vitest'

const chronicle = fileURLToPath(new URL('../../models/gpt2-chronicle', import.meta.url))

it('tells its progress as transformers.js does, up to 100 percent', async () => {
  const told: ProgressInfo[] = []
  const generate = await pipeline('text-generation', chronicle, { progress_callback: info => told.push(info) })
  await generate.dispose()
  expect(told.length).toBeGreaterThan(1)
  const { total } = told[0] as ProgressInfo
  expect(told.at(-1)).toEqual({
    ...{ status: 'progress', name: chronicle, file: 'model.safetensors' },
    ...{ progress: 100, loaded: total, total },
  })
  for (const [i, { progress }] of told.entries()) expect(progress).toBeGreaterThan(told[i - 1]?.progress ?? 0)
})

it('is stopped by its signal, with the reason', async () => {
  const abort = new AbortController()
  const reason = new Error('enough')
  const options = { signal: abort.signal, progress_callback: () => abort.abort(reason) }
  await expect(pipeline('text-generation', chronicle, options)).rejects.toBe(reason)
})

it('refuses options that there are not', async () => {
  for (const [name, value] of Object.entries({ device: 'webgpu', dytpe: 'q8', thread: 2 }))
    await expect(pipeline('text-generation', chronicle, { [name]: value } as object)).rejects.toThrow(
      new RegExp(`^there is no option ${name} \\(devices, backend, module, .*signal\\)$`),
    )
})

it('takes null for absent: the default model, and no options', async () => {
  const options = { warn: null, dtype: null, worker: null, signal: null, progress_callback: null }
  for (const given of [null, undefined, options as unknown as PipelineOptions]) {
    const generate = await pipeline('text-generation', null, given)
    expect(generate.runner.model.location).toContain('gpt2-chronicle')
    await generate.dispose()
  }
})

it.each([false, true])('finds a folder by its URL as a text, in a worker: %s', async worker => {
  const generate = await pipeline('text-generation', pathToFileURL(chronicle).href, { worker })
  expect(generate.runner.model.location).toBe(chronicle)
  await generate.dispose()
})

it('refuses what is no model and what are no options, by their types', async () => {
  for (const [name, source] of [
    ['number', 42],
    ['boolean', true],
    ['Array', ['models/vit-cifar10']],
  ] as const)
    await expect(pipeline('text-generation', source as unknown as ModelSource)).rejects.toThrow(
      new InputError(`a model is a folder, a URL, a package, its files or their URLs; ${name} was given`),
    )
  await expect(pipeline('text-generation', chronicle, 'q8' as PipelineOptions)).rejects.toThrow(
    new InputError('options are an object; string was given'),
  )
})
