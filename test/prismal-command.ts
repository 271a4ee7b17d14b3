/** The commands as a person runs them: a process, and what it leaves when it ends. */
import { type ChildProcess, spawn } from 'node:child_process'

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

/** Starts `prismal …`. */
export const startPrismal = (...args: string[]): ChildProcess =>
  spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })

/** What a process wrote until its end. Rejects where it could not be started. */
export function ended(child: ChildProcess): Promise<Ended> {
  let [out, err] = ['', '']
  child.stdout?.on('data', chunk => {
    out += chunk
  })
  child.stderr?.on('data', chunk => {
    err += chunk
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal, out, err }))
  })
}

/** Runs `prismal …` and waits for its end. */
export const prismal = (...args: string[]): Promise<Ended> => ended(startPrismal(...args))
