/** Finds and compiles the wasm file of a build, in whatever runtime this is. */
import type { Build } from './backends/backend.js'
import { UnavailableError } from './errors.js'

/** A compiled module, its bytes, or where they lie. */
export type ModuleSource = WebAssembly.Module | ArrayBuffer | ArrayBufferView<ArrayBuffer> | URL | string

// Written out so that bundlers see every file.
const beside = (build: Build, shared: boolean): URL => {
  if (build === 'relaxed-simd')
    return shared
      ? new URL('./prismal-relaxed-simd-threads.wasm', import.meta.url)
      : new URL('./prismal-relaxed-simd.wasm', import.meta.url)
  return shared
    ? new URL('./prismal-simd-threads.wasm', import.meta.url)
    : new URL('./prismal-simd.wasm', import.meta.url)
}

/**
 * Compiles the kernels of `build`, by default those beside this file for a memory that threads share or not. Throws
 * {@link UnavailableError} where the file cannot be had or compiled.
 */
export async function compile(
  build: Build,
  shared: boolean,
  source: ModuleSource = beside(build, shared),
): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source
  const isLocation = source instanceof URL || typeof source === 'string'
  try {
    return await WebAssembly.compile(isLocation ? await read(source) : source)
  } catch (cause) {
    throw unusable(build, shared, source, cause)
  }
}

/** The error for a source that gave no kernels. */
export function unusable(
  build: Build,
  shared: boolean,
  source: ModuleSource = beside(build, shared),
  cause: unknown,
): UnavailableError {
  const isLocation = source instanceof URL || typeof source === 'string'
  const what = isLocation
    ? String(source)
    : source instanceof WebAssembly.Module
      ? 'the module given'
      : 'the bytes given'
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new UnavailableError(`wasm: the ${build} kernels could not be loaded from ${what}: ${reason}`, { cause })
}

async function read(location: URL | string): Promise<ArrayBuffer | Uint8Array<ArrayBuffer>> {
  const url = location instanceof URL ? location : URL.canParse(location) ? new URL(location) : location
  const isFile = typeof url === 'string' || url.protocol === 'file:'
  // fetch does not read files in Node, and an import of node:fs would break a browser's bundle.
  const fs = isFile ? globalThis.process?.getBuiltinModule?.('node:fs') : undefined
  if (fs) return new Uint8Array(fs.readFileSync(url))
  const response = await fetch(url)
  if (!response.ok) throw new Error(`HTTP ${response.status}`)
  return await response.arrayBuffer()
}
