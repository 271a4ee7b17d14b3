/** The files of a data set: found by the split that is asked for, read, and unpacked where they are gzip'd. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Named } from '../cell.js'
import { DataError } from '../errors.js'

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

/**
 * Reads the files of a data set: `location` itself, or those of a folder whose names end in one of `extensions` and, where a split
 * is asked for, say so: the split's name is the file's (`dev.tsv`), or ends it (`msr_paraphrase_test.txt`). Without one, a folder that
 * has several data files is asked for `splits` of them in turn. Throws {@link DataError} that names what is there.
 */
export function readSource(
  location: string,
  {
    split,
    extensions,
    splits,
  }: { split?: string | undefined; extensions: readonly string[]; splits: readonly string[] },
): Source {
  const found = statSync(location, { throwIfNoEntry: false })
  if (!found) throw new DataError(`${location} does not exist: --data is a file or a folder of them`)
  const open = (paths: readonly string[], as: string | undefined): Source => ({
    location,
    split: as,
    files: paths.map(readOne),
  })
  if (found.isFile()) return open([location], split)
  const names = readdirSync(location)
    .filter(name => !ABOUT.test(name) && extensions.some(end => bare(name).endsWith(end)))
    .sort()
  if (names.length === 0)
    throw new DataError(`${location} has no file that could be read here (${extensions.join(', ')}, or those with .gz)`)
  const paths = (of: readonly string[]): string[] => of.map(name => join(location, name))
  if (split !== undefined) {
    const fitting = ofSplit(names, split)
    if (fitting.length > 0) return open(paths(fitting), split)
    // A reader may cut a single file into splits.
    if (names.length === 1) return open(paths(names), split)
    throw new DataError(`${location} has no split ${split}: its files are ${names.join(', ')}`)
  }
  const single = new Set(names.map(stemOf)).size === 1 || names.every(name => /idx\d-ubyte/.test(name))
  if (single) return open(paths(names), undefined)
  for (const name of splits) {
    const fitting = ofSplit(names, name)
    if (fitting.length > 0) return open(paths(fitting), name)
  }
  throw new DataError(`${location} has several files (${names.join(', ')}): say which with --split`)
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
