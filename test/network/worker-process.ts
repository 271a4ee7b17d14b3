/** `prismal worker` as people start it. */
import { type Running, startPrismal } from '../prismal-command.js'

export interface StartedWorker extends Running {
  readonly address: string
}

/** A worker that listens at a free port, or where the arguments say. */
export async function startWorker(...args: string[]): Promise<StartedWorker> {
  const listen = args.includes('--listen') ? [] : ['--listen', 'ws://127.0.0.1:0']
  const worker = startPrismal('worker', ...listen, ...args)
  const [, address = ''] = await worker.until(/^listening on (\S+?),? /m)
  return { ...worker, address }
}
