/**
 * The files of a model of which only config.json is known: headers that name every tensor its stack needs, and no
 * weights. Enough to inspect it, and to load it in rehearsal.
 */
import { Config, type Json, type StackShape } from './config.js'
import { ModelError } from './errors.js'
import { familyOfJson, shapeOf } from './families.js'
import type { ModelFiles } from './files.js'
import type { Model } from './model.js'
import type { VitShape } from './vit.js'

type Shapes = Readonly<Record<string, readonly number[]>>

/** `name.weight` of this shape, and `name.bias` as long as `outputs`, its first dimension where none is given. */
const affine = (name: string, weight: readonly number[], outputs = weight[0] as number): Shapes => ({
  [`${name}.weight`]: weight,
  [`${name}.bias`]: [outputs],
})

/** The stored tensors of each family's stack, in the order in which checkpoints have them, heads left out. */
const STORED: Readonly<Record<Model['family'], (shape: StackShape, config: Config) => Shapes>> = {
  vit(shape, config) {
    const hasBias = config.flag('qkv_bias', true)
    const { width: D, positions, channels, patchSize } = shape as VitShape
    return {
      'embeddings.cls_token': [1, 1, D],
      'embeddings.position_embeddings': [1, positions, D],
      ...affine('embeddings.patch_embeddings.projection', [D, channels, patchSize, patchSize]),
      ...eachLayer(shape, 'encoder.layer', at => ({
        ...affine(`${at}.layernorm_before`, [D]),
        ...encoderLayer(shape, at, 'attention.attention', hasBias),
        ...affine(`${at}.layernorm_after`, [D]),
      })),
      ...affine('layernorm', [D]),
    }
  },
  bert(shape, config) {
    const { width: D, positions } = shape
    return {
      'embeddings.word_embeddings.weight': [config.size('vocab_size'), D],
      'embeddings.position_embeddings.weight': [positions, D],
      'embeddings.token_type_embeddings.weight': [config.size('type_vocab_size', 2), D],
      ...affine('embeddings.LayerNorm', [D]),
      ...eachLayer(shape, 'encoder.layer', at => ({
        ...encoderLayer(shape, at, 'attention.self', true),
        ...affine(`${at}.attention.output.LayerNorm`, [D]),
        ...affine(`${at}.output.LayerNorm`, [D]),
      })),
    }
  },
  gpt2(shape, config) {
    const { width: D, inner: F, positions } = shape
    const A = shape.heads * shape.headWidth
    const words = [config.size('vocab_size'), D]
    return {
      'wte.weight': words,
      'wpe.weight': [positions, D],
      // Conv1D: [in, out].
      ...eachLayer(shape, 'h', at => ({
        ...affine(`${at}.ln_1`, [D]),
        ...affine(`${at}.attn.c_attn`, [D, 3 * A], 3 * A),
        ...affine(`${at}.attn.c_proj`, [A, D], D),
        ...affine(`${at}.ln_2`, [D]),
        ...affine(`${at}.mlp.c_fc`, [D, F], F),
        ...affine(`${at}.mlp.c_proj`, [F, D], D),
      })),
      ...affine('ln_f', [D]),
      ...(!config.flag('tie_word_embeddings', true) && { 'lm_head.weight': words }),
    }
  },
}

const eachLayer = ({ layers }: StackShape, stem: string, shapes: (at: string) => Shapes): Shapes =>
  Object.assign({}, ...Array.from({ length: layers }, (_, i) => shapes(`${stem}.${i}`)))

function encoderLayer({ width: D, inner: F, heads, headWidth }: StackShape, at: string, self: string, bias: boolean) {
  const A = heads * headWidth
  const projections = ['query', 'key', 'value'].map(name => affine(`${at}.${self}.${name}`, [A, D]))
  const stored = Object.entries(Object.assign({}, ...projections) as Shapes).filter(
    ([name]) => bias || !name.endsWith('.bias'),
  )
  return {
    ...Object.fromEntries(stored),
    ...affine(`${at}.attention.output.dense`, [D, A]),
    ...affine(`${at}.intermediate.dense`, [F, D]),
    ...affine(`${at}.output.dense`, [D, F]),
  }
}

/**
 * Files that hold this config.json and the header of an f32 model.safetensors; the stack's weights are named there but
 * cannot be read. Throws {@link ModelError} for a config that is not supported, and for reading weights.
 */
export function imaginedFiles(json: Json, location: string): ModelFiles {
  const shapes = STORED[familyOfJson(json, location)](shapeOf(json, location), new Config(json, location))
  let end = 0
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const begin = end
    end += shape.reduce((a, b) => a * b, 4)
    return [name, { dtype: 'F32', shape, data_offsets: [begin, end] }]
  })
  const header = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)))
  const start = new Uint8Array(8 + header.length)
  new DataView(start.buffer).setBigUint64(0, BigInt(header.length), true)
  start.set(header, 8)
  const config = new TextEncoder().encode(JSON.stringify(json))
  const known = new Map([
    ['config.json', { bytes: config, size: config.length }],
    ['model.safetensors', { bytes: start, size: start.length + end }],
  ])
  return {
    location,
    size: async name => known.get(name)?.size,
    async range(name, begin, end) {
      const bytes = known.get(name)?.bytes.slice(begin, end)
      if (bytes?.length !== end - begin)
        throw new ModelError(`${location}: only its config is known here; there are no weights to read`)
      return bytes
    },
  }
}
