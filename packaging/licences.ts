/** The licences of what packages bundle: kept beside the code that they are for. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const ownLicence = readFileSync(join(root, 'LICENSE'), 'utf8')

/** What an installed package says of itself. */
interface Manifest {
  readonly name: string
  readonly version: string
  readonly license: string
}
export const installed = (name: string): Manifest =>
  JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8'))

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
