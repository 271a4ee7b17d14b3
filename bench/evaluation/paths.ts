/** Where the evaluation finds what it needs. */
import { isAbsolute, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
/** Data and models of others that lie beside the repository. */
export const SHARED = join(REPOSITORY, '../shared')
/** What was made here: models, finished cells. */
export const CACHE = join(REPOSITORY, 'bench/.cache')

/** The same with paths relative to the repository: whose checkout it is does not matter. */
export const inRepository = <T>(value: T): T =>
  JSON.parse(JSON.stringify(value), (_, v) =>
    typeof v === 'string' && isAbsolute(v) ? relative(REPOSITORY, v) : v,
  ) as T
