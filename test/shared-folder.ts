/** Folders that lie beside the repository, in ../shared: reference results and models too large to keep in it. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * The path of ../shared/`name`, or undefined with the reason printed, for a suite to skip what needs it. Under CI nothing
 * may be skipped: its absence throws.
 */
export function sharedFolder(name: string): string | undefined {
  const path = fileURLToPath(new URL(`../../shared/${name}`, import.meta.url))
  if (existsSync(path)) return path
  if (process.env.CI) throw new Error(`${path} does not exist, and under CI nothing may be skipped for want of it`)
  console.log(`skipped: what needs ${path}, which does not exist`)
  return undefined
}
