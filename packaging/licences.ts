/** What packages install, bundle or can use of others, and the licences of what is bundled, which come along. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const ownLicence = readFileSync(join(root, 'LICENSE'), 'utf8')

/** What a package says of itself. */
interface Manifest {
  readonly name: string
  readonly version: string
  readonly license: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}
const manifestIn = (folder: string): Manifest => JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))
const installed = (name: string): Manifest => manifestIn(`node_modules/${name}`)

/** A package of others that comes with one of ours, or that one of ours can use. */
export interface Foreign {
  readonly name: string
  readonly version: string
  readonly licence: string
  readonly how: 'installed' | 'bundled' | 'optional'
  /** Ours that have it. */
  readonly of: readonly string[]
}

/** Every package of others that the published packages install, bundle or can use. */
export function foreignPackages(folders: readonly string[]): Foreign[] {
  const own = folders.map(manifestIn)
  const isOwn = (name: string): boolean => own.some(m => m.name === name)
  const found = new Map<string, Foreign>()
  const add = (name: string, how: Foreign['how'], of: string): void => {
    if (isOwn(name)) return
    const { version, license: licence, dependencies = {} } = installed(name)
    const key = `${how} ${name}`
    const others = found.get(key)?.of ?? []
    found.set(key, { name, version, licence, how, of: [...new Set([...others, of])] })
    if (how === 'installed') for (const other of Object.keys(dependencies)) add(other, how, of)
  }
  for (const { name: of, dependencies = {}, devDependencies = {}, peerDependencies = {} } of own) {
    for (const name of Object.keys(dependencies)) add(name, 'installed', of)
    for (const name of Object.keys(devDependencies)) add(name, 'bundled', of)
    for (const name of Object.keys(peerDependencies)) add(name, 'optional', of)
  }
  return [...found.values()]
}

/** A table of them, in Markdown. */
export function licenceTable(foreign: readonly Foreign[]): string {
  const rows = foreign.map(({ name, version, licence, how, of }) => [name, version, licence, how, of.join(', ')])
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const head = ['package', 'version', 'licence', 'how', 'of']
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

/** Writes `dist/THIRD-PARTY-LICENSES.txt` for bundled packages: names, versions and the texts of their licences. */
export function writeLicences(bundled: readonly string[]): void {
  if (bundled.length === 0) return
  const parts = bundled.map(name => {
    const { version, license } = installed(name)
    return [`${name} ${version}, ${license}`, ...licenceTexts(join(root, 'node_modules', name))].join('\n\n')
  })
  writeFileSync('dist/THIRD-PARTY-LICENSES.txt', `${parts.join('\n\n----\n\n')}\n`)
}

/** The texts in a package's files called so; of the Apache licence, which is this package's too, what differs from it. */
function licenceTexts(folder: string): string[] {
  const files = ['', 'codec'].flatMap(below =>
    existsSync(join(folder, below))
      ? readdirSync(join(folder, below))
          .filter(name => /^licen[cs]e/i.test(name))
          .map(name => join(folder, below, name))
      : [],
  )
  if (files.length === 0) throw new Error(`${folder} has no licence: it cannot be bundled`)
  return files.map(file => {
    const text = readFileSync(file, 'utf8').trim()
    if (!isApache(text)) return text
    const owner = text.match(/^ *Copyright \[?\d.*$/m)?.[0].trim()
    return [...(owner ? [owner] : []), 'The Apache License 2.0, which stands in LICENSE.'].join('\n')
  })
}

const words = (text: string): string => text.replace(/\s+/g, ' ').trim()
const TERMS = words(ownLicence).split('APPENDIX')[0] as string
const isApache = (text: string): boolean => words(text).startsWith(TERMS.slice(0, 10_000))
