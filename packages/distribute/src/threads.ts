/** @prismal/distribute/threads: devices in worker threads of Node, one engine each. */
import { Worker } from 'node:worker_threads'
import type { Model } from '@prismal/models'
import type { Build, Precision } from '@prismal/tensor'
import type { DeviceSource, Member } from './cluster.js'
import { DeviceError } from './errors.js'
import { portConnection } from './transports/message-port.js'
import type { Joined, Linked, ThreadMessage, ThreadStart } from './worker-thread.js'

export interface ThreadOptions {
  /** The build that the thread's engine runs; default: the coordinator's. */
  readonly build?: Build
  /** How the thread stores weight matrices; default: as the coordinator does. */
  readonly dtype?: Precision
  /**
   * Threads that the device's engine computes with, or `'auto'` for as many as there are cores; default: 1. Devices on
   * one machine share its cores.
   */
  readonly threads?: number | 'auto'
  readonly name?: string
  /** The script to run; default: the one beside this file. */
  readonly script?: URL
}

/** A device in a worker thread, which loads the model itself from where the coordinator has it. */
export function thread(options: ThreadOptions = {}): DeviceSource {
  const { name = 'thread' } = options
  return { name, join: model => joinThread(model, name, options) }
}

async function joinThread(model: Model, name: string, options: ThreadOptions): Promise<Member> {
  const { build = model.engine.build, dtype = model.precision, threads = 1 } = options
  const { script = new URL('./worker-thread.js', import.meta.url) } = options
  const { port1: ours, port2: theirs } = new MessageChannel()
  const start: ThreadStart = { location: model.location, build, dtype, threads, control: theirs }
  // Node's types know two kinds of MessagePort, which are one.
  const worker = new Worker(script, { workerData: start, transferList: [theirs as never], name })
  const control = portConnection(ours)
  const ended = new Promise<string>(resolve => {
    worker.once('error', error => resolve(`it threw ${(error as Error).message}`))
    worker.once('exit', code => resolve(`it exited with code ${code}`))
  })
  const joined = await Promise.race([
    new Promise<Joined>(resolve => worker.once('message', resolve)),
    ended.then((reason): Joined => ({ error: reason })),
  ])
  if ('error' in joined) {
    await worker.terminate()
    throw new DeviceError(`${name} could not join: ${joined.error}`)
  }
  ended.then(reason => control.close(reason))
  return {
    name,
    control,
    ...joined,
    takes: 'port',
    async link(peer, end) {
      if (!('port' in end)) throw new DeviceError(`${name} lives in another thread and takes ports, not connections`)
      const message: ThreadMessage = { peer, port: end.port }
      const linked = new Promise<Linked>(resolve => worker.once('message', resolve))
      worker.postMessage(message, [end.port as never])
      const reason = await Promise.race([linked.then(() => undefined), ended])
      if (reason !== undefined) throw new DeviceError(`${name} could not join: ${reason}`)
    },
    async end() {
      control.close('the cluster was disposed')
      await worker.terminate()
    },
  }
}
