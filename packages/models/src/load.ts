/** Loads a model folder of one of some families: finds which, reads config and weights, says what was left over. */
import { type Engine, PRECISIONS, type Precision, type Scope } from '@prismal/tensor'
import { Config, type Json, type StackShape } from './config.js'
import { InputError, ModelError } from './errors.js'
import { endedBy, type ModelFiles, readJson } from './files.js'
import type { Model } from './model.js'
import { checkRoomToLoad } from './room.js'
import { type Naming, readHeaders, storedPrecision, WeightReader } from './weights/reader.js'
import type { StoredTensor } from './weights/safetensors.js'
import type { LoadProgress, ReadOptions } from './weights/streaming.js'

/** What a family's loader is given. */
export interface Loading {
  readonly config: Config
  /** Gives tensors and matrices whose values come later: none may be looked at. */
  readonly weights: WeightReader
  readonly base: Pick<Model, 'family' | 'location' | 'urls' | 'engine' | 'precision' | 'dispose'>
}

/** A model whose weights have their memory, but not yet their values. */
export type Unread = Omit<Model, 'digest'>

export interface Family {
  load(loading: Loading): Unread
  shape(config: Config): StackShape
  readonly naming: Naming
}

/** Families that may be loaded; whoever names fewer bundles only their code. */
export type Families = Readonly<Partial<Record<Model['family'], Family>>>

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
 * Loads a model of one of `families` from Hugging Face files. The weights are streamed to where they stay, each file once from
 * front to back; beside them a few MB are held. Throws {@link ModelError} for whatever is missing, damaged or not
 * supported, and `MemoryError`, before any weight is read, where they will not fit; the engine's memory is then as before.
 * On a rehearsal (`rehearsalEngine`) only config.json and the headers are read, and memory is counted.
 */
export async function loadOneOf(families: Families, given: ModelFiles, options: LoadOptions): Promise<Model> {
  expectFiles(given)
  const { engine, dtype, warn = console.warn, signal, progress } = options ?? {}
  if (!engine) throw new InputError('there is no engine; give { engine: await createEngine() }')
  if (dtype !== undefined && !PRECISIONS.includes(dtype))
    throw new InputError(`dtype is ${JSON.stringify(dtype)}, not one of ${PRECISIONS.join(', ')}`)
  const scope = engine.root.child()
  const files = endedBy(signal, given)
  try {
    signal?.throwIfAborted()
    const json = await readConfig(files)
    const kind = kindOf(families, json, configOf(files))
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

/** Throws where `files` are none: a location looks like them to people who write without types. */
function expectFiles(files: unknown): void {
  if (typeof (files as Partial<ModelFiles> | undefined)?.size === 'function') return
  const found = typeof files === 'string' ? JSON.stringify(files) : typeof files
  throw new InputError(
    `files is ${found}: openFiles() of @prismal/models/node, urlFiles() and memoryFiles() make a model's files`,
  )
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

/** A model's files, as far as they were read: config and headers. */
interface Stored extends Kind {
  readonly json: Json
  readonly headers: readonly StoredTensor[]
  readonly files: ModelFiles
}

async function loadInto(
  scope: Scope,
  { name, family, config, json, headers, files }: Stored,
  precision: Precision,
  warn: (message: string) => void = () => {},
  reading: ReadOptions = {},
): Promise<Model> {
  const { engine } = scope
  const weights = await WeightReader.open(files, scope, family.naming, { headers, precision })
  const dispose = (): void => {
    scope.dispose()
    engine.dispose()
  }
  const { location, urls } = files
  const base = { family: name, location, ...(urls && { urls }), engine, precision, dispose }
  const model = family.load({ config, weights, base })
  await weights.read(reading)
  const unused = weights.unused()
  if (unused.length > 0) warn(`${files.location}: ${unused.length} stored tensors are not used: ${shortList(unused)}`)
  // A rehearsal reads no weights that could tell models apart.
  return { ...model, digest: engine.rehearses ? '' : await weights.digest(json) }
}

/** What messages call a model's config.json. */
export const configOf = (files: ModelFiles): string => `${files.location}/config.json`

/** A model's config.json. Throws {@link ModelError} where there is none. */
export async function readConfig(files: ModelFiles): Promise<Json> {
  const json = await readJson(files, 'config.json')
  if (!json) throw new ModelError(`${files.location} has no config.json: it is not a model folder`)
  return json
}

/** What a config.json names: a family and its fields. */
export interface Kind {
  readonly name: Model['family']
  readonly family: Family
  readonly config: Config
}

/** Which of `families` a parsed config.json names. Throws {@link ModelError}, which calls it `where`, for another model_type. */
export function kindOf(families: Families, json: Json, where: string): Kind {
  const name = json.model_type as Model['family']
  const family = typeof name === 'string' && Object.hasOwn(families, name) ? families[name] : undefined
  if (family) return { name, family, config: new Config(json, where) }
  const known = Object.keys(families).join(', ')
  throw new ModelError(`${where}: model_type ${JSON.stringify(name) ?? '(missing)'} is not supported (${known})`)
}

const shortList = (names: readonly string[]): string =>
  names.slice(0, 5).join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : '')
