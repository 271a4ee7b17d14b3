import { copyFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { library } from '../../tsup.shared.js'

export default library({
  entry: [
    'src/index.ts',
    'src/cli.ts',
    'src/tensor.ts',
    'src/models.ts',
    'src/distribute.ts',
    'src/nats.ts',
    'src/host.ts',
    'src/pipeline-worker.ts',
    'src/decoders.ts',
    'src/decoders-workerd.ts',
    'src/no-decoders.ts',
    'src/evaluate.ts',
    'src/evaluate-job.ts',
    'src/transports/web-rtc.ts',
    'src/transports/web-socket.ts',
  ],
  // Which decoders they are, whoever runs or bundles this decides.
  external: ['#decoders', /\.wasm$/],
  onSuccess: forPages,
})

/**
 * dist/browser: everything that a page needs, in files that import each other by relative paths alone. A page without a
 * bundler loads them as they are; an import map would not reach its workers.
 */
async function forPages(): Promise<void> {
  const tensor = '../tensor/dist'
  const entries = ['index', 'tensor', 'models', 'distribute', 'pipeline-worker'].map(name => [name, `dist/${name}.js`])
  await build({
    entryPoints: {
      ...Object.fromEntries(entries),
      'worker-thread': '../distribute/dist/worker-thread.js',
      thread: `${tensor}/thread.js`,
    },
    outdir: 'dist/browser',
    // The workspace may be reached by links; a file is bundled once.
    absWorkingDir: fileURLToPath(new URL('.', import.meta.url)),
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
    copyFileSync(`${tensor}/prismal-${name}.wasm`, `dist/browser/prismal-${name}.wasm`)
}
