/** Where the evaluation finds what it needs. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
/** Data and models of others that lie beside the repository. */
export const SHARED = join(REPOSITORY, '../shared')
/** What was made here: models, finished cells. */
export const CACHE = join(REPOSITORY, 'bench/.cache')
