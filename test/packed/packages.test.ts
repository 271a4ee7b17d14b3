/** The tarballs as such: what they hold, what they say of themselves, and what linters of packages find. */
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { describe, expect, it } from 'vitest'
import { everyPackage, NAMES } from './every-package.js'
import { npm, PACKAGES, REPOSITORY, run } from './pack.js'

interface Manifest {
  readonly [field: string]: unknown
  readonly version: string
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
}

/** Those that code imports; sources are for editors. */
const IMPORTED = NAMES.filter(name => name !== '@prismal/sources')
const every = everyPackage()
const { folderOf } = every

const manifestOf = (name: string): Manifest => JSON.parse(readFileSync(join(folderOf(name), 'package.json'), 'utf8'))
const filesOf = (name: string): string[] =>
  readdirSync(folderOf(name), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(folderOf(name).length + 1))

describe.each(NAMES)('%s', name => {
  it('passes publint, suggestions included', async () => {
    const bytes = readFileSync(every.packed.tarballs[name])
    const tarball = new Uint8Array(bytes).buffer
    const { messages, pkg } = await publint({ pack: { tarball }, strict: true })
    expect(messages.map(message => formatMessage(message, pkg))).toEqual([])
  })

  it('says what it is, and runs nothing when it is installed', () => {
    const manifest = manifestOf(name)
    const told = ['description', 'keywords', 'license', 'engines', 'files', 'exports']
    for (const field of told) expect(manifest[field], field).toBeTruthy()
    expect(manifest).toMatchObject({ type: 'module', sideEffects: false, license: 'Apache-2.0' })
    expect(Object.keys(manifest.scripts ?? {}).filter(script => /install|prepare|prepublish/.test(script))).toEqual([])
    const conditions = Object.values(manifest.exports).flatMap(e => (typeof e === 'object' ? [Object.keys(e)] : []))
    for (const order of conditions) expect([order[0], order.at(-1)]).toEqual(['types', 'default'])
  })

  it('has its licence, a README, and nothing that only its repository needs', () => {
    const files = filesOf(name)
    expect(readFileSync(join(folderOf(name), 'LICENSE'), 'utf8')).toBe(
      readFileSync(join(REPOSITORY, 'LICENSE'), 'utf8'),
    )
    expect(files).toContain('README.md')
    expect(files.filter(path => /\.test\.|\/testing\/|tsbuildinfo|tsup|\.js\.map$/.test(path))).toEqual([])
    for (const path of files.filter(p => p.endsWith('.js')))
      expect(readFileSync(join(folderOf(name), path), 'utf8'), path).not.toContain('sourceMappingURL')
  })

  it('has one version with the others, and asks for exactly that', () => {
    const { version, dependencies = {} } = manifestOf(name)
    expect(version).toBe(manifestOf('prismal').version)
    for (const [other, range] of Object.entries(dependencies)) if (other in PACKAGES) expect(range).toBe(version)
  })
})

describe.each(IMPORTED)('%s', name => {
  it('has types that every way of resolving modules finds', () => {
    const cli = join(REPOSITORY, 'node_modules/@arethetypeswrong/cli/dist/index.js')
    const told = run(process.execPath, [cli, '--profile', 'esm-only', '--format', 'ascii', every.packed.tarballs[name]])
    expect(told).toContain('(ESM)')
  })

  it('can be imported by every path that it exports', () => {
    const paths = Object.entries(manifestOf(name).exports).flatMap(([path, target]) =>
      typeof target === 'object' ? [path.replace('.', name)] : [],
    )
    expect(paths).toContain(name)
    const program = paths.map(path => `import * as m${paths.indexOf(path)} from '${path}'`).join('\n')
    run(process.execPath, ['--input-type=module', '-e', program], every.project)
  })

  it('keeps the names of its errors, however small its code is', () => {
    const paths = Object.keys(manifestOf(name).exports).filter(path => !/\*|\.json$/.test(path))
    const program = `for (const path of ${JSON.stringify(paths.map(path => path.replace('.', name)))})
      for (const [key, value] of Object.entries(await import(path)))
        if (value?.prototype instanceof Error && value.name !== key) console.log(path, key, value.name)`
    expect(run(process.execPath, ['--input-type=module', '-e', program], every.project)).toBe('')
  })
})

// Pages load @prismal/browser, and show a column.
describe.each(IMPORTED.filter(name => name !== '@prismal/browser'))('%s', name => {
  it('has lines that Node can print beside an error', () => {
    const lines = filesOf(name)
      .filter(path => path.endsWith('.js'))
      .flatMap(path => readFileSync(join(folderOf(name), path), 'utf8').split('\n'))
    expect(Math.max(0, ...lines.map(line => line.length))).toBeLessThan(4000)
  })
})

describe('snippets', () => {
  const snippets = IMPORTED.flatMap(name => {
    const readme = readFileSync(join(REPOSITORY, PACKAGES[name], 'README.md'), 'utf8')
    return [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code], i) => [name, i + 1, code as string] as const)
  })
  it('are in every README but that for pages', () => {
    const has = IMPORTED.filter(name => snippets.some(([of]) => of === name))
    expect(IMPORTED.filter(name => !has.includes(name))).toEqual(['@prismal/browser'])
  })

  it.each(snippets)('of %s run: %i', (_, number, code) => {
    for (const image of ['cat.png', 'plane.png'])
      copyFileSync(join(REPOSITORY, 'examples/images', image), join(every.project, image))
    const path = join(every.project, `snippet-${number}.mjs`)
    writeFileSync(path, code)
    expect(run(process.execPath, [path], every.project)).not.toBe('')
  })
})

describe('npm audit', () => {
  it('finds nothing in what is installed with prismal', ({ skip }) => {
    const told = JSON.parse(audit()) as { message?: string; vulnerabilities?: Record<string, unknown> }
    // What a registry without that endpoint answers is no finding; under CI, too.
    if (!told.vulnerabilities) skip(`this registry does not audit: ${told.message}`)
    expect(Object.keys(told.vulnerabilities ?? {})).toEqual([])
  })
})

/** What npm tells of known vulnerabilities, as JSON; it fails where there are any. */
function audit(): string {
  try {
    return npm(['audit', '--omit=dev', '--json'], every.project)
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}
