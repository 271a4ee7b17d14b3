/**
 * The build of @prismal/browser, in its folder: everything that a page needs, in files that import each other by relative paths alone. A page without a bundler loads
 * them as they are: an import map would not reach its workers.
 */
import { copyFileSync, rmSync, writeFileSync } from 'node:fs'
import { build } from 'esbuild'
import { writeLicences } from './licences.js'

const entries = ['index', 'tensor', 'models', 'distribute', 'pipeline-worker'].map(n => [n, `../prismal/dist/${n}.js`])
rmSync('dist', { recursive: true, force: true })
await build({
  entryPoints: {
    ...Object.fromEntries(entries),
    'worker-thread': '../distribute/dist/worker-thread.js',
    thread: '../tensor/dist/thread.js',
  },
  outdir: 'dist',
  // The workspace may be reached by links; a file is bundled once.
  absWorkingDir: process.cwd(),
  bundle: true,
  splitting: true,
  minify: true,
  // Errors are known by the names of their classes.
  keepNames: true,
  format: 'esm',
  target: 'es2022',
  platform: 'browser',
  chunkNames: 'prismal-[hash]',
  logLevel: 'error',
})
for (const name of ['simd', 'relaxed-simd', 'simd-threads', 'relaxed-simd-threads'])
  copyFileSync(`../tensor/dist/prismal-${name}.wasm`, `dist/prismal-${name}.wasm`)
// Types are those of the packages that this is made of.
for (const name of ['index', 'tensor', 'models', 'distribute'])
  writeFileSync(`dist/${name}.d.ts`, `export * from '${name === 'index' ? 'prismal' : `prismal/${name}`}'\n`)
writeLicences(['@huggingface/tokenizers'])
