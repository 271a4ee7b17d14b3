/** workerd: a script bundled as Cloudflare's tools do it, and a server of it on loopback. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import type { Readable } from 'node:stream'
import { build, type Plugin } from 'esbuild'
import { RUNTIMES } from './runtimes.js'

export interface WorkerOptions {
  /** The folder with the packages, where the bundle is written too. */
  readonly project: string
  /** The script's text: an ES module whose default export has `fetch`. */
  readonly script: string
  /** More modules, of bytes: paths by the names, ending in `.bin`, that the script imports them by. */
  readonly data?: Readonly<Record<string, string>>
  /** Whether Node's built-in modules are there, as they are from 2026-08-04 on. Default: true. */
  readonly nodeCompat?: boolean
  /** Of V8, e.g. `--expose-gc`. */
  readonly v8Flags?: readonly string[]
}

export interface RunningWorker {
  readonly url: string
  /** When its process was started, as `performance.now()` has it. */
  readonly startedAt: number
  /** Bytes of the bundle's JavaScript, and its wasm files. */
  readonly bundle: { readonly bytes: number; readonly wasm: readonly string[] }
  /** What it has written so far. */
  output(): string
  stop(): Promise<void>
}

/** Bundles the script and serves it. Throws with what workerd said where it does not start. */
export async function startWorkerd(options: WorkerOptions): Promise<RunningWorker> {
  const folder = mkdtempSync(join(options.project, 'worker-'))
  const bundle = await bundled(options, folder)
  writeFileSync(join(folder, 'config.capnp'), configuration(options, bundle.wasm, folder))
  const startedAt = performance.now()
  const child = spawn(RUNTIMES.workerd, ['serve', '--control-fd=3', 'config.capnp'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (piece: string) => {
      said += piece
    })
  const ended = new Promise<void>(resolve => child.once('close', () => resolve()))
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
  }
  const port = await Promise.race([listening(child.stdio[3] as Readable), ended])
  if (port === undefined) throw new Error(`workerd did not start:\n${said}`)
  return { url: `http://127.0.0.1:${port}/`, startedAt, bundle, output: () => said, stop }
}

/** The port that workerd tells on its control pipe. */
function listening(control: Readable): Promise<number> {
  let told = ''
  return new Promise(resolve => {
    control.setEncoding('utf8').on('data', (piece: string) => {
      told += piece
      const [, port] = /"event":"listen".*"port":(\d+)/.exec(told) ?? []
      if (port !== undefined) resolve(Number(port))
    })
  })
}

async function bundled({ project, script }: WorkerOptions, folder: string): Promise<RunningWorker['bundle']> {
  const wasm = new Set<string>()
  const { outputFiles } = await build({
    stdin: { contents: script, resolveDir: project, sourcefile: 'worker.js' },
    bundle: true,
    write: false,
    outdir: folder,
    format: 'esm',
    target: 'es2022',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['node:*', 'cloudflare:*', '*.bin'],
    plugins: [wasmModules(wasm)],
    logLevel: 'error',
  })
  const [code] = outputFiles
  writeFileSync(join(folder, 'worker.js'), code?.contents ?? '')
  for (const path of wasm) writeFileSync(join(folder, basename(path)), readFileSync(path))
  return { bytes: code?.contents.length ?? 0, wasm: [...wasm] }
}

/** Imports of wasm files stay imports, of a module beside the script. */
function wasmModules(found: Set<string>): Plugin {
  return {
    name: 'wasm-modules',
    setup({ onResolve, resolve }) {
      onResolve({ filter: /\.wasm$/ }, async ({ path, pluginData, ...rest }) => {
        if (pluginData === 'inner') return undefined
        const at = await resolve(path, { ...rest, pluginData: 'inner' })
        if (at.errors.length > 0) return { errors: at.errors }
        found.add(at.path)
        return { path: `./${basename(at.path)}`, external: true }
      })
    },
  }
}

const configuration = (
  { data = {}, nodeCompat = true, v8Flags = [] }: WorkerOptions,
  wasm: readonly string[],
  folder: string,
): string => `
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  v8Flags = ${JSON.stringify(v8Flags)},
  services = [
    (name = "main", worker = .worker),
    # Models are fetched from this machine.
    (name = "internet", network = (allow = ["public", "private", "local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
${wasm.map(path => `    (name = "${basename(path)}", wasm = embed "${basename(path)}"),`).join('\n')}
${Object.entries(data)
  .map(([name, path]) => `    (name = "${name}", data = embed "${relative(folder, path)}"),`)
  .join('\n')}
  ],
  compatibilityDate = "${nodeCompat ? '2026-11-01' : '2026-07-01'}",
);
`
