/** The families that there are, and what is asked of whichever a model is of. */
import { rehearsalEngine } from '@prismal/tensor'
import { bert } from './bert.js'
import type { Json, StackShape } from './config.js'
import type { ModelFiles } from './files.js'
import { gpt2 } from './gpt2.js'
import { configOf, type Family, kindOf, type LoadOptions, loadOneOf, readConfig } from './load.js'
import type { Model } from './model.js'
import { vit } from './vit.js'
import { readHeaders, type UsedTensor, WeightReader } from './weights/reader.js'

const FAMILIES: Readonly<Record<Model['family'], Family>> = { vit, bert, gpt2 }

/**
 * Loads ViT, BERT or GPT-2 from Hugging Face files. The weights are streamed to where they stay, each file once from
 * front to back; beside them a few MB are held. Throws `ModelError` for whatever is missing, damaged or not supported, and
 * `MemoryError`, before any weight is read, where they will not fit; the engine's memory is then as before.
 * On a rehearsal (`rehearsalEngine`) only config.json and the headers are read, and memory is counted.
 */
export async function loadModel(files: ModelFiles, options: LoadOptions): Promise<Model> {
  return loadOneOf(FAMILIES, files, options)
}

/** As {@link loadModel}, of ViT only: a bundle then has no other family's code. */
export async function loadVit(files: ModelFiles, options: LoadOptions): Promise<Model> {
  return loadOneOf({ vit }, files, options)
}

/** As {@link loadModel}, of BERT only: a bundle then has no other family's code. */
export async function loadBert(files: ModelFiles, options: LoadOptions): Promise<Model> {
  return loadOneOf({ bert }, files, options)
}

/** As {@link loadModel}, of GPT-2 only: a bundle then has no other family's code. */
export async function loadGpt2(files: ModelFiles, options: LoadOptions): Promise<Model> {
  return loadOneOf({ gpt2 }, files, options)
}

/**
 * Every tensor that a model's files hold, in their order, and what a loader makes of it: matrices are what may be stored in fewer bits. Reads
 * config.json and headers. Throws `ModelError` for whatever is missing, damaged or not supported.
 */
export async function readUses(files: ModelFiles): Promise<UsedTensor[]> {
  const { name, family, config } = kindOf(FAMILIES, await readConfig(files), configOf(files))
  const headers = await readHeaders(files)
  const engine = rehearsalEngine()
  try {
    // Of 8 bits: there tables are matrices that in f32 are plain tensors.
    const weights = await WeightReader.open(files, engine.root, family.naming, { headers, precision: 'q8' })
    const base = { family: name, location: files.location, engine, precision: 'q8' as const, dispose: () => {} }
    family.load({ config, weights, base })
    return weights.uses()
  } finally {
    engine.dispose()
  }
}

/** The dimensions of a model's stack, from config.json alone. */
export async function readShape(
  files: ModelFiles,
): Promise<{ family: Model['family']; shape: StackShape; json: Json }> {
  const json = await readConfig(files)
  const { name, family, config } = kindOf(FAMILIES, json, configOf(files))
  return { family: name, shape: family.shape(config), json }
}

/** The dimensions of a stack, from the parsed config.json. */
export function shapeOf(json: Json, where = 'config.json'): StackShape {
  const { family, config } = kindOf(FAMILIES, json, where)
  return family.shape(config)
}

/** The family that a parsed config.json names. Throws `ModelError` for another model_type. */
export function familyOfJson(json: Json, where: string): Model['family'] {
  return kindOf(FAMILIES, json, where).name
}
