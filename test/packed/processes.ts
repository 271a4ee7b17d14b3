/** Scripts in runtimes that are processes: Node, Deno and Bun. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { transformSync } from 'esbuild'
import { RUNTIMES, type Runtime } from './runtimes.js'

/** The runtimes that run a file, and what makes each of them run one. */
export const COMMANDS = {
  'Node 20': [],
  'Node 22': [],
  'Node 24': [],
  'Node 26': [],
  // As npm installed them, and whatever the script asks for.
  Deno: ['run', '--allow-all', '--node-modules-dir=manual', '--no-lock', '--cached-only'],
  Bun: ['run'],
} as const satisfies { [R in Runtime]?: readonly string[] }
export type ProcessRuntime = keyof typeof COMMANDS
export const PROCESS_RUNTIMES = Object.keys(COMMANDS) as ProcessRuntime[]

const here = fileURLToPath(new URL('.', import.meta.url))

/** Copies scripts of this folder into a project, without their types. */
export function copyScripts(project: string, ...names: readonly string[]): void {
  for (const name of names) {
    const { code } = transformSync(readFileSync(join(here, `${name}.ts`), 'utf8'), { loader: 'ts', format: 'esm' })
    const to = join(project, `${name}.js`)
    mkdirSync(dirname(to), { recursive: true })
    writeFileSync(to, code)
  }
}

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly milliseconds: number
}
export interface RunOptions {
  readonly cwd: string
  /** For the runtime, before the script: replaces what {@link COMMANDS} has. */
  readonly flags?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Starts a script in a runtime. Variables that configure Node stay behind. */
export function start(
  runtime: ProcessRuntime,
  [script, ...rest]: readonly [string, ...string[]],
  { cwd, flags = COMMANDS[runtime], env }: RunOptions,
): ChildProcess {
  const { NODE_OPTIONS: _options, CI: _ci, ...inherited } = process.env
  return spawn(RUNTIMES[runtime], [...flags, script, ...rest], {
    cwd,
    env: { ...inherited, NO_COLOR: '1', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

/** Runs a script to its end. */
export function run(runtime: ProcessRuntime, command: readonly [string, ...string[]], options: RunOptions) {
  const started = performance.now()
  const child = start(runtime, command, options)
  const text = { stdout: '', stderr: '' }
  child.stdin?.end()
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (piece: string) => {
      text[name] += piece
    })
  return new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => resolve({ code, ...text, milliseconds: performance.now() - started }))
  })
}

/** What a script printed as JSON in its last line. Throws with all that it said where it failed. */
export async function runForJson<T>(...run_: Parameters<typeof run>): Promise<T> {
  const { code, stdout, stderr } = await run(...run_)
  if (code === 0)
    try {
      return JSON.parse(stdout.trimEnd().split('\n').at(-1) as string) as T
    } catch {}
  throw new Error(`${run_[0]} ended with ${code}:\n${stdout}\n${stderr}`)
}
