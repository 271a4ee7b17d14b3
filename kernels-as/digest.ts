/** What tells the kernels of one version from those of another: wasm files carry it, scripts compare it. */
import { catalogue, type Kernel } from './catalogue.js'

/** Raised when a kernel computes something else by the same signature: packed layouts, what an argument means. */
const KERNELS_VERSION = 1
/** The custom section of the wasm files with the name of the build, a space and {@link catalogueDigest}, as ASCII. */
export const VERSION_SECTION = 'prismal'

/** Tells catalogues apart: FNV-1a of the kernels' names, parameters and version, 8 hexadecimal digits. */
export function catalogueDigest(): string {
  const signatures = Object.entries<Kernel>(catalogue).map(
    ([name, { parameters }]) =>
      `${name}(${parameters.map(p => (p.kind === 'buffer' ? `${p.name}:${p.type}:${p.use}` : `${p.name}:${p.kind}`))})`,
  )
  let digest = 0x811c9dc5
  for (const character of [KERNELS_VERSION, ...signatures].join(';'))
    digest = Math.imul(digest ^ (character.codePointAt(0) as number), 0x01000193)
  return (digest >>> 0).toString(16).padStart(8, '0')
}
