/** Finished cells as files, one each, named by the digest of what tells them from others. */
import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Plan } from '@prismal/distribute'
import type { Cell, CellKey } from './cell.js'
import { DataError } from './data/errors.js'
import type { Environment } from './environment.js'

/** A cell as it is stored: with what it was computed on. */
export interface StoredCell extends Cell {
  readonly environment: Environment
}

/**
 * Hex digest of a key, of a plan by it (where defaults of sharing have changed, so has the plan), and of the files that answers follow
 * from: a key's model is known by the ends of its tensors only.
 */
export function digestOf(key: CellKey, plan: Plan, files: string | undefined): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted([key, plan, files])))
    .digest('hex')
    .slice(0, 24)
}

/** The same value with its fields in alphabetical order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const names = Object.keys(value).sort()
  return Object.fromEntries(names.map(name => [name, sorted((value as Record<string, unknown>)[name])]))
}

/** Reads a finished cell; undefined where there is none. Throws {@link DataError} where a file is no cell. */
export async function loadCell(folder: string, digest: string): Promise<StoredCell | undefined> {
  const path = join(folder, `${digest}.json`)
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new DataError(`${path} cannot be read: ${error.message}`, { cause: error })
  })
  if (text === undefined) return undefined
  try {
    const cell: unknown = JSON.parse(text)
    if (isCell(cell)) return cell
  } catch (cause) {
    throw new DataError(`${path} is not JSON: ${(cause as Error).message}; remove it to have it evaluated again`, {
      cause,
    })
  }
  throw new DataError(`${path} is not a cell of an evaluation; remove it to have it evaluated`)
}

/** Whether it has answers to items, and what they cost. */
function isCell(value: unknown): value is StoredCell {
  const { columns, metrics, cost } = (value ?? {}) as Partial<StoredCell>
  if (!columns || !metrics || !cost) return false
  const [first, ...others] = Object.values(columns)
  const isWhole = Array.isArray(first) && first.length > 0 && others.every(c => c.length === first.length)
  return isWhole && Object.keys(metrics).length > 0 && Number.isFinite(cost.bytesReceived)
}

/** Writes a finished cell: whole or not at all, whenever the process ends. */
export async function storeCell(folder: string, digest: string, cell: StoredCell): Promise<void> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, `${digest}.json`)
  const unfinished = `${path}.${process.pid}.part`
  await writeFile(unfinished, `${JSON.stringify(cell)}\n`)
  await rename(unfinished, path)
}
