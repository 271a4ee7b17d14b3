/** A worker thread of Node that computes, seen from the thread that started it: it holds a model and serves the clusters that it is part of. */
import { Worker } from 'node:worker_threads'
import { DeviceError } from './errors.js'
import type { LinkMessage } from './messages.js'
import type { FromThread, Loaded, ThreadStart, ToThread } from './worker-thread.js'

export interface ComputeOptions extends ThreadStart {
  /** Name in messages. */
  readonly name: string
  /** The script to run; default: the one beside this file. */
  readonly script?: URL
  /** Connects the thread's device to another one, when the device was asked to; default: that fails. */
  readonly dial?: (link: LinkMessage) => Promise<MessagePort>
}

export class ComputeThread {
  /** What it holds. */
  readonly loaded: Loaded
  /** Resolves with the reason once the thread has ended. */
  readonly ended: Promise<string>
  readonly #worker: Worker
  readonly #linked = new Map<string, () => void>()

  private constructor(worker: Worker, ended: Promise<string>, loaded: Loaded, dial: ComputeOptions['dial']) {
    this.#worker = worker
    this.ended = ended
    this.loaded = loaded
    worker.on('message', (message: FromThread) => {
      if ('linked' in message) this.#linked.get(`${message.session}/${message.linked}`)?.()
      else if ('dial' in message) void this.#dial(message.dial, message.link, dial)
    })
  }

  /** Resolves once the model is loaded. Throws {@link DeviceError} where it cannot be. */
  static async start({ name, script, dial, ...start }: ComputeOptions): Promise<ComputeThread> {
    const worker = new Worker(script ?? new URL('./worker-thread.js', import.meta.url), {
      workerData: start,
      name,
      execArgv: [],
    })
    const ended = new Promise<string>(resolve => {
      worker.once('error', error => resolve(`it threw ${(error as Error).message}`))
      worker.once('exit', code => resolve(`it exited with code ${code}`))
    })
    const first = await Promise.race([
      new Promise<FromThread>(resolve => worker.once('message', resolve)),
      ended.then((failed): FromThread => ({ failed })),
    ])
    if ('loaded' in first) return new ComputeThread(worker, ended, first.loaded, dial)
    await worker.terminate()
    throw new DeviceError(`${name} could not join: ${'failed' in first ? first.failed : 'it sent something else'}`)
  }

  /** Serves a coordinator over a port, as part of the cluster that `session` names. */
  open(session: string, port: MessagePort): void {
    this.#post({ session, open: port }, port)
  }

  /** Gives the session's device its end of a link to another one. Resolves when it has taken it. */
  async link(session: string, peer: number, port: MessagePort): Promise<void> {
    const taken = new Promise<void>(resolve => this.#linked.set(`${session}/${peer}`, resolve))
    this.#post({ session, link: port, peer }, port)
    const reason = await Promise.race([taken.then(() => undefined), this.ended])
    this.#linked.delete(`${session}/${peer}`)
    if (reason !== undefined) throw new DeviceError(reason)
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }

  async #dial(id: number, link: LinkMessage, dial: ComputeOptions['dial']): Promise<void> {
    try {
      if (!dial) throw new DeviceError('this device cannot dial others')
      const port = await dial(link)
      this.#post({ dialled: id, port }, port)
    } catch (error) {
      this.#post({ dialled: id, failed: (error as Error).message })
    }
  }

  // Node's types know two kinds of MessagePort, which are one.
  #post(message: ToThread, ...ports: MessagePort[]): void {
    this.#worker.postMessage(message, ports as never[])
  }
}
