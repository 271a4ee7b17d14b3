import { copyFileSync } from 'node:fs'
import { library } from '../../tsup.shared.js'

export default library({
  entry: ['src/index.ts'],
  noExternal: ['@prismal/kernels'],
  onSuccess: async () => {
    for (const build of ['simd', 'relaxed-simd'])
      copyFileSync(`../../kernels-as/build/prismal-${build}.wasm`, `dist/prismal-${build}.wasm`)
  },
})
