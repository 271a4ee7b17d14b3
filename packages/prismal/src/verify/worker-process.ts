/** `prismal worker` in a process of its own: what a case over a network is run on. */
import type { ChildProcess } from 'node:child_process'
import { DeviceError } from '@prismal/distribute'

export interface WorkerProcess {
  /** Where it listens. */
  readonly addresses: readonly string[]
  readonly pid: number
  /** Ends it. Resolves when it is gone. */
  end(): Promise<void>
}

/** Starts a worker with these arguments and waits until it listens. Throws {@link DeviceError} with what it said where it does not. */
export async function startWorker(args: readonly string[]): Promise<WorkerProcess> {
  // Asked for at run time: imports would break a browser's bundle.
  const builtin = globalThis.process?.getBuiltinModule
  const [processes, url] = [builtin?.('node:child_process'), builtin?.('node:url')]
  if (!processes || !url) throw new DeviceError('a worker did not start: this runtime has no processes')
  const cli = url.fileURLToPath(new URL(/* webpackIgnore: true */ /* @vite-ignore */ './cli.js', import.meta.url))
  return listening(processes.spawn(process.execPath, [cli, 'worker', ...args], { stdio: ['ignore', 'pipe', 'pipe'] }))
}

function listening(child: ChildProcess): Promise<WorkerProcess> {
  let out = ''
  let err = ''
  const gone = new Promise<void>(resolve => child.once('close', () => resolve()))
  // The worker ends with this process, however that ends.
  const onExit = (): void => void child.kill('SIGKILL')
  process.once('exit', onExit)
  void gone.then(() => process.off('exit', onExit))
  const end = async (): Promise<void> => {
    child.kill('SIGTERM')
    await gone
  }
  return new Promise((resolve, reject) => {
    child.stderr?.on('data', chunk => {
      err += chunk
    })
    child.stdout?.on('data', chunk => {
      out += chunk
      const found = /^listening on (\S+(?:, \S+)*) · /m.exec(out)?.[1]
      if (found) resolve({ addresses: found.split(', '), pid: child.pid as number, end })
    })
    child.once('error', reject)
    void gone.then(() => reject(new DeviceError(`a worker did not start: ${(err || out).trim()}`)))
  })
}
