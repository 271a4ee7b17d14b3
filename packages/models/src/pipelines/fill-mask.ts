/** fill-mask: the most likely tokens in place of the mask. */
import { InputError, ModelError } from '../errors.js'
import type { Runner } from '../runner.js'
import type { Tokenizer } from '../text/tokenizer.js'
import {
  COUNT_OPTIONS,
  type CountOptions,
  checkLength,
  countOf,
  TRUNCATION_OPTIONS,
  type TruncationOptions,
  truncationOf,
} from './options.js'
import { type BatchPipeline, batchPipeline, largest, probabilities } from './pipeline.js'

/** `top_k` is 5 by default. */
export interface FillMaskOptions extends CountOptions, TruncationOptions {}
export interface Filled {
  readonly score: number
  readonly token: number
  readonly token_str: string
  /** The whole text with the mask replaced. */
  readonly sequence: string
}

/** A text with one mask token → its most likely fillings. */
export function fillMask(runner: Runner, tokenizer: Tokenizer): BatchPipeline<string, FillMaskOptions, Filled[]> {
  const { vocabulary, location } = runner.model
  const { maskId } = tokenizer
  if (!vocabulary || maskId === undefined)
    throw new ModelError(
      `${location} has no ${vocabulary ? 'mask token' : 'head over the vocabulary'}: it cannot do fill-mask`,
    )
  const known = [...COUNT_OPTIONS, ...TRUNCATION_OPTIONS]
  return batchPipeline(runner, known, async (request, texts, options: FillMaskOptions) => {
    const count = countOf(options, 5)
    const cut = truncationOf(runner.model, options)
    const sequences = texts.map(text => checkLength(runner.model, tokenizer.encode(text, cut)))
    const masks = sequences.map((sequence, i) => {
      const places = [...(sequence.ids as Int32Array)].flatMap((id, row) => (id === maskId ? [row] : []))
      if (places.length !== 1)
        throw new InputError(
          `fill-mask: a text has one ${tokenizer.token(maskId)}; ${JSON.stringify(texts[i])} has ${places.length}`,
        )
      return places
    })
    const rows = await request.rows(sequences, masks)
    request.meter.enter('head')
    const logits = vocabulary(rows)
    return sequences.map((sequence, b) => {
      const scores = probabilities(logits.slice(b, b + 1).floats())
      const [mask] = masks[b] as number[]
      return largest(scores, count).map(token => {
        const ids = [...(sequence.ids as Int32Array)]
        ids[mask as number] = token
        return {
          score: scores[token] as number,
          token,
          token_str: tokenizer.decode([token]),
          sequence: tokenizer.decode(ids),
        }
      })
    })
  })
}
