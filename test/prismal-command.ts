/** The commands as people run them: processes, what they say, and how they end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { afterEach } from 'vitest'

/** `prismal`, in the repository after a build. */
export const CLI = 'packages/prismal/bin/prismal.js'
/** `prismal-weights`. */
export const WEIGHTS_CLI = 'weights-tools/bin/prismal-weights.js'

export interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly out: string
  readonly err: string
}

/** A process that was started, and what it has said so far. */
export interface Running {
  readonly child: ChildProcess
  readonly pid: number
  readonly said: { out: string; err: string }
  readonly ended: Promise<Ended>
  /** Resolves with the match once its output or errors match. Rejects where it ends before. */
  until(pattern: RegExp): Promise<RegExpExecArray>
  /** Asks it to end and waits until it has. */
  end(signal?: NodeJS.Signals): Promise<Ended>
}

const running = new Set<Running>()
/** Whatever a test leaves running is ended after it. */
afterEach(async () => {
  await Promise.all([...running].map(each => each.end('SIGKILL')))
})

export interface StartOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /** An open file that its output goes to. */
  readonly stdout?: number | 'pipe'
}

/** Starts a command. */
export function start(
  file: string,
  args: readonly string[],
  { stdout = 'pipe', ...options }: StartOptions = {},
): Running {
  const child = spawn(file, args, { stdio: ['ignore', stdout, 'pipe'], ...options })
  const said = { out: '', err: '' }
  const watchers = new Set<() => void>()
  child.stdout?.on('data', chunk => {
    said.out += chunk
    for (const look of watchers) look()
  })
  child.stderr?.on('data', chunk => {
    said.err += chunk
    for (const look of watchers) look()
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal, ...said }))
  })
  const process: Running = {
    ...{ child, pid: child.pid as number, said, ended },
    until: pattern =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const match = pattern.exec(said.out) ?? pattern.exec(said.err)
          if (!match) return
          watchers.delete(look)
          resolve(match)
        }
        watchers.add(look)
        look()
        ended.then(({ code, out, err }) => reject(new Error(`it ended with ${code} before: ${out}${err}`)), reject)
      }),
    end(signal = 'SIGTERM') {
      child.kill(signal)
      return ended
    },
  }
  running.add(process)
  void ended.finally(() => running.delete(process)).catch(() => {})
  return process
}

/** Starts `prismal …`. */
export const startPrismal = (...args: string[]): Running => start(process.execPath, [CLI, ...args])

/** Runs `prismal …` to its end. */
export const prismal = (...args: string[]): Promise<Ended> => startPrismal(...args).ended
