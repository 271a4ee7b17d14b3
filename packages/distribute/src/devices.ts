/** The joined devices of a cluster, and the frames that they send back. */
import { Channel } from './channel.js'
import { parseAnswer } from './checks.js'
import type { Member } from './cluster.js'
import { DeviceError } from './errors.js'
import type { ErrorMessage } from './messages.js'
import { type Frame, frame, type Kind } from './wire.js'

/** A device's answer to a single frame. */
export interface Answer {
  readonly frame: Frame
  readonly milliseconds: number
}

export class Devices {
  readonly members: readonly Member[]
  /** What is not as it should be, for reports. */
  readonly notes: string[] = []
  readonly #channels: readonly Channel[]
  readonly #handlers = new Map<number, (device: number, frame: Frame) => void>()
  readonly #failures = new Map<number, (error: DeviceError) => void>()
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

  /** Opens a request: its frames go to `onFrame`, the end of a device to `onFailure`. */
  open(onFrame: (device: number, frame: Frame) => void, onFailure: (error: DeviceError) => void): number {
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
        request = this.open((_, answer) => {
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
    for (const member of this.members) await member.end()
  }

  #lose(error: DeviceError): void {
    this.#lost ??= error
    for (const fail of [...this.#failures.values()]) fail(error)
  }
}
