/**
 * `npm run size`: what packages weigh, beside what they may (size-budgets.json) and what README.md says. Downloaded by a
 * page: a package with those below it, bundled and minified, with one wasm file, gzip'd. Installed: a package's tarball
 * with all that it depends on, unpacked. Exits 1 where a budget is exceeded or the README is off by more than 5 %.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { install, PACKAGES, type PackageName, pack, withDependencies } from '../test/packed/pack.js'
import budgets from './size-budgets.json' with { type: 'json' }

const root = fileURLToPath(new URL('..', import.meta.url))
const gzipBytes = (bytes: Uint8Array): number => gzipSync(bytes, { level: 9 }).length

/** What a page loads of a program: its bundle and one wasm file. */
async function pageBytes(program: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: program, resolveDir: root },
    ...{ bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', platform: 'browser' },
    logLevel: 'error',
  })
  return gzipBytes(outputFiles[0]!.contents) + gzipBytes(readFileSync(`${root}packages/tensor/dist/${WASM}`))
}
const WASM = 'prismal-relaxed-simd.wasm'
const everythingOf = (names: readonly string[]): string => names.map(name => `export * from '${name}'`).join('\n')
const VIT = `export { aloneRunner, imageClassification, loadVit, patchify, preprocess, urlFiles } from '@prismal/models'
export { createEngine } from '@prismal/tensor'`

/** Bytes of a folder's files. */
function unpacked(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  return files.reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0)
}
/** Bytes of a package and of all that it depends on, by npm. */
function installedBytes(packed: ReturnType<typeof pack>, name: PackageName): number {
  return unpacked(join(install(packed, withDependencies(name)), 'node_modules'))
}

const README = readFileSync(`${root}README.md`, 'utf8')
const rowOf = (name: string): string =>
  README.split('\n').find(line => /^\| `npm i (?:-D )?(.+?)`/.exec(line)?.[1] === name) ?? ''
const kilobytes = (bytes: number): string => `${(bytes / 1000).toLocaleString('en', { maximumFractionDigits: 0 })} kB`

/** Prints a figure; complains where it is above its budget, or not what the README's row says. */
function tell(what: string, bytes: number, { budget = Number.POSITIVE_INFINITY, row = '' }): void {
  const stated = [...row.matchAll(/([\d,]+) kB/g)].map(([, digits = '']) => 1000 * Number(digits.replace(/,/g, '')))
  const fits = bytes <= budget
  const isStated = row === '' || stated.some(figure => Math.abs(figure - bytes) <= 0.05 * bytes)
  const most = Number.isFinite(budget) ? `, of ${kilobytes(budget)}` : ''
  const wrong = [...(fits ? [] : ['too large']), ...(isStated ? [] : ['README.md says something else'])]
  console.log(`${kilobytes(bytes).padStart(10)}  ${what}${most}: ${wrong.join(', ') || 'ok'}`)
  if (wrong.length > 0) process.exitCode = 1
}

const LAYERS = ['@prismal/tensor', '@prismal/models', '@prismal/distribute'] as const
const PAGE_BUDGETS = { '@prismal/tensor': budgets.engineGzipBytes, '@prismal/distribute': budgets.everythingGzipBytes }
for (const [i, name] of LAYERS.entries()) {
  const bytes = await pageBytes(everythingOf(LAYERS.slice(0, i + 1)))
  tell(`${name}: a page loads, gzip'd`, bytes, { ...budgetOf(PAGE_BUDGETS, name), row: rowOf(name) })
}
tell("a ViT alone: a page loads, gzip'd", await pageBytes(VIT), { row: rowOf('@prismal/models') })

const packed = pack()
try {
  const INSTALL_BUDGETS = { prismal: budgets.installedBytes }
  for (const name of Object.keys(PACKAGES) as PackageName[]) {
    const bytes = installedBytes(packed, name)
    tell(`${name}: installed, unpacked`, bytes, { ...budgetOf(INSTALL_BUDGETS, name), row: rowOf(name) })
  }
} finally {
  packed.remove()
}

function budgetOf(known: Readonly<Record<string, number>>, name: string): { budget?: number } {
  const budget = known[name]
  return budget === undefined ? {} : { budget }
}
