/** The kernels as files beside this one. */
import type { Build } from './backends/backend.js'
import { UnavailableError } from './errors.js'

/** Where the kernels of a build lie. Throws {@link UnavailableError} in a script that does not know where it is. */
export function kernelFile(build: Build, shared: boolean): URL {
  try {
    return fileBeside(build, shared)
  } catch (cause) {
    throw new UnavailableError(
      'wasm: this script does not know where it is (import.meta.url is empty): bundle as ES modules, or give the kernels as `module`',
      { cause },
    )
  }
}

// Written out so that bundlers see every file.
function fileBeside(build: Build, shared: boolean): URL {
  if (build === 'relaxed-simd')
    return shared
      ? new URL('./prismal-relaxed-simd-threads.wasm', import.meta.url)
      : new URL('./prismal-relaxed-simd.wasm', import.meta.url)
  return shared
    ? new URL('./prismal-simd-threads.wasm', import.meta.url)
    : new URL('./prismal-simd.wasm', import.meta.url)
}
