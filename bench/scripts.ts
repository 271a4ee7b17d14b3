/**
 * The processes' scripts as plain JavaScript: a process then runs on Node alone, and a loader of TypeScript counts
 * neither in its time nor in its memory.
 */
import { fileURLToPath } from 'node:url'
import { build } from 'tsup'

export type Script = 'prismal-contender' | 'process-device-child' | 'onnxruntime'

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
    const own = ['prismal-contender', 'process-device-child'].map(name => [name, here(`${name}.ts`)])
    await build({ ...options, external, entry: Object.fromEntries(own), outDir: here(OUT) })
    await build({ ...options, external, entry: { onnxruntime: here('peers/onnxruntime.ts') }, outDir: here(PEERS_OUT) })
  })()
  return compiled
}
