/** What every package's build has in common: ESM for ES2022, types, no bundled dependencies. */
import { defineConfig, type Options } from 'tsup'

export const library = (options: Options) =>
  defineConfig({
    format: 'esm',
    target: 'es2022',
    // tsup sets baseUrl, which TypeScript 6 deprecates.
    dts: { resolve: ['@prismal/kernels/catalogue'], compilerOptions: { ignoreDeprecations: '6.0' } },
    sourcemap: true,
    clean: true,
    splitting: true,
    treeshake: true,
    removeNodeProtocol: false,
    ...options,
  })
