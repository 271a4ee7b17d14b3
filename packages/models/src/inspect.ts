/** What a model folder holds, without loading it. */
import type { Precision } from '@prismal/tensor'
import { Config, type StackShape } from './config.js'
import { readShape } from './families.js'
import type { ModelFiles } from './files.js'
import type { Model } from './model.js'
import { isScale, readHeaders, storedPrecision } from './weights/reader.js'

export interface ModelSummary {
  readonly location: string
  readonly family: Model['family']
  readonly shape: StackShape
  /** Weights; the scales of 8-bit codes are not counted. */
  readonly parameters: number
  readonly storedBytes: number
  readonly dtypes: readonly string[]
  /** What `loadModel` takes the matrices for where no dtype is given. */
  readonly precision: Precision
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
    parameters: stored.reduce((sum, t) => sum + (isScale(t, stored) ? 0 : elements(t.shape)), 0),
    storedBytes: stored.reduce((sum, t) => sum + t.end - t.begin, 0),
    dtypes: [...new Set(stored.map(t => t.dtype))],
    precision: storedPrecision(stored).precision,
    files: [...new Set(stored.map(t => t.file))],
    beside,
    labels: new Config(json, `${files.location}/config.json`).labels(),
    tensors: stored.map(({ storedName: name, dtype, shape }) => ({ name, dtype, shape })),
  }
}
