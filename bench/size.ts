/**
 * `npm run size`: what packages weigh, beside what they may (size-budgets.json). Downloaded by a page: the engine alone, and
 * tensor, models and distribute with the tokenizer, bundled and minified, each with one wasm file, gzip'd. Installed:
 * `prismal` with all that it depends on, from its tarballs, unpacked. Exits 1 where a budget is exceeded.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { install, pack, withDependencies } from '../test/packed/pack.js'
import budgets from './size-budgets.json' with { type: 'json' }

const root = fileURLToPath(new URL('..', import.meta.url))
const gzipBytes = (bytes: Uint8Array): number => gzipSync(bytes, { level: 9 }).length
async function bundled(program: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: program, resolveDir: root },
    ...{ bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', platform: 'browser' },
    logLevel: 'error',
  })
  return gzipBytes(outputFiles[0]!.contents)
}
const everythingOf = (names: readonly string[]): string => names.map(name => `export * from '${name}'`).join('\n')

/** Bytes of a folder's files. */
function unpacked(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  return files.reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0)
}
function installed(): { total: number; parts: [string, number][] } {
  const names = withDependencies('prismal')
  const packed = pack(names)
  try {
    const modules = join(install(packed, names), 'node_modules')
    const packages = readdirSync(modules)
      .filter(name => !name.startsWith('.'))
      .flatMap(name => (name.startsWith('@') ? readdirSync(join(modules, name)).map(n => join(name, n)) : [name]))
    return { total: unpacked(modules), parts: packages.map(name => [name, unpacked(join(modules, name))]) }
  } finally {
    packed.remove()
  }
}

const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(1).padStart(7)} kB`
const tell = (bytes: number, what: string): void => console.log(`${kilobytes(bytes)}  ${what}`)
function hold(bytes: number, budget: number, what: string): void {
  const fits = bytes <= budget
  tell(bytes, `${what}, of ${kilobytes(budget).trim()}: ${fits ? 'ok' : 'too large'}`)
  if (!fits) process.exitCode = 1
}

const WASM = 'prismal-relaxed-simd.wasm'
const wasm = gzipBytes(readFileSync(`${root}packages/tensor/dist/${WASM}`))
const engine = await bundled(everythingOf(['@prismal/tensor']))
const vit =
  "export { aloneRunner, imageClassification, loadVit, patchify, preprocess, urlFiles } from '@prismal/models'"
tell(wasm, WASM)
tell(
  await bundled(`${vit}\nexport { createEngine } from '@prismal/tensor'`),
  'a page that runs a ViT, without the wasm',
)
tell(gzipBytes(readFileSync(`${root}packages/tensor/dist/thread.js`)), 'a helper thread')
hold(wasm + engine, budgets.engineGzipBytes, "the engine alone: JavaScript and wasm, gzip'd")
const everything = await bundled(everythingOf(['@prismal/tensor', '@prismal/models', '@prismal/distribute']))
hold(wasm + everything, budgets.everythingGzipBytes, "engine, models and distribute with one wasm, gzip'd")

const { total, parts } = installed()
for (const [name, bytes] of parts) tell(bytes, `${name}, unpacked`)
hold(total, budgets.installedBytes, 'prismal with its dependencies, unpacked')
