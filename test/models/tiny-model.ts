/** Small models of random weights, written as Hugging Face folders in whatever form a test asks for. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { alone, loadModel, type Model, type Part, patchify, type VitShape, wholeLayout } from '@prismal/models'
import { folderFiles } from '@prismal/models/node'
import { type Build, createEngine, type Precision } from '@prismal/tensor'
import { type StateDict, writeSafetensors } from '@prismal/weights-tools'
import { normals, randomFrom } from '../random.js'
import { temporaryFolder } from '../temporary-folder.js'

export type Family = Model['family']
export const FAMILIES: readonly Family[] = ['vit', 'bert', 'gpt2']

export type StoredDtype = 'F32' | 'F16' | 'BF16' | 'I64' | 'I8' | 'U8'
export interface Stored {
  readonly shape: readonly number[]
  readonly values: Float32Array
  /** Default F32. */
  readonly dtype?: StoredDtype
}
export interface TinyModel {
  readonly config: Readonly<Record<string, unknown>>
  readonly weights: ReadonlyMap<string, Stored>
}

// Widths that fill no tile of the kernels.
const [D, H, F, LAYERS, V, TYPES, CLASSES] = [24, 3, 40, 3, 61, 2, 5]
export const POSITIONS = 40

const CONFIGS: Readonly<Record<Family, TinyModel['config']>> = {
  bert: {
    model_type: 'bert',
    hidden_act: 'gelu',
    hidden_size: D,
    num_attention_heads: H,
    num_hidden_layers: LAYERS,
    intermediate_size: F,
    max_position_embeddings: POSITIONS,
    type_vocab_size: TYPES,
    vocab_size: V,
    layer_norm_eps: 1e-12,
  },
  gpt2: {
    model_type: 'gpt2',
    activation_function: 'gelu_new',
    n_embd: D,
    n_head: H,
    n_layer: LAYERS,
    n_inner: F,
    n_positions: POSITIONS,
    vocab_size: V,
  },
  vit: {
    model_type: 'vit',
    hidden_act: 'gelu',
    hidden_size: D,
    num_attention_heads: H,
    num_hidden_layers: LAYERS,
    intermediate_size: F,
    image_size: 12,
    patch_size: 4,
    num_channels: 3,
    id2label: { 0: 'zero', 1: 'one', 2: 'two', 3: 'three', 4: 'four' },
  },
}

type Shapes = Record<string, number[]>
const affine = (name: string, ...weight: number[]): Shapes => ({
  [`${name}.weight`]: weight,
  [`${name}.bias`]: [weight[0] as number],
})
const eachLayer = (shapes: (at: string) => Shapes, stem: string): Shapes =>
  Object.assign({}, ...Array.from({ length: LAYERS }, (_, i) => shapes(`${stem}.${i}`)))
const encoderLayer = (at: string, attention: string): Shapes => ({
  ...affine(`${at}.${attention}.query`, D, D),
  ...affine(`${at}.${attention}.key`, D, D),
  ...affine(`${at}.${attention}.value`, D, D),
  ...affine(`${at}.attention.output.dense`, D, D),
  ...affine(`${at}.intermediate.dense`, F, D),
  ...affine(`${at}.output.dense`, D, F),
})

/** Names without prefix, as the readers have them, of models with every head that their family knows. */
const SHAPES: Readonly<Record<Family, Shapes>> = {
  bert: {
    'embeddings.word_embeddings.weight': [V, D],
    'embeddings.token_type_embeddings.weight': [TYPES, D],
    'embeddings.position_embeddings.weight': [POSITIONS, D],
    ...affine('embeddings.LayerNorm', D),
    ...eachLayer(
      at => ({
        ...encoderLayer(at, 'attention.self'),
        ...affine(`${at}.attention.output.LayerNorm`, D),
        ...affine(`${at}.output.LayerNorm`, D),
      }),
      'encoder.layer',
    ),
    ...affine('pooler.dense', D, D),
    ...affine('classifier', CLASSES, D),
    'cls.predictions.bias': [V],
    ...affine('cls.predictions.transform.dense', D, D),
    ...affine('cls.predictions.transform.LayerNorm', D),
  },
  gpt2: {
    'wte.weight': [V, D],
    'wpe.weight': [POSITIONS, D],
    ...eachLayer(
      at => ({
        ...affine(`${at}.ln_1`, D),
        ...affine(`${at}.ln_2`, D),
        // Conv1D: [in, out].
        [`${at}.attn.c_attn.weight`]: [D, 3 * D],
        [`${at}.attn.c_attn.bias`]: [3 * D],
        [`${at}.attn.c_proj.weight`]: [D, D],
        [`${at}.attn.c_proj.bias`]: [D],
        [`${at}.mlp.c_fc.weight`]: [D, F],
        [`${at}.mlp.c_fc.bias`]: [F],
        [`${at}.mlp.c_proj.weight`]: [F, D],
        [`${at}.mlp.c_proj.bias`]: [D],
      }),
      'h',
    ),
    ...affine('ln_f', D),
  },
  vit: {
    'embeddings.cls_token': [1, 1, D],
    'embeddings.position_embeddings': [1, 10, D],
    ...affine('embeddings.patch_embeddings.projection', D, 3, 4, 4),
    ...eachLayer(
      at => ({
        ...encoderLayer(at, 'attention.attention'),
        ...affine(`${at}.layernorm_before`, D),
        ...affine(`${at}.layernorm_after`, D),
      }),
      'encoder.layer',
    ),
    ...affine('layernorm', D),
    ...affine('pooler.dense', D, D),
    ...affine('classifier', CLASSES, D),
  },
}

/** Multiples of 1/64 below 2, which f32, f16 and bf16 all hold exactly; gains are around 1. */
function tinyValues(name: string, length: number, seed: number): Float32Array {
  const isGain = /(norm|ln_)[^.]*\.weight$/i.test(name)
  return normals(length, seed, isGain ? 0.1 : 0.3).map(v => {
    const value = Math.max(-1.5, Math.min(1.5, (isGain ? 1 : 0) + v))
    return Math.round(value * 64) / 64
  })
}

/** A model whose outputs depend sharply on every one of its weights. */
export function tinyModel(family: Family): TinyModel {
  const weights = Object.entries(SHAPES[family]).map(([name, shape], i): [string, Stored] => {
    const length = shape.reduce((a, b) => a * b)
    return [name, { shape, values: tinyValues(name, length, 1000 + i) }]
  })
  return { config: CONFIGS[family], weights: new Map(weights) }
}

/** The same model with some weights renamed, replaced, removed (undefined) or added. */
export function changed(
  { config, weights }: TinyModel,
  rename: (name: string) => string,
  replace: Readonly<Record<string, Stored | undefined>> = {},
): TinyModel {
  const all = new Map([...weights].map(([name, stored]) => [rename(name), stored]))
  for (const [name, stored] of Object.entries(replace)) {
    if (stored) all.set(name, stored)
    else all.delete(name)
  }
  return { config, weights: all }
}
export const same = (name: string): string => name

/** A function that makes fresh folders, which go when the file's tests are over. */
export function temporaryFolders(): () => string {
  const root = temporaryFolder()
  return () => mkdtempSync(join(root, 'model-'))
}

/** Writes config.json and the weights, as model.safetensors unless told otherwise; returns the folder. */
export function writeModel(
  folder: string,
  model: TinyModel,
  dtype: StoredDtype = 'F32',
  file = 'model.safetensors',
): string {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(model.config))
  writeFileSync(join(folder, file), writeSafetensors(stateDict(model.weights, dtype)))
  return folder
}

export function stateDict(weights: ReadonlyMap<string, Stored>, otherwise: StoredDtype = 'F32'): StateDict {
  return new Map(
    [...weights].map(([name, { shape, values, dtype = otherwise }]) => {
      const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1))
      const storage = { dtype, length: values.length, bytes: () => new Uint8Array(encoded(values, dtype).buffer) }
      return [name, { storage, shape, strides, offset: 0 }]
    }),
  )
}

/** Exact for the values that tiny models have. */
function encoded(values: Float32Array, dtype: StoredDtype) {
  const words = new Uint32Array(values.slice().buffer)
  const half = (word: number): number =>
    ((word >>> 16) & 0x8000) | (word << 1 ? ((((word >>> 23) & 255) - 112) << 10) | ((word >>> 13) & 0x3ff) : 0)
  if (dtype === 'BF16') return Uint16Array.from(words, word => word >>> 16)
  if (dtype === 'F16') return Uint16Array.from(words, half)
  if (dtype === 'I64') return BigInt64Array.from([...values], v => BigInt(Math.round(v)))
  if (dtype === 'U8') return Uint8Array.from(values, v => (v > 0 ? 1 : 0))
  if (dtype === 'I8') return Int8Array.from(values, Math.round)
  return values.slice()
}

/** Loads a folder on an engine of its own. */
export async function loadFolder(
  folder: string,
  {
    backend,
    dtype,
    warn = message => {
      throw new Error(`unexpected: ${message}`)
    },
  }: { backend?: Build; dtype?: Precision; warn?: (message: string) => void } = {},
): Promise<Model> {
  const engine = await createEngine(backend ? { backend } : {})
  return loadModel(await folderFiles(folder), { engine, warn, ...(dtype && { dtype }) })
}

/** A whole random input of so many rows (an image has as many as its model). */
export function randomInput(model: Model, rows: number, seed: number): Part {
  if (model.family === 'vit') return patchify(normals(3 * 12 * 12, seed), model.shape as VitShape)
  const random = randomFrom(seed)
  const below = (n: number) => () => Math.floor(random() * n)
  const ids = Int32Array.from({ length: rows }, below(V))
  if (model.family === 'gpt2') return { from: 0, to: rows, ids }
  return { from: 0, to: rows, ids, types: Int32Array.from({ length: rows }, below(TYPES)) }
}

/** Everything that a model gives for an input: finished rows, then what each head makes of them. */
export async function outputsOf(model: Model, sequence: Part): Promise<Float32Array[]> {
  const scope = model.engine.scope()
  const wanted = Array.from({ length: sequence.to }, (_, i) => i)
  const context = alone(wholeLayout([{ rows: sequence.to, wanted }], model.shape), { enter: () => {} })
  const rows = model.finish(await model.forward(model.embed(scope, [sequence]), context))
  const heads = [model.pool, model.classify, model.vocabulary].flatMap(head => (head ? [head(rows).floats()] : []))
  const outputs = [rows.floats(), ...heads]
  scope.dispose()
  return outputs
}
