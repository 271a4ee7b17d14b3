/** The kernels as modules that come with the script: workerd compiles WebAssembly before it runs, never while. */
import type { Build } from './backends/backend.js'
import relaxedSimd from './prismal-relaxed-simd.wasm'
import simd from './prismal-simd.wasm'

/** The kernels of a build; none for threads, which workerd does not have. */
export function kernelModule(build: Build, shared: boolean): WebAssembly.Module | undefined {
  if (shared) return undefined
  return build === 'relaxed-simd' ? relaxedSimd : simd
}
