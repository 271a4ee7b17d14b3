/** Devices that share requests, and the runner that has them do so. */
import type { Model, Runner } from '@prismal/models'
import { unlessAborted } from '@prismal/tensor'
import { Device } from './device.js'
import { type Answer, Devices, endAll } from './devices.js'
import { DeviceError, PlanError } from './errors.js'
import type { DeviceInfo } from './joining.js'
import type { LinkMessage, LinkTarget } from './messages.js'
import { checkSharing, layersNamed, type SharingOptions } from './options.js'
import type { PlanRequest } from './plan.js'
import { SharedRequest } from './shared-request.js'
import type { Connection } from './transport.js'
import { type MemoryOptions, memoryPair } from './transports/memory.js'
import { portConnection, portPair } from './transports/message-port.js'

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
  /** What it says of itself, where it does. */
  readonly about?: Omit<DeviceInfo, 'name' | 'model'>
  /** Where other devices may dial it, where they may; it can then be asked to dial them. */
  readonly reach?: LinkTarget
  /** Ends it. Resolves when nothing of it is left. */
  end(): Promise<void>
}
export type LinkEnd = { readonly connection: Connection } | { readonly port: MessagePort }

/** Brings a device up with the model that the coordinator holds. */
export interface DeviceSource {
  readonly name: string
  /** `memory` is how connections within this thread deliver. Where `signal` aborts, the member is not wanted any more. */
  join(model: Model, memory: MemoryOptions, signal?: AbortSignal): Promise<Member>
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
  const [port1, port2] = portPair()
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
  /**
   * Brings the devices up with this model. Throws {@link DeviceError} where one does not come or holds another model, and
   * the reason of `signal` where that aborts before all have come.
   */
  runner(model: Model, options?: JoinOptions): Promise<SharedRunner>
}

export interface JoinOptions {
  /** Ends joining, with its reason. */
  readonly signal?: AbortSignal | undefined
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
  // What is wrong with the options is found before any device is started; whether they suit the model, by each plan.
  checkSharing(specs.length, layersNamed(options) ?? 1, options)
  return {
    specs,
    options,
    async runner(model, { signal } = {}) {
      const members: Member[] = []
      try {
        for (const spec of specs)
          members.push(spec === 'local' ? localMember(model, { memory }) : await joined(spec, model, memory, signal))
        sameModel(model, members)
        const devices = new Devices(members)
        await link(devices, byPlace(memory))
        signal?.throwIfAborted()
        devices.notes.push(...numericsNotes(model, members))
        return new SharedRunner(model, devices, options)
      } catch (error) {
        await endAll(members).catch(() => {})
        throw error
      }
    },
  }
}

/** A device that has joined. One that comes after the signal has aborted is ended. */
async function joined(
  source: DeviceSource,
  model: Model,
  memory: MemoryOptions,
  signal: AbortSignal | undefined,
): Promise<Member> {
  signal?.throwIfAborted()
  const joining = source.join(model, memory, signal)
  return unlessAborted(joining, signal, () => void joining.then(member => member.end()).catch(() => {}))
}

/** Links each device to each other one. What could not be done as it should is noted. */
async function link(devices: Devices, make: LinkMaker): Promise<void> {
  const { members } = devices
  for (const [i, a] of members.entries())
    for (const [j, b] of members.entries()) {
      if (j <= i) continue
      if (a.reach && b.reach && (await linkDirectly(devices, i, j))) continue
      const [endA, endB] = make(a, b)
      await Promise.all([a.link(j, endA), b.link(i, endB)])
    }
}

/** Most milliseconds that a device may take to join another one. */
const LINK_MS = 15_000

/** Has one of two devices dial the other. False where neither reaches the other: this device can then pass on what they exchange. */
async function linkDirectly(devices: Devices, i: number, j: number): Promise<boolean> {
  const failures: string[] = []
  for (const [self, peer] of [
    [i, j],
    [j, i],
  ] as const) {
    const target = devices.members[peer]?.reach as LinkTarget
    const message: LinkMessage = { ...target, self, peer }
    try {
      await devices.ask(self, 'link', { json: message }, LINK_MS)
      return true
    } catch (error) {
      failures.push((error as Error).message)
    }
  }
  devices.notes.push(
    `devices ${i} and ${j} do not reach each other, so what they exchange goes through this one (${failures.join('; ')})`,
  )
  return false
}

function sameModel(model: Model, members: readonly Member[]): void {
  for (const { name, digest } of members)
    if (digest !== model.digest)
      throw new DeviceError(
        `${name} holds another model (sha256 ${digest.slice(0, 8)}…) than this device (${model.digest.slice(0, 8)}…): start it with the same`,
      )
}

/** Where results of different devices do not have the same bits, what came from whom. */
function numericsNotes(model: Model, members: readonly Member[]): string[] {
  const here = model.engine.numericsClass(model.precision)
  return members.flatMap(({ name, numericsClass }, p) =>
    numericsClass === here
      ? []
      : [`device ${p} (${name}) computes as ${numericsClass}, the coordinator as ${here}: equivalent, not identical`],
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

/** Options for a request of these rows. Rejects with the reason of the request's signal. */
export type Decide = (
  request: Omit<PlanRequest, 'shape' | 'devices'>,
  signal: AbortSignal | undefined,
) => Promise<SharingOptions>

interface RunnerOptions {
  readonly count?: number
  readonly decide?: Decide
}

/** Runs requests on several devices; like every runner it gives the rows that are asked for. */
export class SharedRunner implements Runner {
  readonly model: Model
  readonly options: SharingOptions
  /** P: how many of the members share a request, the first ones. */
  readonly devices: number
  /** Gives the options of each request where they depend on it. */
  readonly decide: Decide | undefined
  readonly #devices: Devices

  constructor(model: Model, devices: Devices, options: SharingOptions, { count, decide }: RunnerOptions = {}) {
    this.model = model
    this.options = options
    this.devices = count ?? devices.members.length
    this.decide = decide
    this.#devices = devices
  }

  /** What of the cluster is not as it should be, for reports. */
  get notes(): readonly string[] {
    return this.#devices.notes
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
    return new SharedRunner(this.model, this.#devices, options, { count })
  }
  /** The same devices, sharing each request by the options that `decide` gives for it. */
  deciding(decide: Decide): SharedRunner {
    return new SharedRunner(this.model, this.#devices, this.options, { count: this.devices, decide })
  }
  /** Ends the devices and disposes the model. */
  async dispose(): Promise<void> {
    await this.#devices.end()
    this.model.dispose()
  }
}
