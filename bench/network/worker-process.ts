/** `prismal worker` as anyone would start it: a process with one thread that computes. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { atExit } from '../endings.js'
import { LineProcess } from '../line-process.js'
import type { WeightDtype } from '../peer-cases.js'
import type { Host } from './namespaces.js'

const COMMAND = fileURLToPath(new URL('../../packages/prismal/bin/prismal.js', import.meta.url))

export interface WorkerStart {
  readonly folder: string
  readonly dtype: WeightDtype
  readonly secretFile?: string
  /** Where it runs; default: here, on loopback. */
  readonly host?: Host
}

export class WorkerProcess {
  /** Where it listens. */
  readonly address: string
  readonly #process: LineProcess

  private constructor(process: LineProcess, address: string) {
    this.#process = process
    this.address = address
  }

  static async start({ folder, dtype, secretFile, host }: WorkerStart): Promise<WorkerProcess> {
    const [command, ...args] = [
      ...(host?.enter ?? []),
      ...[process.execPath, COMMAND, 'worker', '--model', folder, '--dtype', dtype, '--threads', '1'],
      ...['--listen', `ws://${host?.address ?? '127.0.0.1'}:0`],
      ...(secretFile === undefined ? [] : ['--secret-file', secretFile]),
    ] as [string, ...string[]]
    const worker = new LineProcess('prismal worker', command, args)
    const line = await worker.line()
    const address = /^listening on (\S+)/.exec(line)?.[1]
    if (address !== undefined) return new WorkerProcess(worker, address)
    await worker.end('SIGTERM')
    throw new Error(`prismal worker says "${line}" rather than where it listens`)
  }

  /** Resolves when it is gone. */
  end(): Promise<void> {
    return this.#process.end('SIGTERM')
  }
}

/** A secret as `prismal secret` makes them, in a file that only its owner reads. */
export interface SecretFile {
  readonly path: string
  remove(): void
}

export function secretFile(): SecretFile {
  const folder = mkdtempSync(join(tmpdir(), 'prismal-bench-'))
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  const forget = atExit(remove)
  const path = join(folder, 'secret')
  execFileSync(process.execPath, [COMMAND, 'secret', '--out', path], { stdio: ['ignore', 'ignore', 'pipe'] })
  return {
    path,
    remove() {
      forget()
      remove()
    },
  }
}
