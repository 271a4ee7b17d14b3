/** What a model folder holds, without loading it. */
import { Config, type StackShape } from './config.js'
import type { ModelFiles } from './files.js'
import { readShape } from './load.js'
import type { Model } from './model.js'
import { readHeaders } from './weights/reader.js'

export interface ModelSummary {
  readonly location: string
  readonly family: Model['family']
  readonly shape: StackShape
  readonly parameters: number
  readonly storedBytes: number
  readonly dtypes: readonly string[]
  /** The weights' files. */
  readonly files: readonly string[]
  /** Other files that matter: tokenizer, preprocessor, golden results. */
  readonly beside: readonly string[]
  readonly labels: readonly string[] | undefined
  readonly tensors: readonly { readonly name: string; readonly dtype: string; readonly shape: readonly number[] }[]
}

const BESIDE = [
  'tokenizer.json',
  'tokenizer_config.json',
  'preprocessor_config.json',
  'generation_config.json',
  'cases.json',
]

/** Throws `ModelError` for whatever is missing, damaged or not supported. */
export async function inspectModel(files: ModelFiles): Promise<ModelSummary> {
  const { family, shape, json } = await readShape(files)
  const stored = await readHeaders(files)
  const elements = (of: readonly number[]): number => of.reduce((a, b) => a * b, 1)
  const beside: string[] = []
  for (const name of BESIDE) if ((await files.size(name)) !== undefined) beside.push(name)
  return {
    location: files.location,
    family,
    shape,
    parameters: stored.reduce((sum, t) => sum + elements(t.shape), 0),
    storedBytes: stored.reduce((sum, t) => sum + t.end - t.begin, 0),
    dtypes: [...new Set(stored.map(t => t.dtype))],
    files: [...new Set(stored.map(t => t.file))],
    beside,
    labels: new Config(json, `${files.location}/config.json`).labels(),
    tensors: stored.map(({ storedName: name, dtype, shape }) => ({ name, dtype, shape })),
  }
}
