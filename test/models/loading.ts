/** How tests load a model and see what it gives, or what loading it fails with. */
import { loadModel, type Model, type ModelFiles } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine, type Engine } from '@prismal/tensor'
import { expect } from 'vitest'
import { bits } from '../compare.js'
import { loadFolder, outputsOf, randomInput } from './tiny-model.js'

/** The bits of everything a model gives for one input. */
export async function answer(model: Model): Promise<number[][]> {
  const outputs = await outputsOf(model, randomInput(model, 9, 5))
  return outputs.map(bits)
}
export async function answerOf(folder: string): Promise<number[][]> {
  const model = await loadFolder(folder)
  const given = await answer(model)
  model.dispose()
  expect(model.engine.arena.usedBytes).toBe(0)
  return given
}
/** What loading a folder fails with; the engine must be as before. */
export async function failure(files: ModelFiles | string, engine?: Engine): Promise<Error> {
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
