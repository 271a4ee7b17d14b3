/** A model that already has Hugging Face names, saved as PyTorch pickle: only the container changes. */
import { readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { ConvertedModel, StateDict } from './checkpoint.js'
import { ConversionError } from './errors.js'

/** What a model folder holds besides its weights. */
export const COMPANIONS = [
  'config.json',
  'generation_config.json',
  'preprocessor_config.json',
  'special_tokens_map.json',
  'tokenizer.json',
  'tokenizer_config.json',
] as const

/** Takes the tensors as they are and the configuration from the folder that `input` lies in. Throws `ConversionError`. */
export function convertHuggingface(tensors: StateDict, input: string): ConvertedModel {
  const files: Record<string, unknown> = {}
  for (const name of COMPANIONS) {
    const path = join(dirname(input), name)
    if (statSync(path, { throwIfNoEntry: false })?.isFile()) files[name] = JSON.parse(readFileSync(path, 'utf8'))
  }
  if (!files['config.json'])
    throw new ConversionError(
      `${input} has names of neither vit-pytorch nor minGPT, and no config.json lies beside it: ` +
        'nothing says what model it is',
    )
  return { tensors, files }
}
