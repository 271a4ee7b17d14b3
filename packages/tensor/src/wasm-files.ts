/** The kernels as files beside this one. */
import type { Build } from './backends/backend.js'

/** Where the kernels of a build lie. Written out so that bundlers see every file. */
export function kernelFile(build: Build, shared: boolean): URL {
  if (build === 'relaxed-simd')
    return shared
      ? new URL('./prismal-relaxed-simd-threads.wasm', import.meta.url)
      : new URL('./prismal-relaxed-simd.wasm', import.meta.url)
  return shared
    ? new URL('./prismal-simd-threads.wasm', import.meta.url)
    : new URL('./prismal-simd.wasm', import.meta.url)
}
