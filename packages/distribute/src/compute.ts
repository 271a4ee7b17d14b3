/** A thread that computes, seen from the one that started it: it holds a model and serves the clusters that it is part of. */
import { type OwnScript, startThread, type Thread, type ThreadScript } from '@prismal/tensor'
import { DeviceError } from './errors.js'
import type { LinkMessage } from './messages.js'
import type { FromThread, Loaded, ThreadStart, ToThread } from './worker-thread.js'

const OWN: OwnScript = {
  // Not for bundlers: they would keep the script once more, as a file that nothing reads.
  url: () => new URL(/* webpackIgnore: true */ /* @vite-ignore */ './worker-thread.js', import.meta.url),
  start: () => new Worker(new URL('./worker-thread.js', import.meta.url), { type: 'module' }),
}

export interface ComputeOptions extends ThreadStart {
  /** Name in messages. */
  readonly name: string
  /** The script to run; default: the one beside this file. */
  readonly script?: ThreadScript
  /** Connects the thread's device to another one, when the device was asked to; default: that fails. */
  readonly dial?: (link: LinkMessage) => Promise<MessagePort>
}

export class ComputeThread {
  /** What it holds. */
  readonly loaded: Loaded
  /** Resolves with the reason once the thread has ended. */
  readonly ended: Promise<string>
  readonly #thread: Thread
  readonly #linked = new Map<string, () => void>()

  private constructor(thread: Thread, loaded: Loaded, dial: ComputeOptions['dial']) {
    this.#thread = thread
    this.ended = thread.ended
    this.loaded = loaded
    thread.onMessage(told => {
      const message = told as FromThread
      if ('linked' in message) this.#linked.get(`${message.session}/${message.linked}`)?.()
      else if ('dial' in message) void this.#dial(message.dial, message.link, dial)
    })
  }

  /** Resolves once the model is loaded. Throws {@link DeviceError} where it cannot be. */
  static async start({ name, script, dial, ...start }: ComputeOptions): Promise<ComputeThread> {
    const thread = begin(name, script)
    const first = await Promise.race([
      new Promise<FromThread>(resolve => {
        thread.onMessage(told => resolve(told as FromThread))
        thread.post({ start } satisfies ToThread)
      }),
      thread.ended.then((failed): FromThread => ({ failed })),
    ])
    if ('loaded' in first) return new ComputeThread(thread, first.loaded, dial)
    await thread.terminate()
    throw cannotJoin(name, 'failed' in first ? first.failed : 'it sent something else')
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
    await this.#thread.terminate()
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

  #post(message: ToThread, ...ports: MessagePort[]): void {
    this.#thread.post(message, ports)
  }
}

function begin(name: string, script: ThreadScript | undefined): Thread {
  try {
    return startThread(name, script, OWN)
  } catch (cause) {
    throw cannotJoin(name, `its thread cannot be started: ${cause instanceof Error ? cause.message : cause}`, cause)
  }
}

const cannotJoin = (name: string, why: string, cause?: unknown): DeviceError =>
  new DeviceError(`${name} could not join: ${why}`, { cause })
