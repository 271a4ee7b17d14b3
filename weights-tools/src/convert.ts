/** Chooses the converter for a checkpoint. */
import type { ConvertedModel } from './checkpoint.js'
import { ConversionError } from './errors.js'
import { type Checkpoint, readCheckpoint } from './files.js'
import { convertHuggingface } from './huggingface.js'
import { convertMingpt, looksLikeMingpt } from './mingpt.js'
import { convertVitPytorch, looksLikeVitPytorch, type VitPytorchOptions } from './vit-pytorch.js'

/** Where a checkpoint's names come from. */
export const SOURCES = ['vit-pytorch', 'mingpt', 'huggingface'] as const
/** One of `SOURCES`. */
export type Source = (typeof SOURCES)[number]

/** What a checkpoint does not tell, and which converter to use (default: the one whose names fit). */
export interface ConvertOptions extends VitPytorchOptions {
  from?: Source | 'auto'
}

/** Reads a checkpoint and converts it. Throws `CheckpointError`, `RefusedGlobalError`, `ConversionError`. */
export function convert(input: string, options: ConvertOptions = {}): { model: ConvertedModel; source: Source } {
  const checkpoint = readCheckpoint(input)
  const { from = 'auto', ...given } = options
  const source = from === 'auto' ? sourceOf(checkpoint) : from
  return { source, model: convertAs(source, checkpoint, input, given) }
}

function convertAs(source: Source, checkpoint: Checkpoint, input: string, given: VitPytorchOptions): ConvertedModel {
  const { tensors, heads = given.heads } = checkpoint
  if (source === 'vit-pytorch') return convertVitPytorch(tensors, given)
  // An option that would be ignored is a mistake about what the model is.
  for (const [name, value] of Object.entries(given))
    if (value !== undefined && !(source === 'mingpt' && name === 'heads'))
      throw new ConversionError(`${name} is not an option for a ${source} checkpoint`)
  if (source === 'mingpt') return convertMingpt(tensors, heads === undefined ? {} : { heads })
  return convertHuggingface(tensors, input)
}

function sourceOf({ tensors }: Checkpoint): Source {
  if (looksLikeVitPytorch(tensors)) return 'vit-pytorch'
  if (looksLikeMingpt(tensors)) return 'mingpt'
  return 'huggingface'
}
