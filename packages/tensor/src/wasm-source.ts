/** Finds and compiles the wasm file of a build, in whatever runtime this is. */
import type { Build } from './backends/backend.js'
import { UnavailableError } from './errors.js'

/** A compiled module, its bytes, or where they lie. */
export type ModuleSource = WebAssembly.Module | ArrayBuffer | ArrayBufferView<ArrayBuffer> | URL | string

/** Where the kernels of a build are, for one thread or for a memory that threads share; undefined where they did not come along. */
export type KernelsOf = (build: Build, shared: boolean) => ModuleSource | undefined

/** Compiles the kernels of `build`. Throws {@link UnavailableError} where they cannot be had or compiled, and the signal's reason. */
export async function compile(build: Build, source: ModuleSource, signal?: AbortSignal): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source
  const isLocation = source instanceof URL || typeof source === 'string'
  try {
    return await WebAssembly.compile(isLocation ? await read(source, signal) : source)
  } catch (cause) {
    signal?.throwIfAborted()
    throw unusable(build, source, cause)
  }
}

/** What runtimes and policies say that compile nothing while they run. */
const FORBIDDEN = /code generation disallowed|unsafe-eval|content security policy|blocked by CSP/i

/** The error for a source that gave no kernels. */
export function unusable(build: Build, source: ModuleSource, cause: unknown): UnavailableError {
  const isLocation = source instanceof URL || typeof source === 'string'
  const what = isLocation
    ? String(source)
    : source instanceof WebAssembly.Module
      ? 'the module given'
      : 'the bytes given'
  const reason = cause instanceof Error ? cause.message : String(cause)
  const advice = FORBIDDEN.test(reason)
    ? "; give createEngine a WebAssembly.Module (in workerd: a static import of the .wasm file), allow 'wasm-unsafe-eval' in the content security policy, or ask for the slow backend 'reference'"
    : ''
  return new UnavailableError(`wasm: the ${build} kernels could not be loaded from ${what}: ${reason}${advice}`, {
    cause,
  })
}

async function read(location: URL | string, signal?: AbortSignal): Promise<ArrayBuffer | Uint8Array<ArrayBuffer>> {
  const url = location instanceof URL ? location : URL.canParse(location) ? new URL(location) : location
  const isFile = typeof url === 'string' || url.protocol === 'file:'
  // fetch does not read files in Node, and an import of node:fs would break a browser's bundle.
  const fs = isFile ? globalThis.process?.getBuiltinModule?.('node:fs') : undefined
  if (fs) return new Uint8Array(fs.readFileSync(url))
  const response = await fetch(url, signal ? { signal } : {})
  if (!response.ok) throw new Error(`HTTP ${response.status}`)
  return await response.arrayBuffer()
}
