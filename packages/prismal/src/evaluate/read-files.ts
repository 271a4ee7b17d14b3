/** What an evaluation's answers follow from beside its data: the bytes of the model's files and of the tokenizer. */
import { createHash, type Hash } from 'node:crypto'
import { inspectModel, type ModelFiles } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { locateModel, locateNamed } from '../locate.js'
import type { SubjectOptions } from './subject.js'
import { taskKind } from './tasks/index.js'

/** Bytes that are held at a time, where a source does not stream. */
const PIECE = 1 << 24

/** Hex SHA-256 of all weights, preprocessor_config.json, and of the tokenizer from where it is read. Throws `ModelError`. */
export async function digestOfFiles(
  { task, model, tokenizer }: Pick<SubjectOptions, 'task' | 'model' | 'tokenizer'>,
  signal?: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256')
  const files = await openFiles(locateModel(model, taskKind(task).pipeline))
  try {
    const { files: weights } = await inspectModel(files)
    for (const name of [...weights, 'preprocessor_config.json']) await add(hash, files, name, signal)
    const from = tokenizer === undefined ? files : await openFiles(locateNamed(tokenizer))
    for (const name of ['tokenizer.json', 'tokenizer_config.json']) await add(hash, from, name, signal)
    if (from !== files) await from.close?.()
  } finally {
    await files.close?.()
  }
  return hash.digest('hex')
}

/** A file's name, size and bytes; of one that there is not, that. */
async function add(hash: Hash, files: ModelFiles, name: string, signal?: AbortSignal): Promise<void> {
  const size = await files.size(name)
  hash.update(`${name}\0${size}\0`)
  for await (const piece of piecesOf(files, name, size ?? 0, signal)) hash.update(piece)
}

async function* piecesOf(
  files: ModelFiles,
  name: string,
  size: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  if (size > 0 && files.chunks) return yield* files.chunks(name, 0, size, signal)
  for (let at = 0; at < size; at += PIECE) {
    signal?.throwIfAborted()
    yield files.range(name, at, Math.min(size, at + PIECE))
  }
}
