/** Loads a model folder: finds the family, reads config and weights, says what was left over. */
import { type Engine, PRECISIONS, type Precision, rehearsalEngine, type Scope } from '@prismal/tensor'
import { bert } from './bert.js'
import { Config, type Json, type StackShape } from './config.js'
import { InputError, ModelError } from './errors.js'
import { type ModelFiles, readJson } from './files.js'
import { gpt2 } from './gpt2.js'
import type { Model } from './model.js'
import { checkRoomToLoad } from './room.js'
import { vit } from './vit.js'
import { type Naming, readHeaders, storedPrecision, type UsedTensor, WeightReader } from './weights/reader.js'
import type { StoredTensor } from './weights/safetensors.js'
import type { LoadProgress, ReadOptions } from './weights/streaming.js'

/** What a family's loader is given. */
export interface Loading {
  readonly config: Config
  /** Gives tensors and matrices whose values come later: none may be looked at. */
  readonly weights: WeightReader
  readonly base: Pick<Model, 'family' | 'location' | 'engine' | 'precision' | 'dispose'>
}

/** A model whose weights have their memory, but not yet their values. */
export type Unread = Omit<Model, 'digest'>

export interface Family {
  load(loading: Loading): Unread
  shape(config: Config): StackShape
  readonly naming: Naming
}

const FAMILIES: Readonly<Record<Model['family'], Family>> = { vit, bert, gpt2 }

export interface LoadOptions {
  /** Where the weights go. An engine belongs to one model and is dropped with it. */
  readonly engine: Engine
  /**
   * How weight matrices are stored in memory, whatever the files have: `f32`, `f16` or `q8`. Default: `f32`, or `q8` where
   * the files are stored in 8 bits; then nothing else is possible.
   */
  readonly dtype?: Precision
  /** Told about stored tensors that the model does not use; default `console.warn`. */
  readonly warn?: (message: string) => void
  /** Ends loading with the signal's reason; the engine's memory is then as before. */
  readonly signal?: AbortSignal
  /** Told after each megabyte of the weights, and after the last byte. */
  readonly progress?: (progress: LoadProgress) => void
}

/**
 * Loads ViT, BERT or GPT-2 from Hugging Face files. The weights are streamed to where they stay, each file once from
 * front to back; beside them a few MB are held. Throws {@link ModelError} for whatever is missing, damaged or not
 * supported, and `MemoryError`, before any weight is read, where they will not fit; the engine's memory is then as before.
 * On a rehearsal (`rehearsalEngine`) only config.json and the headers are read, and memory is counted.
 */
export async function loadModel(files: ModelFiles, options: LoadOptions): Promise<Model> {
  const { engine, dtype, warn = console.warn, signal, progress } = options
  if (dtype !== undefined && !PRECISIONS.includes(dtype))
    throw new InputError(`dtype is ${JSON.stringify(dtype)}, not one of ${PRECISIONS.join(', ')}`)
  const scope = engine.root.child()
  try {
    signal?.throwIfAborted()
    const json = await readConfig(files)
    const kind = familyOf(files, json)
    const headers = await readHeaders(files)
    const stored = { ...kind, files, json, headers }
    const precision = precisionOf(files, headers, dtype)
    const rehearse = (rehearsal: Engine, precision: Precision) => loadInto(rehearsal.root, stored, precision)
    await checkRoomToLoad(engine, headers, precision, files.location, rehearse)
    const model = await loadInto(scope, stored, precision, warn, { signal, progress })
    engine.arena.keep()
    return model
  } catch (error) {
    scope.dispose()
    throw error
  } finally {
    await files.close?.()
  }
}

function precisionOf(files: ModelFiles, headers: readonly StoredTensor[], asked: Precision | undefined): Precision {
  const { precision, codes } = storedPrecision(headers)
  if (codes && asked !== undefined && asked !== precision)
    throw new ModelError(
      `${files.location}: ${asked} was asked for, and the weights are stored in 8 bits (${codes.storedName} is I8), ` +
        'which can be loaded as q8 only; leave dtype out, or load the files that they were made from',
    )
  return asked ?? precision
}

/**
 * Every tensor that a model's files hold, in their order, and what a loader makes of it: matrices are what may be stored in fewer bits. Reads
 * config.json and headers. Throws {@link ModelError} for whatever is missing, damaged or not supported.
 */
export async function readUses(files: ModelFiles): Promise<UsedTensor[]> {
  const json = await readConfig(files)
  const { family, config } = familyOf(files, json)
  const headers = await readHeaders(files)
  const engine = rehearsalEngine()
  try {
    // Of 8 bits: there tables are matrices that in f32 are plain tensors.
    const weights = await WeightReader.open(files, engine.root, FAMILIES[family].naming, { headers, precision: 'q8' })
    const base = { family, location: files.location, engine, precision: 'q8' as const, dispose: () => {} }
    FAMILIES[family].load({ config, weights, base })
    return weights.uses()
  } finally {
    engine.dispose()
  }
}

/** A model's files, as far as they were read: config and headers. */
interface Stored {
  readonly family: Model['family']
  readonly config: Config
  readonly json: Json
  readonly headers: readonly StoredTensor[]
  readonly files: ModelFiles
}

async function loadInto(
  scope: Scope,
  { family, config, json, headers, files }: Stored,
  precision: Precision,
  warn: (message: string) => void = () => {},
  reading: ReadOptions = {},
): Promise<Model> {
  const { engine } = scope
  const weights = await WeightReader.open(files, scope, FAMILIES[family].naming, { headers, precision })
  const dispose = (): void => {
    scope.dispose()
    engine.dispose()
  }
  const base = { family, location: files.location, engine, precision, dispose }
  const model = FAMILIES[family].load({ config, weights, base })
  await weights.read(reading)
  const unused = weights.unused()
  if (unused.length > 0) warn(`${files.location}: ${unused.length} stored tensors are not used: ${shortList(unused)}`)
  // A rehearsal reads no weights that could tell models apart.
  return { ...model, digest: engine.rehearses ? '' : await weights.digest(json) }
}

/** The dimensions of a model's stack, from config.json alone. */
export async function readShape(
  files: ModelFiles,
): Promise<{ family: Model['family']; shape: StackShape; json: Json }> {
  const json = await readConfig(files)
  const { family, config } = familyOf(files, json)
  return { family, shape: FAMILIES[family].shape(config), json }
}

/** The dimensions of a stack, from the parsed config.json. */
export function shapeOf(json: Json, where = 'config.json'): StackShape {
  return FAMILIES[familyOfJson(json, where)].shape(new Config(json, where))
}

async function readConfig(files: ModelFiles): Promise<Json> {
  const json = await readJson(files, 'config.json')
  if (!json) throw new ModelError(`${files.location} has no config.json: it is not a model folder`)
  return json
}

function familyOf(files: ModelFiles, json: Json): { family: Model['family']; config: Config } {
  const where = `${files.location}/config.json`
  return { family: familyOfJson(json, where), config: new Config(json, where) }
}

/** The family that a parsed config.json names. Throws {@link ModelError} for another model_type. */
export function familyOfJson(json: Json, where: string): Model['family'] {
  const type = json.model_type
  if (typeof type === 'string' && Object.hasOwn(FAMILIES, type)) return type as Model['family']
  const known = Object.keys(FAMILIES).join(', ')
  throw new ModelError(`${where}: model_type ${JSON.stringify(type) ?? '(missing)'} is not supported (${known})`)
}

const shortList = (names: readonly string[]): string =>
  names.slice(0, 5).join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : '')
