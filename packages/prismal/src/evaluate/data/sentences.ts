/** Sentences, and pairs of them, with labels or scores: the layouts that GLUE's tasks come in. */
import { DataError } from './errors.js'
import { type Source, type SourceFile, textOf } from './source.js'

export interface LabelledText {
  readonly text: string
  readonly pair?: string
  /** As the file has it: a class' name or number, or a score. */
  readonly label: string
}

/** Where a row has what, by column. */
interface Layout {
  readonly text: number
  readonly pair?: number
  readonly label: number
}

const TEXTS = ['sentence1', '#1 String', 'question', 'sentence', 'text']
const PAIRS = ['sentence2', '#2 String', 'sentence', 'text_pair']
const LABELS = ['label', 'Quality', 'score', 'similarity_score']

/** Throws {@link DataError} where a file's layout is not known, a row does not fit it, or there are no labels. */
export function readSentences({ files }: Source): LabelledText[] {
  return files.flatMap(readTable)
}

function readTable(file: SourceFile): LabelledText[] {
  const lines = textOf(file).split(/\r?\n/)
  const [first = ''] = lines
  const headed = ofHeader(first.split('\t'), file)
  const layout = headed ?? ofColumns(lines, file)
  if (headed && lines.slice(1).every(line => line.trim() === '')) throw new DataError(`${file.path} has no rows`)
  return lines.slice(headed ? 1 : 0).flatMap((line, i): LabelledText[] => {
    if (line.trim() === '') return []
    const cells = line.split('\t')
    const [text, label] = [cells[layout.text], cells[layout.label]]
    const pair = layout.pair === undefined ? undefined : cells[layout.pair]
    if (text === undefined || label === undefined || (layout.pair !== undefined && pair === undefined))
      throw new DataError(
        `${file.path}:${i + (headed ? 2 : 1)}: ${cells.length} columns, of which text and label are not all there`,
      )
    return [{ text, label, ...(pair !== undefined && { pair }) }]
  })
}

/** By the names in the first line, where it has any. */
function ofHeader(names: readonly string[], { path }: SourceFile): Layout | undefined {
  const at = (known: readonly string[]): number => {
    const name = known.find(k => names.includes(k))
    return name === undefined ? -1 : names.indexOf(name)
  }
  const text = at(TEXTS)
  if (text < 0) return undefined
  const label = at(LABELS)
  if (label < 0)
    throw new DataError(
      `${path} has no labels (its columns: ${names.join(', ')}): it cannot be scored, take another --split`,
    )
  const pair = at(PAIRS)
  return { text, label, ...(pair >= 0 && pair !== text && { pair }) }
}

/** By what the columns hold, where the first line has no names. */
function ofColumns(lines: readonly string[], { path }: SourceFile): Layout {
  const rows = lines
    .slice(0, 20)
    .filter(line => line.trim() !== '')
    .map(line => line.split('\t'))
  const every = (column: number, test: RegExp): boolean =>
    rows.length > 0 && rows.every(r => test.test(r[column] ?? ''))
  const columns = Math.min(...rows.map(r => r.length))
  // STS-B: genre, file, year, number, score, two sentences, perhaps their sources.
  if (columns >= 7 && every(4, /^\d+(\.\d+)?$/)) return { text: 5, pair: 6, label: 4 }
  // CoLA: source, label, the author's mark, sentence.
  if (columns === 4 && every(1, /^[01]$/)) return { text: 3, label: 1 }
  // RTE and WNLI as some copies have them: number, two sentences, label.
  if (columns === 4 && every(0, /^\d+$/) && every(3, /^\S+$/)) return { text: 1, pair: 2, label: 3 }
  const first = (rows[0] ?? []).map(cell => (cell.length > 24 ? `${cell.slice(0, 24)}…` : cell))
  throw new DataError(
    `${path} is not a table of sentences that is known here: neither its first line names sentence(s) and label, nor is it as STS-B, CoLA or RTE without names (its first row: ${first.join(' | ') || 'nothing'})`,
  )
}

/**
 * Class numbers of all labels of a data set: by the model's names of its classes, else numbers as they are. Where none of them is either and
 * there are as many as classes, in alphabetical order (as GLUE numbers `entailment` and `not_entailment`). Throws {@link DataError} where a
 * label is no class of the model.
 */
export function classNumbers(
  labels: readonly string[],
  names: readonly string[] | undefined,
  classes: number,
): number[] {
  const all = [...new Set(labels.map(label => label.trim()))].sort()
  const lower = names?.map(name => name.toLowerCase())
  const named = (label: string): number => lower?.indexOf(label.toLowerCase()) ?? -1
  const isNumber = (label: string): boolean => Number.isFinite(Number(label))
  const areInOrder = all.length === classes && !all.some(label => named(label) >= 0 || isNumber(label))
  const numberOf = (label: string): number => {
    if (areInOrder) return all.indexOf(label)
    return named(label) < 0 && /^\d+$/.test(label) ? Number(label) : named(label)
  }
  const numbers = new Map(all.map(label => [label, numberOf(label)]))
  for (const [label, number] of numbers) {
    if (number >= 0 && number < classes) continue
    // As the test splits of GLUE have it.
    const isUnlabelled = label === '' || label === '-1' ? ': these texts are unlabelled, take another --split' : ''
    const known = names ? ` (${names.join(', ')})` : ''
    throw new DataError(
      `label ${JSON.stringify(label)} is none of the model's ${classes} classes${known}${isUnlabelled}`,
    )
  }
  return labels.map(label => numbers.get(label.trim()) as number)
}
