/** What the models' layers have in common. */
import { attentionBegin, attentionEnd, attentionFold, layerNorm, type Tensor } from '@prismal/tensor'
import type { LayerKeys } from './context.js'
import { InputError } from './errors.js'
import { type Part, positionsOf } from './input.js'
import type { WeightReader } from './weights/reader.js'

/** Gain and bias of a LayerNorm, D values each. */
export interface Norm {
  readonly gain: Tensor
  readonly bias: Tensor
  readonly eps: number
}

/** x [n, D] → [n, D]. */
export const norm = (x: Tensor, { gain, bias, eps }: Norm): Tensor => layerNorm(x, gain, bias, eps)

/** Attention of q [n, H·d] over key blocks as they come → [n, H·d]. */
export async function attend(q: Tensor, blocks: LayerKeys['blocks'], heads: number, scale: number): Promise<Tensor> {
  const state = attentionBegin(q, heads, scale)
  for await (const block of blocks) attentionFold(state, block, block.from, block.to)
  return attentionEnd(state)
}

/** `name.weight` and `name.bias`, D values each. */
export function readNorm(weights: WeightReader, name: string, D: number, eps: number): Norm {
  return { gain: weights.tensor(`${name}.weight`, [D]), bias: weights.tensor(`${name}.bias`, [D]), eps }
}

/** Throws {@link InputError} where a text has no rows, too many, or ids outside the vocabulary. */
export function checkText(
  sequence: Part,
  limits: { readonly vocabularySize: number; readonly typeCount: number; readonly positions: number },
): void {
  const { ids, types } = sequence
  if (!ids || ids.length !== sequence.to) throw new InputError('a text is given as token ids, one a row')
  if (ids.length === 0) throw new InputError('the input has no tokens')
  const positions = positionsOf(sequence)
  for (const [what, values] of Object.entries({ 'token types': types, 'position ids': positions }))
    if (values && values.length !== ids.length)
      throw new InputError(`${values.length} ${what} were given for ${ids.length} tokens; one each is needed`)
  const place = outside(positions, limits.positions)
  if (place >= 0)
    throw new InputError(
      sequence.positions
        ? `position ${positions[place]} (of token ${place}) is outside the model's ${limits.positions} positions`
        : `${ids.length} tokens were given; the model has ${limits.positions} positions`,
    )
  const id = outside(ids, limits.vocabularySize)
  if (id >= 0)
    throw new InputError(`token id ${ids[id]} (number ${id}) is outside the vocabulary of ${limits.vocabularySize}`)
  const type = types ? outside(types, limits.typeCount) : -1
  if (type >= 0)
    throw new InputError(`token type ${types?.[type]} (number ${type}) is outside 0…${limits.typeCount - 1}`)
}

/** Index of the first value outside 0…count−1, or −1. */
const outside = (values: Int32Array, count: number): number => values.findIndex(v => v < 0 || v >= count)
