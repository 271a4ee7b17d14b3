/** Programs as people start them: a process of its own that runs until it ends by itself. */
import { spawn } from 'node:child_process'

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs a module of JavaScript in the repository's folder and waits for its end. */
export function runProgram(source: string, flags: readonly string[] = []): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const args = [...flags, '--no-warnings', '--input-type=module', '--eval', source]
    // One that does not end by itself is killed, and has no exit code.
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000 })
    const texts = { out: '', err: '' }
    child.stdout.on('data', chunk => {
      texts.out += chunk
    })
    child.stderr.on('data', chunk => {
      texts.err += chunk
    })
    child.once('error', reject)
    child.once('close', code => resolve({ code, ...texts }))
  })
}
