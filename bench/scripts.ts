/**
 * The processes' scripts as plain JavaScript: a process then runs on Node alone, and a loader of TypeScript counts
 * neither in its time nor in its memory.
 */
import { fileURLToPath } from 'node:url'
import { build } from 'tsup'

/** Those that need no peers, and their sources. */
const OWN = {
  'prismal-contender': 'prismal-contender.ts',
  'process-device-child': 'process-device-child.ts',
  'network-coordinator': 'network/coordinator.ts',
  'network-exchange-side': 'network/exchange-side.ts',
} as const
export type Script = keyof typeof OWN | 'onnxruntime'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const OUT = '.cache/scripts'
/** Beside the packages that it imports. */
const PEERS_OUT = 'peers/dist'

export const scriptPath = (script: Script): string =>
  here(`${script === 'onnxruntime' ? PEERS_OUT : OUT}/${script}.mjs`)

let compiled: Promise<void> | undefined

/** Compiles all of them, once. Resolves when they are there. */
export function compileScripts(): Promise<void> {
  compiled ??= (async () => {
    const options = {
      config: false,
      silent: true,
      format: 'esm',
      target: 'node20',
      outExtension: () => ({ js: '.mjs' }),
    } as const
    const external = [/^@prismal\//, /^onnxruntime/]
    const own = Object.entries(OWN).map(([name, source]) => [name, here(source)])
    await build({ ...options, external, entry: Object.fromEntries(own), outDir: here(OUT) })
    await build({ ...options, external, entry: { onnxruntime: here('peers/onnxruntime.ts') }, outDir: here(PEERS_OUT) })
  })()
  return compiled
}
