/** What runs, for reports. */
import { readFileSync } from 'node:fs'

interface Manifest {
  readonly version: string
  readonly description: string
}
const manifest = (): Manifest =>
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as Manifest

export const version = (): string => manifest().version
export const description = (): string => manifest().description

/** Versions of prismal and of the runtime. */
export const versions = (): Record<string, string> => ({
  prismal: version(),
  node: process.versions.node,
  v8: process.versions.v8,
})
