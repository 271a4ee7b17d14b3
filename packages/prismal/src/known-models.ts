/** Dimensions of well-known models, so that their costs can be printed without their files. Source: their config.json. */
import type { Json } from '@prismal/models'

const vit = (
  hidden_size: number,
  num_hidden_layers: number,
  num_attention_heads: number,
  patch_size = 16,
  image_size = 224,
): Json => ({
  model_type: 'vit',
  hidden_size,
  num_hidden_layers,
  num_attention_heads,
  intermediate_size: 4 * hidden_size,
  patch_size,
  image_size,
})
const bert = (hidden_size: number, num_hidden_layers: number, num_attention_heads: number): Json => ({
  model_type: 'bert',
  hidden_size,
  num_hidden_layers,
  num_attention_heads,
  intermediate_size: 4 * hidden_size,
  vocab_size: 30522,
})
const gpt2 = (n_embd: number, n_layer: number, n_head: number): Json => ({
  model_type: 'gpt2',
  n_embd,
  n_layer,
  n_head,
  vocab_size: 50257,
})

export const KNOWN_MODELS: Readonly<Record<string, Json>> = {
  'vit-base-patch16-224': vit(768, 12, 12),
  'vit-base-patch32-224': vit(768, 12, 12, 32),
  'vit-large-patch16-224': vit(1024, 24, 16),
  'bert-base-uncased': bert(768, 12, 12),
  'bert-large-uncased': bert(1024, 24, 16),
  'all-MiniLM-L6-v2': bert(384, 6, 12),
  gpt2: gpt2(768, 12, 12),
  'gpt2-medium': gpt2(1024, 24, 16),
  'gpt2-large': gpt2(1280, 36, 20),
  'gpt2-xl': gpt2(1600, 48, 25),
}

/** By name, with or without the organisation before it. */
export const knownModel = (name: string): Json | undefined => KNOWN_MODELS[name.split('/').at(-1) ?? name]
