import { copyFileSync } from 'node:fs'
import { library } from '../../tsup.shared.js'

export default library({
  entry: { index: 'src/index.ts', workerd: 'src/workerd.ts', thread: 'src/threads/thread.ts' },
  external: [/\.wasm$/],
  noExternal: ['@prismal/kernels'],
  onSuccess: async () => {
    for (const build of ['simd', 'relaxed-simd', 'simd-threads', 'relaxed-simd-threads'])
      copyFileSync(`../../kernels-as/build/prismal-${build}.wasm`, `dist/prismal-${build}.wasm`)
  },
})
