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

export class Devices {
  readonly members: readonly Member[]
  /** What is not as it should be, for reports. */
  readonly notes: string[] = []
  readonly #channels: readonly Channel[]
  readonly #handlers = new Map<number, OnFrame>()
  readonly #failures = new Map<number, OnFailure>()
  readonly #running = new Set<number>()
  readonly #waiting = new Set<() => void>()
  #lost: DeviceError | undefined
  #requests = 0

  constructor(members: readonly Member[]) {
    this.members = members
    this.#channels = members.map(({ name, control }, device) => {
      const channel = new Channel(control)
      channel.receive(f => {
        const answer = parseAnswer(f)
        this.#handlers.get(f.request)?.(device, answer)
      })
      channel.closed.then(reason => this.#lose(new DeviceError(`device ${device} (${name}) ended: ${reason}`)))
      return channel
    })
  }

  /**
   * Opens a request to run, once fewer than the most run: its frames go to `onFrame`, the end of a device to `onFailure`.
   * Rejects where a device has ended, and with the signal's reason.
   */
  async run(onFrame: OnFrame, onFailure: OnFailure, signal?: AbortSignal): Promise<number> {
    while (this.#running.size >= MOST_RUNNING && !this.#lost && !signal?.aborted)
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
    const request = this.#open(onFrame, onFailure)
    this.#running.add(request)
    return request
  }
  #open(onFrame: OnFrame, onFailure: OnFailure): number {
    if (this.#lost) throw this.#lost
    this.#requests = (this.#requests + 1) >>> 0
    const request = this.#requests
    this.#handlers.set(request, onFrame)
    this.#failures.set(request, onFailure)
    return request
  }
  send(device: number, frame: Frame): void {
    this.#channels[device]?.send(frame)
  }
  close(request: number): void {
    this.#handlers.delete(request)
    this.#failures.delete(request)
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
        request = this.#open((_, answer) => {
          const milliseconds = performance.now() - started
          if (answer.kind !== 'error') resolve({ frame: answer, milliseconds })
          else reject(new DeviceError(`${name}: ${(answer.json as ErrorMessage).message}`))
        }, reject)
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
    this.#lost ??= new DeviceError('the cluster was disposed')
    await endAll(this.members)
  }

  #lose(error: DeviceError): void {
    this.#lost ??= error
    for (const fail of [...this.#failures.values()]) fail(error)
    for (const wake of [...this.#waiting]) wake()
  }
}

/** Ends members, also where one fails to; then rejects with its error. */
export async function endAll(members: readonly Member[]): Promise<void> {
  const ends = await Promise.allSettled(members.map(member => member.end()))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}
