/** Texts for language models: plain ones, and JSON lists of documents. */
import { DataError } from './errors.js'
import { type Source, type SourceFile, textOf } from './source.js'

/** A top-level heading of WikiText, ` = Title = `: an article begins. */
const ARTICLE = /^ ?= (?!=).*[^=\s] = ?$/m
/** Splits of a plain text, as shares of its characters. */
const SHARES: Readonly<Record<string, readonly [number, number]>> = {
  'first-nine-tenths': [0, 0.9],
  'last-tenth': [0.9, 1],
}
export const TEXT_SPLITS = Object.keys(SHARES)

/** The documents, in order; a plain text is one, unless it has WikiText's articles. Throws {@link DataError}. */
export function readDocuments(source: Source): string[] {
  const documents = source.files.flatMap(file => documentsOf(file, source.split))
  if (documents.every(text => text.trim() === '')) throw new DataError(`${source.location} has no text`)
  return documents
}

function documentsOf(file: SourceFile, split: string | undefined): string[] {
  const text = textOf(file)
  const [from, to] = SHARES[split ?? ''] ?? [0, 1]
  const at = (length: number): [number, number] => [Math.floor(from * length), Math.floor(to * length)]
  if (!file.name.endsWith('.json')) {
    const [begin, end] = at(text.length).map(i => wholeCharacter(text, i))
    return articles(text.slice(begin, end))
  }
  const documents = parsed(text, file)
  return documents.slice(...at(documents.length))
}

/** The same place, or the one before it where it lies within a surrogate pair. */
const wholeCharacter = (text: string, i: number): number => ((text.codePointAt(i - 1) ?? 0) > 0xffff ? i - 1 : i)

function parsed(text: string, { path }: SourceFile): string[] {
  try {
    const list: unknown = JSON.parse(text)
    if (Array.isArray(list) && list.every(d => typeof d === 'string')) return list as string[]
  } catch (cause) {
    throw new DataError(`${path} is not JSON: ${(cause as Error).message}`, { cause })
  }
  throw new DataError(`${path} is not a JSON list of documents as texts`)
}

/** WikiText's articles, or the text itself. */
function articles(text: string): string[] {
  const starts: number[] = []
  for (const { index } of text.matchAll(new RegExp(ARTICLE.source, 'gm'))) starts.push(index)
  if (starts.length < 2) return [text]
  return starts.map((at, i) => text.slice(i === 0 ? 0 : at, starts[i + 1] ?? text.length))
}
