/** Whole models on one thread and on as many as there are cores: the same bits, alone, in a batch and decoding. */
import { fileURLToPath } from 'node:url'
import { aloneRunner, loadModel, type Model } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { expect, test } from 'vitest'
import { bits } from '../compare.js'
import { rowsOf, sequenceFor, tokensOf } from '../distribution/subjects.js'

const load = async (name: string, threads: number | 'auto'): Promise<Model> => {
  const files = await openFiles(fileURLToPath(new URL(`../../models/${name}`, import.meta.url)))
  return loadModel(files, { engine: await createEngine({ threads }), warn: () => {} })
}

test.each([
  ['vit-cifar10', [65, 65, 65]],
  ['gpt2-chronicle', [120, 3, 64]],
])('%s', async (name, rows) => {
  const models = [await load(name, 1), await load(name, 'auto')] as const
  const [one, many] = models.map(aloneRunner) as [ReturnType<typeof aloneRunner>, ReturnType<typeof aloneRunner>]
  const { threads, reasons } = models[1].engine.capabilities()
  if (threads === 1) console.log(`skipped: several threads; ${reasons.join('; ')}`)
  const batch = rows.map((count, i) => sequenceFor(models[0], count, i + 1))
  for (const sequences of [batch.slice(0, 1), batch])
    expect(bits(await rowsOf(many, sequences, 'all'))).toEqual(bits(await rowsOf(one, sequences, 'all')))
  if (models[0].family === 'gpt2') {
    const [want, got] = [
      await tokensOf(one, batch, { maxNewTokens: 8 }),
      await tokensOf(many, batch, { maxNewTokens: 8 }),
    ]
    expect(got).toEqual(want)
    expect(want.length).toBeGreaterThan(8)
  }
  for (const model of models) model.dispose()
})
