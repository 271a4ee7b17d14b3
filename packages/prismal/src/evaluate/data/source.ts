/** The files of a data set: found by the split that is asked for, read, and unpacked where they are gzip'd. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Named } from '../cell.js'
import { DataError } from './errors.js'

export interface SourceFile {
  /** Its path, for messages. */
  readonly path: string
  /** Its name without folder and `.gz`. */
  readonly name: string
  readonly bytes: Uint8Array
}

export interface Source {
  /** The folder or file that was named. */
  readonly location: string
  readonly split: string | undefined
  /** Files that a reader may understand, at least one. */
  readonly files: readonly SourceFile[]
}

/** Files beside the data that tell about it. */
const ABOUT = /^(SOURCE|LICEN[CS]E|README|CITATION)(\.\w+)?$/i

/** Data sets that name their splits otherwise. */
const ALIASES: Readonly<Record<string, readonly RegExp[]>> = {
  test: [/^test_batch\.bin$/, /^t10k-/],
  train: [/^data_batch_\d\.bin$/, /^train-(images|labels)/],
}

export interface SourceOptions {
  /** The split that is asked for, if any. */
  readonly split?: string | undefined
  /** What names of files end in, less `.gz`. */
  readonly extensions: readonly string[]
  /** Splits of a folder with several files that are looked for where none is asked for, in this order. */
  readonly splits: readonly string[]
  /** Splits that the reader cuts a single file into. */
  readonly cutSplits?: readonly string[]
}

/**
 * Reads the files of a data set: `location` itself, or those of a folder that are of the split: the split's name is the file's (`dev.tsv`),
 * or ends it (`msr_paraphrase_test.txt`). Throws {@link DataError} that names what is there.
 */
export function readSource(location: string, options: SourceOptions): Source {
  const { split, extensions, splits, cutSplits = [] } = options
  const found = statSync(location, { throwIfNoEntry: false })
  if (!found) throw new DataError(`${location} does not exist: --data is a file or a folder of them`)
  const folder = found.isFile() ? dirname(location) : location
  const open = (names: readonly string[], as?: string): Source => {
    const files = names.map(name => readOne(join(folder, name)))
    return { location, split: as, files }
  }
  const names = found.isFile() ? [basename(location)] : dataFiles(location, extensions)
  if (split === undefined) {
    const isOne = names.length === 1 || names.every(name => /idx\d-ubyte/.test(name))
    if (isOne) return open(names)
    const first = splits.find(name => ofSplit(names, name).length > 0)
    if (first === undefined)
      throw new DataError(`${location} has several files (${names.join(', ')}): say which with --split`)
    return open(ofSplit(names, first), first)
  }
  const fitting = ofSplit(names, split)
  if (fitting.length > 0) return open(fitting, split)
  if (names.length === 1 && cutSplits.includes(split)) return open(names, split)
  const cuts = names.length === 1 && cutSplits.length > 0 ? `; one file has ${cutSplits.join(' and ')}` : ''
  throw new DataError(`${location} has no split ${split}: its files are ${names.join(', ')}${cuts}`)
}

function dataFiles(folder: string, extensions: readonly string[]): string[] {
  const names = readdirSync(folder)
    .filter(name => !ABOUT.test(name) && extensions.some(end => bare(name).endsWith(end)))
    .sort()
  if (names.length > 0) return names
  throw new DataError(`${folder} has no file that could be read here (${extensions.join(', ')}, or those with .gz)`)
}

/** Name and digest of what was read. */
export function namedSource({ location, files, split }: Source): Named {
  const hash = createHash('sha256')
  for (const { name, bytes } of files) hash.update(`${name}\0${bytes.length}\0`).update(bytes)
  const folder = basename(location.replace(/[\\/]+$/, ''))
  return { name: split === undefined ? folder : `${folder}/${split}`, digest: hash.digest('hex').slice(0, 16) }
}

/** A file's text, less a byte order mark. Throws {@link DataError} where it is not UTF-8. */
export function textOf({ path, bytes }: SourceFile): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new DataError(`${path} is not text in UTF-8`, { cause })
  }
}

const bare = (name: string): string => name.replace(/\.gz$/, '')
const stemOf = (name: string): string => bare(name).replace(/\.\w+$/, '')

function ofSplit(names: readonly string[], split: string): string[] {
  const exact = names.filter(name => stemOf(name) === split)
  if (exact.length > 0) return exact.slice(0, 1)
  const aliases = ALIASES[split] ?? []
  const known = names.filter(name => aliases.some(a => a.test(bare(name))))
  if (known.length > 0) return known
  const ending = names.filter(name => stemOf(name).endsWith(`_${split}`) || stemOf(name).endsWith(`-${split}`))
  return ending.slice(0, 1)
}

function readOne(path: string): SourceFile {
  const stored = readFileSync(path)
  const isPacked = stored[0] === 0x1f && stored[1] === 0x8b
  try {
    return { path, name: bare(basename(path)), bytes: isPacked ? gunzipSync(stored) : stored }
  } catch (cause) {
    throw new DataError(`${path} cannot be unpacked: ${(cause as Error).message}`, { cause })
  }
}
