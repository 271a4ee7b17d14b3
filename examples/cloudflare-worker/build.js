// Bundles worker.js to dist/, as wrangler does it: node build.js
import { build } from 'esbuild'

await build({
  entryPoints: ['worker.js'],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  outdir: 'dist',
  conditions: ['workerd', 'worker', 'browser'],
  external: ['node:*', 'cloudflare:*'],
  loader: { '.wasm': 'copy' }, // stays an import, of a file beside the bundle
  assetNames: '[name]',
})
