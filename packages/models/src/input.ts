/** What goes into a model: sequences, whole or cut by position, and which rows are asked for. */
import { InputError } from './errors.js'

/** Rows [from, to) of one input sequence. A whole sequence has `from` 0. */
export interface Part {
  readonly from: number
  readonly to: number
  /** Token ids, one a row. */
  readonly ids?: Int32Array
  /** Token types (BERT's segments), one a row; absent: 0. */
  readonly types?: Int32Array
  /** Position ids, one a row; absent: the rows' own numbers. */
  readonly positions?: Int32Array
  /** Image patches [patches, C·patch²]; rows before the patches (CLS) have none. */
  readonly patches?: Float32Array
}

/** Which rows a request asks for; `mean` is the mean of all rows of a sequence, as one row. */
export type Want = 'all' | 'first' | 'last' | 'mean' | readonly (readonly number[])[]

/** The rows of a sequence of `rows` rows, number `index` in its batch, that `want` names, ascending. */
export function wantedRows(want: Want, index: number, rows: number): readonly number[] {
  if (want === 'all' || want === 'mean') return Array.from({ length: rows }, (_, i) => i)
  if (want === 'first') return [0]
  if (want === 'last') return [rows - 1]
  const named = want[index] ?? []
  const sorted = [...new Set(named)].sort((a, b) => a - b)
  const outside = sorted.find(r => !(Number.isInteger(r) && r >= 0 && r < rows))
  if (outside !== undefined) throw new InputError(`row ${outside} was asked for of a sequence of ${rows} rows`)
  return sorted
}

/**
 * A text as ids. `mask` (attention_mask, of 0 and 1 or false and true) drops rows; the others keep their position ids. Throws
 * {@link InputError} for other masks, and for ids and types that are not whole numbers of 32 bits.
 */
export function textPart(
  ids: ArrayLike<number | bigint>,
  types?: ArrayLike<number | bigint>,
  mask?: ArrayLike<number | bigint | boolean>,
): Part {
  for (const [name, values] of Object.entries({ 'token types': types, 'the attention mask': mask }))
    if (values && values.length !== ids.length)
      throw new InputError(`${ids.length} token ids, but ${name} has ${values.length} values`)
  const kept = Array.from({ length: ids.length }, (_, i) => i).filter(i => !mask || isKept(mask[i], i))
  const pick = (values: ArrayLike<number | bigint>, what: string): Int32Array =>
    Int32Array.from(kept, i => wholeNumber(values[i], what, i))
  return {
    from: 0,
    to: kept.length,
    ids: pick(ids, 'token id'),
    ...(types && { types: pick(types, 'token type') }),
    ...(kept.length < ids.length && { positions: Int32Array.from(kept) }),
  }
}

function isKept(value: unknown, i: number): boolean {
  const number = typeof value === 'boolean' || typeof value === 'bigint' ? Number(value) : value
  if (number !== 0 && number !== 1) throw new InputError(`the attention mask is ${value} for token ${i}, not 0 or 1`)
  return number === 1
}

function wholeNumber(value: unknown, what: string, i: number): number {
  const number = typeof value === 'bigint' ? Number(value) : value
  if (typeof number !== 'number' || (number | 0) !== number)
    throw new InputError(`${what} ${value} (number ${i}) is not a whole number of 32 bits`)
  return number
}

/** Rows [from, to) of a whole sequence; `prefixRows` of them come before the patches of `patchWidth` values. */
export function cut(whole: Part, from: number, to: number, prefixRows = 0, patchWidth = 0): Part {
  const patch = (row: number): number => Math.max(0, row - prefixRows) * patchWidth
  return {
    from,
    to,
    ...(whole.ids && { ids: whole.ids.slice(from, to) }),
    ...(whole.types && { types: whole.types.slice(from, to) }),
    ...(whole.positions && { positions: whole.positions.slice(from, to) }),
    ...(whole.patches && { patches: whole.patches.slice(patch(from), patch(to)) }),
  }
}

/** Position ids of a part's rows. */
export const positionsOf = (part: Part): Int32Array =>
  part.positions ?? Int32Array.from({ length: part.to - part.from }, (_, i) => part.from + i)

/** Position id of the row that would follow. */
export const nextPosition = (part: Part): number => (positionsOf(part).at(-1) ?? part.from - 1) + 1
