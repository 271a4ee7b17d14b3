/** Where commands are to write: refused before anything is computed where that cannot be. */
import { statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { InvalidArgumentError } from 'commander'

/** What is there, where anything is. */
function kindOf(path: string): 'folder' | 'file' | undefined {
  try {
    return statSync(path).isDirectory() ? 'folder' : 'file'
  } catch {
    return undefined
  }
}

/** Parses a file's path, whose folder must exist. */
export function outputFile(path: string): string {
  const folder = dirname(resolve(path))
  if (kindOf(folder) !== 'folder') throw new InvalidArgumentError(`There is no folder ${folder}.`)
  if (kindOf(path) === 'folder') throw new InvalidArgumentError('It is a folder; a file is asked for.')
  return path
}

/** Parses the path of a folder, which is made where it does not exist. */
export function outputFolder(path: string): string {
  let at = resolve(path)
  while (kindOf(at) === undefined) at = dirname(at)
  if (kindOf(at) === 'file') throw new InvalidArgumentError(`${at} is a file; a folder is asked for.`)
  return path
}
