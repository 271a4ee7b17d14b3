/**
 * `npm run bench:models -- [NAME…]`: Hugging Face folders of the shapes that people run, with random weights, under
 * bench/.cache/models. What a weight is changes nothing about time and memory.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { randomFrom } from '../test/random.js'
import { type RandomTensor, type StoredDtype, writeRandomWeights } from './random-weights.js'

interface RandomModel {
  readonly config: Readonly<Record<string, unknown>>
  readonly tensors: readonly RandomTensor[]
  readonly dtype: StoredDtype
  /** Large, and needed by one case only: made when it is asked for by name. */
  readonly onDemand?: true
}

const CACHE = fileURLToPath(new URL('.cache/models', import.meta.url))
/** Token ids in a folder's inputs.json, of which a case takes the first N. */
const IDS = 1024

const random = (name: string, ...shape: number[]): RandomTensor => ({ name, shape, fill: 'random' })
const linear = (name: string, out: number, into: number): RandomTensor[] => [
  random(`${name}.weight`, out, into),
  random(`${name}.bias`, out),
]
const norm = (name: string, width: number): RandomTensor[] => [
  { name: `${name}.weight`, shape: [width], fill: 'ones' },
  random(`${name}.bias`, width),
]
const layersOf = (count: number, layer: (i: number) => RandomTensor[]): RandomTensor[] =>
  Array.from({ length: count }, (_, i) => layer(i)).flat()

function vit(classes: number, dtype: StoredDtype): RandomModel {
  const [D, F, layers] = [768, 3072, 12]
  const id2label = Object.fromEntries(Array.from({ length: classes }, (_, i) => [i, `class ${i}`]))
  const config = {
    ...{ model_type: 'vit', architectures: ['ViTForImageClassification'] },
    ...{ hidden_size: D, intermediate_size: F, num_hidden_layers: layers, num_attention_heads: 12 },
    ...{ image_size: 224, patch_size: 16, num_channels: 3, hidden_act: 'gelu', layer_norm_eps: 1e-12 },
    ...{ qkv_bias: true, id2label, label2id: Object.fromEntries(Object.entries(id2label).map(([i, l]) => [l, +i])) },
  }
  const tensors = [
    random('vit.embeddings.cls_token', 1, 1, D),
    random('vit.embeddings.position_embeddings', 1, 197, D),
    random('vit.embeddings.patch_embeddings.projection.weight', D, 3, 16, 16),
    random('vit.embeddings.patch_embeddings.projection.bias', D),
    ...layersOf(layers, i => {
      const at = `vit.encoder.layer.${i}`
      return [
        ...norm(`${at}.layernorm_before`, D),
        ...['query', 'key', 'value'].flatMap(name => linear(`${at}.attention.attention.${name}`, D, D)),
        ...linear(`${at}.attention.output.dense`, D, D),
        ...norm(`${at}.layernorm_after`, D),
        ...linear(`${at}.intermediate.dense`, F, D),
        ...linear(`${at}.output.dense`, D, F),
      ]
    }),
    ...norm('vit.layernorm', D),
    ...linear('classifier', classes, D),
  ]
  return { config, tensors, dtype }
}

function bert(D: number, layers: number, heads: number): RandomModel {
  const [F, V] = [4 * D, 30522]
  const config = {
    ...{ model_type: 'bert', architectures: ['BertModel'], vocab_size: V, type_vocab_size: 2 },
    ...{ hidden_size: D, intermediate_size: F, num_hidden_layers: layers, num_attention_heads: heads },
    ...{ max_position_embeddings: 512, hidden_act: 'gelu', layer_norm_eps: 1e-12, pad_token_id: 0 },
  }
  const tensors = [
    random('embeddings.word_embeddings.weight', V, D),
    random('embeddings.position_embeddings.weight', 512, D),
    random('embeddings.token_type_embeddings.weight', 2, D),
    ...norm('embeddings.LayerNorm', D),
    ...layersOf(layers, i => {
      const at = `encoder.layer.${i}`
      return [
        ...['query', 'key', 'value'].flatMap(name => linear(`${at}.attention.self.${name}`, D, D)),
        ...linear(`${at}.attention.output.dense`, D, D),
        ...norm(`${at}.attention.output.LayerNorm`, D),
        ...linear(`${at}.intermediate.dense`, F, D),
        ...linear(`${at}.output.dense`, D, F),
        ...norm(`${at}.output.LayerNorm`, D),
      ]
    }),
    ...linear('pooler.dense', D, D),
  ]
  return { config, tensors, dtype: 'F32' }
}

function gpt2(size: { D: number; layers: number; heads: number; positions?: number }, dtype: StoredDtype): RandomModel {
  const { D, layers, heads, positions = 1024 } = size
  const [F, V] = [4 * D, 50257]
  const config = {
    ...{ model_type: 'gpt2', architectures: ['GPT2LMHeadModel'], vocab_size: V, n_positions: positions },
    ...{ n_embd: D, n_layer: layers, n_head: heads, activation_function: 'gelu_new', layer_norm_epsilon: 1e-5 },
    ...{ tie_word_embeddings: true, bos_token_id: 50256, eos_token_id: 50256 },
  }
  // Conv1D: stored [in, out].
  const product = (name: string, into: number, out: number) => [
    random(`${name}.weight`, into, out),
    random(`${name}.bias`, out),
  ]
  const tensors = [
    random('transformer.wte.weight', V, D),
    random('transformer.wpe.weight', positions, D),
    ...layersOf(layers, i => {
      const at = `transformer.h.${i}`
      return [
        ...norm(`${at}.ln_1`, D),
        ...product(`${at}.attn.c_attn`, D, 3 * D),
        ...product(`${at}.attn.c_proj`, D, D),
        ...norm(`${at}.ln_2`, D),
        ...product(`${at}.mlp.c_fc`, D, F),
        ...product(`${at}.mlp.c_proj`, F, D),
      ]
    }),
    ...norm('transformer.ln_f', D),
  ]
  return { config, tensors, dtype }
}

const MODELS = {
  'vit-b16': vit(1000, 'F32'),
  'bert-base': bert(768, 12, 12),
  minilm: bert(384, 6, 12),
  gpt2: gpt2({ D: 768, layers: 12, heads: 12 }, 'F32'),
  'gpt2-16k': gpt2({ D: 768, layers: 2, heads: 12, positions: 16384 }, 'F32'),
  'gpt2-xl': { ...gpt2({ D: 1600, layers: 48, heads: 25 }, 'F16'), onDemand: true },
  'vit-b16-f16': vit(1000, 'F16'),
} as const satisfies Record<string, RandomModel>

export type ModelName = keyof typeof MODELS
export const MODEL_NAMES = Object.keys(MODELS) as ModelName[]

/** The folder of a model, whether it was made or not. */
export const modelFolder = (name: ModelName): string => join(CACHE, name)
export const isMade = (name: ModelName): boolean => existsSync(join(modelFolder(name), 'model.safetensors'))

/** Makes a model where it is not there; returns its folder. */
export function randomModel(name: ModelName): string {
  const folder = modelFolder(name)
  if (isMade(name)) return folder
  const { config, tensors, dtype } = MODELS[name]
  const seed = MODEL_NAMES.indexOf(name)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
  writeFileSync(join(folder, 'inputs.json'), `${JSON.stringify(inputsFor(config, seed))}\n`)
  writeRandomWeights(join(folder, 'model.safetensors'), tensors, dtype, seed)
  return folder
}

/** What every contender is given: token ids, or the pixels [C, S, S] of an image. */
export interface ModelInputs {
  readonly ids?: readonly number[]
  readonly pixels?: readonly number[]
}

function inputsFor(config: RandomModel['config'], seed: number): ModelInputs {
  const next = randomFrom(seed)
  if (config.model_type !== 'vit') {
    const vocabulary = config.vocab_size as number
    return { ids: Array.from({ length: IDS }, () => 1 + Math.floor(next() * (vocabulary - 1))) }
  }
  // Values that f32 holds exactly and that are short as text.
  return { pixels: Array.from({ length: 3 * 224 * 224 }, () => Math.round(next() * 512 - 256) / 256) }
}

function main(names: readonly string[]): void {
  const unknown = names.find(name => !Object.hasOwn(MODELS, name))
  if (unknown !== undefined) {
    console.error(`bench:models: there is no model "${unknown}"; there are ${MODEL_NAMES.join(', ')}`)
    process.exit(2)
  }
  const wanted = names.length > 0 ? (names as ModelName[]) : MODEL_NAMES.filter(name => !('onDemand' in MODELS[name]))
  for (const name of wanted) console.log(`${isMade(name) ? 'is there' : 'made'}: ${randomModel(name)}`)
}

if (process.argv[1] === resolve(fileURLToPath(import.meta.url))) main(process.argv.slice(2))
