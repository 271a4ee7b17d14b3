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
  ...of('node', 'v8', 'deno', 'bun'),
})

const of = (...names: readonly string[]): Record<string, string> =>
  Object.fromEntries(names.flatMap(name => (process.versions[name] ? [[name, process.versions[name]]] : [])))
