/** The joined devices of a cluster, and the frames that they send back. */
import { Channel } from './channel.js'
import { parseAnswer } from './checks.js'
import type { Member } from './cluster.js'
import { MOST_RUNNING } from './device.js'
import { DeviceError } from './errors.js'
import type { ErrorMessage } from './messages.js'
import { type Frame, frame, type Kind } from './wire.js'

/** A device's answer to a single frame. */
export interface Answer {
  readonly frame: Frame
  readonly milliseconds: number
}

type OnFrame = (device: number, frame: Frame) => void
type OnFailure = (error: DeviceError) => void

interface Pending {
  readonly onFrame: OnFrame
  readonly onFailure: OnFailure
  /** Whether the request is lost with a device. */
  readonly uses: (device: number) => boolean
}

export class Devices {
  readonly members: readonly Member[]
  /** What is not as it should be, for reports. */
  readonly notes: string[] = []
  readonly #channels: readonly Channel[]
  readonly #pending = new Map<number, Pending>()
  readonly #running = new Set<number>()
  readonly #waiting = new Set<() => void>()
  /** Devices that have ended, the first one first. */
  readonly #lost = new Map<number, DeviceError>()
  #disposed: DeviceError | undefined
  #requests = 0

  constructor(members: readonly Member[]) {
    this.members = members
    this.#channels = members.map(({ name, control }, device) => {
      const channel = new Channel(control)
      channel.receive(f => {
        const answer = parseAnswer(f)
        this.#pending.get(f.request)?.onFrame(device, answer)
      })
      channel.closed.then(reason => this.#lose(device, new DeviceError(`device ${device} (${name}) ended: ${reason}`)))
      return channel
    })
  }

  /**
   * Opens a request to run, once fewer than the most run: its frames go to `onFrame`, the end of a device that it uses to
   * `onFailure`. Rejects where such a device has ended, and with the signal's reason.
   */
  async run(pending: Pending, signal?: AbortSignal): Promise<number> {
    while (this.#running.size >= MOST_RUNNING && !this.#lack(pending) && !signal?.aborted)
      await new Promise<void>(resolve => {
        const wake = (): void => {
          signal?.removeEventListener('abort', wake)
          this.#waiting.delete(wake)
          resolve()
        }
        this.#waiting.add(wake)
        signal?.addEventListener('abort', wake)
      })
    if (signal?.aborted) this.#wakeNext()
    signal?.throwIfAborted()
    const request = this.#open(pending)
    this.#running.add(request)
    return request
  }
  #open(pending: Pending): number {
    const lack = this.#lack(pending)
    if (lack) throw lack
    this.#requests = (this.#requests + 1) >>> 0
    this.#pending.set(this.#requests, pending)
    return this.#requests
  }
  /** Why a request cannot be answered any more, where it cannot. */
  #lack({ uses }: Pending): DeviceError | undefined {
    for (const [device, error] of this.#lost) if (uses(device)) return this.#disposed ?? error
    return this.#disposed
  }
  send(device: number, frame: Frame): void {
    this.#channels[device]?.send(frame)
  }
  close(request: number): void {
    this.#pending.delete(request)
    if (this.#running.delete(request)) this.#wakeNext()
  }
  #wakeNext(): void {
    const [wake] = this.#waiting
    wake?.()
  }

  /**
   * Sends a frame of this kind and gives the first one that comes back, and the milliseconds until it came. Throws
   * {@link DeviceError} where the device fails, or says nothing for `timeoutMs`.
   */
  async ask(device: number, kind: Kind, more: Partial<Frame>, timeoutMs: number): Promise<Answer> {
    const name = `device ${device} (${this.members[device]?.name})`
    let request = 0
    let timer: ReturnType<typeof setTimeout> | undefined
    try {
      return await new Promise<Answer>((resolve, reject) => {
        const onFrame: OnFrame = (_, answer) => {
          const milliseconds = performance.now() - started
          if (answer.kind !== 'error') resolve({ frame: answer, milliseconds })
          else reject(new DeviceError(`${name}: ${(answer.json as ErrorMessage).message}`))
        }
        request = this.#open({ onFrame, onFailure: reject, uses: other => other === device })
        timer = setTimeout(
          () => reject(new DeviceError(`${name} did not answer a ${kind} within ${timeoutMs} ms`)),
          timeoutMs,
        )
        const started = performance.now()
        this.send(device, frame(kind, request, more))
      })
    } finally {
      clearTimeout(timer)
      this.close(request)
    }
  }

  async end(): Promise<void> {
    this.#disposed ??= new DeviceError('the cluster was disposed')
    await endAll(this.members)
  }

  #lose(device: number, error: DeviceError): void {
    this.#lost.set(device, error)
    for (const { uses, onFailure } of [...this.#pending.values()]) if (uses(device)) onFailure(this.#disposed ?? error)
    for (const wake of [...this.#waiting]) wake()
  }
}

/** Ends members, also where one fails to; then rejects with its error. */
export async function endAll(members: readonly Member[]): Promise<void> {
  const ends = await Promise.allSettled(members.map(member => member.end()))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}
