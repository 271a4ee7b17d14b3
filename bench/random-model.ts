/** Writes models of random weights in the shapes that people use, to time and weigh what no repository can hold. */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { normals } from '../test/random.js'

export type RandomDtype = 'F32' | 'F16'
export type RandomModel = 'vit-base' | 'gpt2' | 'gpt2-xl'

interface Shape {
  readonly config: Readonly<Record<string, unknown>>
  readonly tensors: readonly (readonly [name: string, shape: readonly number[]])[]
}

const affine = (name: string, ...shape: number[]): Shape['tensors'] => [
  [`${name}.weight`, shape],
  [`${name}.bias`, [shape[0] as number]],
]
const conv1d = (name: string, k: number, n: number): Shape['tensors'] => [
  [`${name}.weight`, [k, n]],
  [`${name}.bias`, [n]],
]

function vit(layers: number, D: number, heads: number): Shape {
  const layer = (i: number): Shape['tensors'] => {
    const at = `vit.encoder.layer.${i}`
    return [
      ...['query', 'key', 'value'].flatMap(name => affine(`${at}.attention.attention.${name}`, D, D)),
      ...affine(`${at}.attention.output.dense`, D, D),
      ...affine(`${at}.intermediate.dense`, 4 * D, D),
      ...affine(`${at}.output.dense`, D, 4 * D),
      ...affine(`${at}.layernorm_before`, D),
      ...affine(`${at}.layernorm_after`, D),
    ]
  }
  return {
    config: {
      ...{ model_type: 'vit', hidden_size: D, num_hidden_layers: layers, num_attention_heads: heads },
      ...{ intermediate_size: 4 * D, image_size: 224, patch_size: 16, num_channels: 3, hidden_act: 'gelu' },
    },
    tensors: [
      ['vit.embeddings.cls_token', [1, 1, D]],
      ['vit.embeddings.position_embeddings', [1, 197, D]],
      ...affine('vit.embeddings.patch_embeddings.projection', D, 3, 16, 16),
      ...Array.from({ length: layers }, (_, i) => layer(i)).flat(),
      ...affine('vit.layernorm', D),
      ...affine('classifier', 1000, D),
    ],
  }
}

function gpt2(layers: number, D: number, heads: number): Shape {
  const layer = (i: number): Shape['tensors'] => [
    ...affine(`h.${i}.ln_1`, D),
    ...affine(`h.${i}.ln_2`, D),
    ...conv1d(`h.${i}.attn.c_attn`, D, 3 * D),
    ...conv1d(`h.${i}.attn.c_proj`, D, D),
    ...conv1d(`h.${i}.mlp.c_fc`, D, 4 * D),
    ...conv1d(`h.${i}.mlp.c_proj`, 4 * D, D),
  ]
  return {
    config: {
      ...{ model_type: 'gpt2', n_embd: D, n_layer: layers, n_head: heads, n_positions: 1024, vocab_size: 50257 },
      activation_function: 'gelu_new',
    },
    tensors: [
      ...Array.from({ length: layers }, (_, i) => layer(i)).flat(),
      ...affine('ln_f', D),
      ['wpe.weight', [1024, D]],
      ['wte.weight', [50257, D]],
    ],
  }
}

const SHAPES: Readonly<Record<RandomModel, Shape>> = {
  'vit-base': vit(12, 768, 12),
  gpt2: gpt2(12, 768, 12),
  'gpt2-xl': gpt2(48, 1600, 25),
}

/**
 * Writes config.json and model.safetensors into a folder, made where it is missing: weights of deviation 0.02, gains
 * about 1. Returns the bytes of the weights' file.
 */
export function writeRandomModel(folder: string, model: RandomModel, dtype: RandomDtype, seed: number): number {
  const { config, tensors } = SHAPES[model]
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, dtype === 'F32' ? 4 : 2)
  let end = 0
  const header: Record<string, { dtype: RandomDtype; shape: readonly number[]; data_offsets: [number, number] }> = {}
  for (const [name, shape] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const begin = end
    end += size(shape)
    header[name] = { dtype, shape, data_offsets: [begin, end] }
  }
  const text = JSON.stringify(header)
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  // One pool of values, dealt out from a place that differs from tensor to tensor: drawing each would take minutes.
  const pool = normals(1 << 20, seed, 0.02)
  const pools = [0, 1].map(mean => encoded(mean === 0 ? pool : pool.map(v => v + mean), dtype))
  const file = openSync(join(folder, 'model.safetensors'), 'w')
  try {
    for (const bytes of [length, json]) writeSync(file, bytes)
    for (const [i, [name, { shape }]] of Object.entries(header).entries()) {
      const values = pools[/(norm\w*|ln_\w)\.weight$/.test(name) ? 1 : 0] as Uint8Array
      let left = size(shape)
      for (let from = (i * 9973 * 8) % (values.length / 2); left > 0; from = 0) {
        const part = values.subarray(from, from + left)
        left -= writeSync(file, part)
      }
    }
  } finally {
    closeSync(file)
  }
  return 8 + json.length + end
}

function encoded(values: Float32Array, dtype: RandomDtype): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(values.buffer)
  const words = new Uint32Array(values.buffer)
  // Rounded towards zero; what is too small for a normal binary16 becomes zero.
  const half = (word: number): number => {
    const exponent = ((word >>> 23) & 255) - 112
    return ((word >>> 16) & 0x8000) | (exponent > 0 ? (exponent << 10) | ((word >>> 13) & 0x3ff) : 0)
  }
  return new Uint8Array(Uint16Array.from(words, half).buffer)
}
