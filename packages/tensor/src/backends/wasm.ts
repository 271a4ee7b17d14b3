/** The WebAssembly backend: binds a compiled kernel module to one memory, and says which builds this runtime can run. */
import { KERNEL_NAMES, type Kernels } from '@prismal/kernels/catalogue'
import { catalogueDigest, VERSION_SECTION } from '@prismal/kernels/digest'
import type { Build } from './backend.js'

/**
 * The catalogue's kernels from `module` (one of the `prismal-*.wasm` files), working on `memory`. Addresses are byte
 * offsets; a kernel that has nothing to report returns 0. Rejects where the runtime cannot run the module or it was built
 * from another catalogue, whose kernels would misread their arguments.
 */
export async function wasmKernels(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<Kernels> {
  checkVersion(module)
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } })
  const bind = (name: string) => {
    const kernel = exports[name] as ((...parameters: number[]) => number | undefined) | undefined
    if (kernel === undefined) throw new TypeError(`the module has no kernel ${name}`)
    return [name, (...parameters: number[]) => kernel(...parameters) ?? 0] as const
  }
  return Object.fromEntries(KERNEL_NAMES.map(bind)) as unknown as Kernels
}

/** Throws unless the module says that it was built from this catalogue. */
function checkVersion(module: WebAssembly.Module): void {
  const [[found], here] = [versionOf(module), catalogueDigest()]
  if (found === here) return
  throw new TypeError(
    found === undefined
      ? 'it does not say which version of the kernels it is; take the prismal-….wasm file that came with this script'
      : `it is of another version (kernels ${found}) than this script (${here}); take the file that came with it`,
  )
}

/** The digest of the catalogue that a module was built from, and the build that it is, as far as it says them. */
function versionOf(module: WebAssembly.Module): (string | undefined)[] {
  const [section] = WebAssembly.Module.customSections(module, VERSION_SECTION)
  return section ? new TextDecoder().decode(section).split(' ').reverse() : []
}

/** The build that a module is, where it is of this package. */
export const builtAs = (module: WebAssembly.Module): Build | undefined => versionOf(module)[1] as Build | undefined

/** What this runtime can run, found by validating tiny modules; nothing is compiled. */
export function detectWasm(): { webassembly: boolean; simd: boolean; relaxedSimd: boolean } {
  const webassembly = typeof WebAssembly === 'object' && typeof WebAssembly.validate === 'function'
  return {
    webassembly,
    simd: webassembly && WebAssembly.validate(moduleOf(SIMD)),
    relaxedSimd: webassembly && WebAssembly.validate(moduleOf(RELAXED_SIMD)),
  }
}

/** i32.const 0; i8x16.splat */
const SIMD = [0x41, 0, 0xfd, 0x0f]
/** Three times (i32.const 0; i8x16.splat); f32x4.relaxed_madd (0x105, as LEB128) */
const RELAXED_SIMD = [...SIMD, ...SIMD, ...SIMD, 0xfd, 0x85, 0x02]

/** A module of one function () → v128 with this body. */
function moduleOf(body: readonly number[]): Uint8Array<ArrayBuffer> {
  const code = [0, ...body, 0x0b] // no locals; …; end
  return new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
    ...[1, 5, 1, 0x60, 0, 1, 0x7b], // types: one, () → v128
    ...[3, 2, 1, 0], // functions: one, of type 0
    ...[10, code.length + 2, 1, code.length, ...code], // code: one body
  ])
}
