/** What this runtime is called. */

interface Globals {
  readonly process?: { readonly versions?: Readonly<Record<string, string | undefined>> }
  readonly navigator?: { readonly userAgent?: string }
}

const agentOf = (globals: Globals): string => globals.navigator?.userAgent ?? ''

/** Whether this is workerd, which has modules of Node without what they stand for. */
export const isWorkerd = (globals: Globals = globalThis as Globals): boolean =>
  agentOf(globals) === 'Cloudflare-Workers'

/** The version of Deno, where this is Deno. */
const denoVersion = (globals: Globals): string | undefined =>
  globals.process?.versions?.deno ?? /Deno\/([\d.]+)/.exec(agentOf(globals))?.[1]

/** Whether V8 compares every address with the size of the memory here, as it does where it may not handle faults. */
export const checksBounds = (globals: Globals = globalThis as Globals): boolean =>
  isWorkerd(globals) || denoVersion(globals) !== undefined

/** Browsers by what their user agent holds, the more particular ones first. */
const BROWSERS: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['Firefox', /Firefox\/([\d.]+)/],
  ['Edge', /Edg\/([\d.]+)/],
  ['Chromium', /Chrom(?:e|ium)\/([\d.]+)/],
  ['Safari', /Version\/([\d.]+).* Safari\//],
]

/** Name and version as far as they are told: `Node 24.21.0 (V8 13.6)`, `Deno 2.9.6`, `workerd`, `Firefox 140.0`. */
export function runtimeName(globals: Globals = globalThis as Globals): string {
  const versions = globals.process?.versions ?? {}
  const agent = agentOf(globals)
  if (isWorkerd(globals)) return 'workerd'
  // Both say that they are Node, too.
  if (versions.bun) return `Bun ${versions.bun}`
  const deno = denoVersion(globals)
  if (deno) return `Deno ${deno}`
  for (const [name, pattern] of BROWSERS) {
    const version = pattern.exec(agent)?.[1]
    if (version) return `${name} ${version}`
  }
  if (!versions.node) return 'an unknown runtime'
  const v8 = versions.v8?.split('.').slice(0, 2).join('.')
  return `Node ${versions.node}${v8 ? ` (V8 ${v8})` : ''}`
}
