/**
 * `npm run size`: what a page downloads to embed prismal: tensor, models and distribute bundled and minified, tokenizers
 * included, with one wasm file, all gzip'd. Exits 1 where that exceeds its budget.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

/** Most bytes of everything together, gzip'd. */
const BUDGET_BYTES = 120_000

const root = fileURLToPath(new URL('..', import.meta.url))
const bundled = async (packages: readonly string[]): Promise<Uint8Array> => {
  const { outputFiles } = await build({
    stdin: { contents: packages.map(name => `export * from '${name}'`).join('\n'), resolveDir: root },
    ...{ bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', platform: 'browser' },
    logLevel: 'error',
  })
  return outputFiles[0]!.contents
}

const PACKAGES = ['@prismal/tensor', '@prismal/models', '@prismal/distribute']
const WASM = 'packages/tensor/dist/prismal-relaxed-simd.wasm'
const parts = [
  { name: '@prismal/tensor alone', bytes: await bundled(PACKAGES.slice(0, 1)), isPart: false },
  { name: 'tensor + models + distribute', bytes: await bundled(PACKAGES), isPart: true },
  { name: 'a helper thread', bytes: readFileSync(`${root}/packages/tensor/dist/thread.js`), isPart: false },
  { name: WASM.split('/').at(-1)!, bytes: readFileSync(`${root}/${WASM}`), isPart: true },
]
const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(1).padStart(7)} kB`
let total = 0
for (const { name, bytes, isPart } of parts) {
  const zipped = gzipSync(bytes, { level: 9 }).length
  if (isPart) total += zipped
  console.log(`${kilobytes(bytes.length)}  gzip'd ${kilobytes(zipped)}  ${name}`)
}
const fits = total <= BUDGET_BYTES
console.log(`${kilobytes(total)} gzip'd in all, of ${kilobytes(BUDGET_BYTES)}: ${fits ? 'ok' : 'too large'}`)
if (!fits) process.exitCode = 1
