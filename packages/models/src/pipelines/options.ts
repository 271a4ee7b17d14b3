/** What a call of a pipeline is given besides its inputs: options, checked. */
import { InputError, kindOf } from '../errors.js'
import type { Part } from '../input.js'
import type { Model } from '../model.js'
import type { EncodeOptions, Tokenizer } from '../text/tokenizer.js'

/** How many results a call gives. */
export interface CountOptions {
  /** How many to give, largest score first; 0 or null: all. */
  readonly top_k?: number | null
  /** The same under its earlier name. */
  readonly topk?: number | null
}

/** What becomes of texts that are longer than the model's positions. */
export interface TruncationOptions {
  /** Cut longer texts rather than refuse them, of a pair the longer one first; default: whether `max_length` is given. */
  readonly truncation?: boolean
  /** Most tokens that a text is cut to, special ones included; default, and at most: the model's positions. */
  readonly max_length?: number
}

export const COUNT_OPTIONS: readonly string[] = ['top_k', 'topk']
export const TRUNCATION_OPTIONS: readonly string[] = ['truncation', 'max_length']

/**
 * The options that were given; null counts as absent, and as 0 where it asks for all. Throws {@link InputError} for what is
 * not an object of options, and for names that are not `known`, where those are told.
 */
export function givenOptions<Options extends object>(
  options: Options | null | undefined,
  known?: readonly string[],
): Options {
  if (options === undefined || options === null) return {} as Options
  if (typeof options !== 'object' || Array.isArray(options))
    throw new InputError(`options are an object; ${kindOf(options)} was given`)
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  for (const [name, value] of given) {
    if (known && name !== 'signal' && !known.includes(name))
      throw new InputError(`there is no option ${name} (${[...known, 'signal'].join(', ')})`)
    // By what it does: an AbortSignal may be another frame's.
    if (name === 'signal' && value !== null && typeof value.throwIfAborted !== 'function')
      throw new InputError(`signal is an AbortSignal; ${kindOf(value)} was given`)
  }
  const named = given.map(([name, value]) => [name, value === null && COUNT_OPTIONS.includes(name) ? 0 : value])
  return Object.fromEntries(named.filter(([, value]) => value !== null))
}

/** How many results are asked for. Throws {@link InputError} for what is no count. */
export function countOf({ top_k, topk }: CountOptions, otherwise: number): number {
  const [name, count] = top_k === undefined ? ['topk', topk ?? otherwise] : ['top_k', top_k]
  if (!Number.isSafeInteger(count) || (count as number) < 0)
    throw new InputError(`${name} is ${count}, not a whole number ≥ 0 (0: all)`)
  return count || Number.POSITIVE_INFINITY
}

/** How texts are cut. Throws {@link InputError} for what is no length. */
export function truncationOf(model: Model, options: TruncationOptions): Pick<EncodeOptions, 'maxTokens'> {
  const { max_length, truncation = max_length !== undefined } = options
  if (typeof truncation !== 'boolean') throw new InputError(`truncation is ${truncation}, not true or false`)
  if (max_length !== undefined && !(Number.isSafeInteger(max_length) && max_length >= 1))
    throw new InputError(`max_length is ${max_length}, not a whole number ≥ 1`)
  const { positions } = model.shape
  return truncation ? { maxTokens: Math.min(max_length ?? positions, positions) } : {}
}

/** A text, or a pair of texts; an empty second one is none. */
export type TextInput = string | { readonly text: string; readonly text_pair: string }

/** The sequence of a text or pair. Throws {@link InputError} for what is neither. */
export function encodeText(tokenizer: Tokenizer, input: TextInput, cut: Pick<EncodeOptions, 'maxTokens'> = {}): Part {
  if (typeof input !== 'object' || input === null || !('text' in input)) return tokenizer.encode(input as string, cut)
  const { text, text_pair: pair } = input as { text: string; text_pair?: string | null }
  const isPair = pair !== '' && pair !== null && pair !== undefined
  return tokenizer.encode(text, { ...cut, ...(isPair && { pair }) })
}

/** Throws {@link InputError} where a text is longer than the model's positions. */
export function checkLength(model: Model, sequence: Part): Part {
  const { positions } = model.shape
  if (sequence.ids && sequence.to > positions)
    throw new InputError(
      `${sequence.to} tokens were given; the model has ${positions} positions: truncation: true cuts longer texts`,
    )
  return sequence
}
