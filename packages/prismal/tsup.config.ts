import { readFile } from 'node:fs/promises'
import type { Plugin } from 'esbuild'
import { copyCodecs } from '../../packaging/codecs.js'
import { library } from '../../packaging/library.js'

/** `require` of Node's modules, which modules of a bundle do not have, as a question that they can ask. */
const builtins: Plugin = {
  name: 'builtins of commander',
  setup: build =>
    build.onLoad({ filter: /commander[\\/]lib[\\/]\w+\.js$/ }, async ({ path }) => ({
      contents: (await readFile(path, 'utf8'))
        .replace(/\brequire\('(node:\w+)'\)/g, "process.getBuiltinModule('$1')")
        .replace(/^const process = .*$/m, ''),
    })),
}

/** The JPEG decoder's glue, which is handed its module: bundlers would follow the file that it names, or refuse to. */
const glue: Plugin = {
  name: 'glue of mozjpeg',
  setup: build =>
    build.onLoad({ filter: /mozjpeg_dec\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8')
      const assignment = 'if(import.meta.url===undefined){import.meta.url="https://localhost"}'
      if (!text.includes(assignment)) throw new Error(`${path} is another version: look at what it does with its URL`)
      return { contents: text.replace(assignment, '').replaceAll('import.meta.url', '"https://localhost"') }
    }),
}

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
  bundled: ['@jsquash/jpeg', '@jsquash/png', 'commander'],
  esbuildPlugins: [builtins, glue],
  copyFiles: copyCodecs,
  // Which decoders they are, whoever runs or bundles this decides.
  external: ['#decoders', /\.wasm$/],
})
