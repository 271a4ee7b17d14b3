/** Documents as token ids, and how well a causal model foresees them. */
import { type Model, ModelError, readJson, type Tokenizer } from '@prismal/models'
import type { Run, Tensor } from '@prismal/tensor'
import type { Named } from '../cell.js'
import { readDocuments, TEXT_SPLITS } from '../data/documents.js'
import { DataError } from '../data/errors.js'
import { namedSource, readSource } from '../data/source.js'
import type { TaskContext } from './task.js'

export interface Texts {
  readonly data: Named
  readonly documents: readonly string[]
  readonly tokenizer: Tokenizer
  /** What a document begins with: the token that ends one, where the model has it. */
  readonly begin: readonly number[]
  /** Logits over the vocabulary of finished rows. */
  readonly vocabulary: NonNullable<Model['vocabulary']>
}

/** Throws `ModelError` where the model is not causal or foresees nothing. */
export async function textsOf({ model, files, tokenizer, data, split }: TaskContext, task: string): Promise<Texts> {
  const { shape, vocabulary, location, family } = model
  if (!shape.causal || !vocabulary)
    throw new ModelError(`${location} is a ${family} model, which does not foresee texts: it cannot do ${task}`)
  const extensions = ['.txt', '.json']
  const source = readSource(data, {
    split,
    extensions,
    splits: ['valid', 'validation', 'dev', 'test'],
    cutSplits: TEXT_SPLITS,
  })
  const documents = readDocuments(source)
  const end = (await readJson(files, 'config.json'))?.eos_token_id
  return {
    data: namedSource(source),
    documents,
    tokenizer: await tokenizer(),
    begin: typeof end === 'number' && end < vocabularySize(model) ? [end] : [],
    vocabulary,
  }
}

const vocabularySize = ({ headProducts }: Model): number => headProducts.vocabulary?.[0]?.[1] ?? 0

/** A run of a document's tokens: rows, and the id that each of them is to foresee. */
export interface Window {
  readonly document: number
  /** One more than there are rows. */
  readonly ids: Int32Array
  /** Leading rows that the window before has too, which are there as context. */
  readonly again: number
}

/**
 * Windows of at most `rows` rows, one every `stride`, those shorter than `least` left out, and those that have no row of their own. A
 * single document counts as pieces as long as a window each.
 */
export function windowsOf(
  { documents, tokenizer, begin }: Texts,
  { rows, stride, least }: { readonly rows: number; readonly stride: number; readonly least: number },
): Window[] {
  const windows: Window[] = []
  for (const [d, text] of documents.entries()) {
    const ids = Int32Array.from([...begin, ...idsOf(tokenizer, text)])
    let end = 0
    for (let at = 0; at + least < ids.length && end < ids.length - 1; at += stride) {
      const again = Math.max(0, end - at)
      end = Math.min(at + rows, ids.length - 1)
      const document = documents.length > 1 ? d : Math.floor(at / rows)
      windows.push({ document, ids: ids.subarray(at, end + 1), again })
    }
  }
  if (windows.length === 0) throw new DataError(`the documents are all shorter than ${least} tokens`)
  return windows
}

export const idsOf = (tokenizer: Tokenizer, text: string): Int32Array =>
  tokenizer.encode(text, { specialTokens: false }).ids as Int32Array

/** Bytes of text that a token stands for: in a byte-level vocabulary it has a character for each. */
export const bytesOf = (tokenizer: Tokenizer, id: number): number => tokenizer.token(id)?.length ?? 0

/** Rows whose logits are held at a time: V·4 bytes each. */
const TOGETHER = 64

/** Nats of each target at the row before it: finished rows [n, D], n targets. */
export function surprises(rows: Tensor, vocabulary: Texts['vocabulary'], targets: ArrayLike<number>): Float64Array {
  const found = new Float64Array(rows.rows)
  for (let from = 0; from < rows.rows; from += TOGETHER) {
    const logits = vocabulary(rows.slice(from, Math.min(rows.rows, from + TOGETHER)))
    const values = logits.floats()
    for (let i = 0; i < logits.rows; i++)
      found[from + i] = surprise(
        values.subarray(i * logits.columns, (i + 1) * logits.columns),
        targets[from + i] as number,
      )
    logits.dispose()
  }
  return found
}

/** −ln of the probability that logits give a token. */
export function surprise(logits: Float32Array, token: number): number {
  let most = Number.NEGATIVE_INFINITY
  for (let i = 0; i < logits.length; i++) if ((logits[i] as number) > most) most = logits[i] as number
  let sum = 0
  for (let i = 0; i < logits.length; i++) sum += Math.exp((logits[i] as number) - most)
  return Math.log(sum) + most - (logits[token] as number)
}

/** Where distances from a cut begin to count as another kind. */
export const DISTANCES = [0, 16, 64, 256] as const

/** The least distance of the kind that a row is of, and of the row's distance from its partition's start. */
export function distanceOf(row: number, cuts: readonly Run[]): number {
  const [from] = cuts.find(([a, b]) => row >= a && row < b) ?? (cuts.at(-1) as Run)
  return DISTANCES.findLast(least => row - from >= least) ?? 0
}
