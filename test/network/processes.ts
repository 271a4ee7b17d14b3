/** Processes of the command, as people start them, and how they end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { afterEach } from 'vitest'
import { CLI } from '../prismal-command.js'

export interface Ended {
  readonly code: number | null
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

export function start(
  file: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): Running {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options })
  const said = { out: '', err: '' }
  const watchers = new Set<() => void>()
  child.stdout.on('data', chunk => {
    said.out += chunk
    for (const look of watchers) look()
  })
  child.stderr.on('data', chunk => {
    said.err += chunk
    for (const look of watchers) look()
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => resolve({ code, ...said }))
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

/** `prismal …`, run to its end. */
export const prismal = (...args: string[]): Promise<Ended> => start(process.execPath, [CLI, ...args]).ended

export interface StartedWorker extends Running {
  readonly address: string
}

/** A worker that listens at a free port, or where the arguments say. */
export async function startWorker(...args: string[]): Promise<StartedWorker> {
  const listen = args.includes('--listen') ? [] : ['--listen', 'ws://127.0.0.1:0']
  const worker = start(process.execPath, [CLI, 'worker', ...listen, ...args])
  const [, address = ''] = await worker.until(/^listening on (\S+?),? /m)
  return { ...worker, address }
}
