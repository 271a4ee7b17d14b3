/** Devices that share requests, and the runner that has them do so. */
import type { Model, Runner } from '@prismal/models'
import { Channel } from './channel.js'
import { Device } from './device.js'
import { DeviceError, PlanError } from './errors.js'
import type { ErrorMessage } from './messages.js'
import { createPlan, type SharingOptions } from './plan.js'
import { SharedRequest } from './shared-request.js'
import type { Connection } from './transport.js'
import { type MemoryOptions, memoryPair } from './transports/memory.js'
import { portConnection } from './transports/message-port.js'
import { type Frame, frame, type Kind } from './wire.js'

/** A device as its cluster sees it. */
export interface Member {
  readonly name: string
  /** The connection that requests go over. */
  readonly control: Connection
  /** SHA-256 of the model that it holds, as `Model.digest`. */
  readonly digest: string
  readonly numericsClass: string
  /**
   * Gives it its end of a link to another device: a connection where it lives in this thread, else a port. Resolves when
   * it has taken it: a request that came before could not reach the other device.
   */
  link(peer: number, end: LinkEnd): Promise<void>
  /** Whether it takes ports (it lives in another thread) or connections. */
  readonly takes: 'connection' | 'port'
  /** Ends it. Resolves when nothing of it is left. */
  end(): Promise<void>
}
export type LinkEnd = { readonly connection: Connection } | { readonly port: MessagePort }

/** Brings a device up with the model that the coordinator holds. */
export interface DeviceSource {
  readonly name: string
  /** `memory` is how connections within this thread deliver. */
  join(model: Model, memory: MemoryOptions): Promise<Member>
}

/** What a device may be: this one, or a source of another. */
export type DeviceSpec = 'local' | DeviceSource

/** Makes the two ends of a link between two devices of this process. */
export type LinkMaker = (a: Member, b: Member) => [LinkEnd, LinkEnd]

const overMemory = (memory: MemoryOptions): [LinkEnd, LinkEnd] => {
  const [a, b] = memoryPair(memory)
  return [{ connection: a }, { connection: b }]
}
const overPorts = (): [LinkEnd, LinkEnd] => {
  const { port1, port2 } = new MessageChannel()
  return [{ port: port1 }, { port: port2 }]
}
/** Ports between threads, memory within one. */
const byPlace =
  (memory: MemoryOptions): LinkMaker =>
  (a, b) =>
    [a, b].some(m => m.takes === 'port') ? overPorts() : overMemory(memory)

export interface ClusterOptions {
  /** How connections within this thread deliver; a test or a simulation decides the order with it. */
  readonly memory?: MemoryOptions
}

/** Devices that were named, to be joined once a model is there. */
export interface Cluster {
  readonly specs: readonly DeviceSpec[]
  readonly options: SharingOptions
  /** Brings the devices up with this model. Throws {@link DeviceError} where one does not come or holds another model. */
  runner(model: Model): Promise<SharedRunner>
}

/**
 * Names the devices that will share requests, and how. Throws {@link PlanError} where there is none or the options
 * cannot be.
 */
export function cluster(
  specs: readonly DeviceSpec[],
  options: SharingOptions = {},
  { memory = {} }: ClusterOptions = {},
): Cluster {
  if (specs.length === 0) throw new PlanError('plan: devices is 0, not a whole number ≥ 1')
  // A trial plan finds what is wrong with the options before any device is started.
  createPlan({ shape: { layers: 1, causal: false }, rows: [], want: 'all', devices: specs.length }, options)
  return {
    specs,
    options,
    async runner(model) {
      const members: Member[] = []
      try {
        for (const spec of specs)
          members.push(await (spec === 'local' ? localMember(model, { memory }) : spec.join(model, memory)))
        sameModel(model, members)
        await link(members, byPlace(memory))
        return new SharedRunner(model, new Devices(members), options)
      } catch (error) {
        for (const member of members) await member.end()
        throw error
      }
    },
  }
}

async function link(members: readonly Member[], make: LinkMaker): Promise<void> {
  for (const [i, a] of members.entries())
    for (const [j, b] of members.entries()) {
      if (j <= i) continue
      const [endA, endB] = make(a, b)
      await Promise.all([a.link(j, endA), b.link(i, endB)])
    }
}

function sameModel(model: Model, members: readonly Member[]): void {
  for (const { name, digest } of members)
    if (digest !== model.digest)
      throw new DeviceError(
        `${name} holds another model (sha256 ${digest.slice(0, 8)}…) than this device (${model.digest.slice(0, 8)}…): start it with the same`,
      )
}

export interface LocalOptions {
  /** Default `local`. */
  readonly name?: string
  readonly memory?: MemoryOptions
  /** What else ends with the device. */
  readonly end?: () => void
}

/** A device in this thread: the coordinator's own model, or another copy of it. */
export function localMember(model: Model, { name = 'local', memory = {}, end = () => {} }: LocalOptions = {}): Member {
  const device = new Device(model)
  const [ours, theirs] = memoryPair(memory)
  void device.serve(theirs)
  return {
    name,
    control: ours,
    digest: model.digest,
    numericsClass: model.engine.numericsClass(model.precision),
    takes: 'connection',
    link: async (peer, linkEnd) =>
      device.link(peer, 'port' in linkEnd ? portConnection(linkEnd.port) : linkEnd.connection),
    async end() {
      ours.close('the cluster was disposed')
      end()
    },
  }
}

/** Another device in this thread, with a model (and engine) of its own that `load` brings. */
export function memoryDevice(load: () => Promise<Model>, name = 'memory'): DeviceSource {
  return {
    name,
    async join(_, memory) {
      const model = await load()
      return localMember(model, { name, memory, end: () => model.dispose() })
    },
  }
}

/** A device's answer to a single frame. */
export interface Answer {
  readonly frame: Frame
  readonly milliseconds: number
}

/** The joined devices, and the frames that they send back. */
export class Devices {
  readonly members: readonly Member[]
  readonly #channels: readonly Channel[]
  readonly #handlers = new Map<number, (device: number, frame: Frame) => void>()
  readonly #failures = new Map<number, (error: DeviceError) => void>()
  #lost: DeviceError | undefined
  #requests = 0

  constructor(members: readonly Member[]) {
    this.members = members
    this.#channels = members.map(({ name, control }, device) => {
      const channel = new Channel(control)
      channel.receive(f => this.#handlers.get(f.request)?.(device, f))
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
  close(request: number): void {
    this.#handlers.delete(request)
    this.#failures.delete(request)
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

/** Runs requests on several devices; like every runner it gives the rows that are asked for. */
export class SharedRunner implements Runner {
  readonly model: Model
  readonly options: SharingOptions
  /** P: how many of the members share a request, the first ones. */
  readonly devices: number
  readonly #devices: Devices

  constructor(model: Model, devices: Devices, options: SharingOptions, count = devices.members.length) {
    this.model = model
    this.options = options
    this.devices = count
    this.#devices = devices
  }

  get members(): readonly Member[] {
    return this.#devices.members.slice(0, this.devices)
  }
  /** Sends one of the devices a probe and waits for its answer, at most `timeoutMs`: how links are measured. */
  probe(device: number, probe: { json?: unknown; data?: Uint8Array }, timeoutMs: number): Promise<Answer> {
    return this.#devices.ask(device, 'probe', { ...probe, from: device }, timeoutMs)
  }
  begin(signal?: AbortSignal): SharedRequest {
    return new SharedRequest(this, this.#devices, signal)
  }
  /** The same devices, or the first `count` of them, sharing by other options. */
  with(options: SharingOptions, count = this.devices): SharedRunner {
    const most = this.#devices.members.length
    if (!(Number.isInteger(count) && count >= 1 && count <= most))
      throw new PlanError(`plan: devices is ${count}; this cluster has ${most}`)
    return new SharedRunner(this.model, this.#devices, options, count)
  }
  /** Ends the devices and disposes the model. */
  async dispose(): Promise<void> {
    await this.#devices.end()
    this.model.dispose()
  }
}
