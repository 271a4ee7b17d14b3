/** One device of a cluster: holds the model, serves a coordinator, exchanges with the other devices. */
import { expectRoom, type Model, StageMeter } from '@prismal/models'
import { PrismalError, type Scope } from '@prismal/tensor'
import { Channel } from './channel.js'
import { EarlyFrames, expectExchanged, expectPart, parseLink, parseRun } from './checks.js'
import { ConnectionError, DeviceError } from './errors.js'
import { Mailbox } from './exchange.js'
import { echoOf, Prober, type SeriesRequest } from './measured/probe.js'
import {
  type DoneMessage,
  type ErrorMessage,
  type LinkMessage,
  packDone,
  type RunMessage,
  type Share,
  unpackParts,
} from './messages.js'
import { createPlan, type Plan } from './plan.js'
import type { Exchange } from './shared-context.js'
import type { Connection } from './transport.js'
import { bytesOf, type Frame, frame } from './wire.js'
import { rehearseWork, Work } from './work.js'

/** Most requests that run at once. */
export const MOST_RUNNING = 256
/** Ended requests that are remembered, so that frames which arrive late are dropped rather than kept. */
const REMEMBERED = 1024

interface Running {
  readonly abort: AbortController
  readonly mailbox: Mailbox
  /** P: the first devices, which share it. */
  readonly devices: number
}

export interface DeviceOptions {
  /** Connects to another device; without it this one cannot be asked to. Rejects where no address answers. */
  readonly dial?: (link: LinkMessage) => Promise<Connection>
}

export class Device {
  readonly model: Model
  readonly #dial: DeviceOptions['dial']
  /** Links to other devices, or why there is none any more. */
  readonly #peers = new Map<number, Channel | ConnectionError>()
  readonly #mailboxes = new Map<number, Mailbox>()
  readonly #prober = new Prober()
  readonly #running = new Map<number, Running>()
  readonly #ended = new Set<number>()

  constructor(model: Model, { dial }: DeviceOptions = {}) {
    this.model = model
    this.#dial = dial
  }

  /** Joins the device to another one. */
  link(peer: number, connection: Connection): void {
    const channel = new Channel(connection)
    this.#peers.set(peer, channel)
    const early = new EarlyFrames()
    const isEarly = (request: number): boolean => !this.#running.has(request) && !this.#ended.has(request)
    channel.receive(f => {
      if (f.kind === 'probe') return void channel.send(echoOf(f, 0))
      if (f.kind === 'echo') return void this.#prober.answered(f.request)
      expectExchanged(f, peer, this.model.shape.layers)
      if (this.#ended.has(f.request)) return
      early.add(f.request, f.data.length, isEarly)
      this.#mailbox(f.request).deliver(f.kind, f.layer, f.from, f.data)
    })
    channel.closed.then(reason => {
      for (const [request, mailbox] of this.#mailboxes)
        if (isEarly(request) && mailbox.forget(peer)) this.#mailboxes.delete(request)
      const error = new ConnectionError(`the connection to device ${peer} closed: ${reason}`)
      if (this.#peers.get(peer) === channel) this.#peers.set(peer, error)
      this.#prober.fail(peer, error)
      this.#failWith(peer, error)
    })
  }

  /** Serves a coordinator until the connection closes. */
  async serve(connection: Connection): Promise<void> {
    const control = new Channel(connection)
    control.receive(f => {
      if (f.kind === 'run') this.#start(control, f, parseRun(f.json))
      else if (f.kind === 'abort') this.#abort(f.request)
      else if (f.kind === 'link') void this.#linkTo(control, f.request, parseLink(f.json))
      else if (f.kind === 'probe') void this.#probe(control, f)
      else throw new ConnectionError(`a coordinator sent ${f.kind}, which is not for devices`)
    })
    const reason = await control.closed
    for (const request of [...this.#running.keys()]) this.#abort(request)
    for (const peer of this.#peers.values())
      if (peer instanceof Channel) peer.close(`the coordinator is gone: ${reason}`)
  }

  /** Dials another device as it was asked to, and says how that went. */
  async #linkTo(control: Channel, request: number, message: LinkMessage): Promise<void> {
    try {
      if (!this.#dial) throw new DeviceError('this device cannot dial others')
      this.link(message.peer, await this.#dial(message))
      control.send(frame('linked', request))
    } catch (error) {
      control.send(frame('error', request, { json: asMessage(error) }))
    }
  }

  /** Answers the coordinator's probe, or makes a series over the link that it names. */
  async #probe(control: Channel, f: Frame): Promise<void> {
    try {
      const asked = (f.json ?? {}) as Partial<SeriesRequest>
      if (asked.peer === undefined) control.send(echoOf(f, f.from))
      else {
        const answer = await this.#prober.series(this.#linked(f.from, asked.peer), f.request, asked as SeriesRequest)
        control.send(frame('echo', f.request, { from: f.from, json: answer }))
      }
    } catch (error) {
      control.send(frame('error', f.request, { json: asMessage(error) }))
    }
  }

  #mailbox(request: number): Mailbox {
    const known = this.#mailboxes.get(request) ?? new Mailbox()
    this.#mailboxes.set(request, known)
    return known
  }

  #abort(request: number): void {
    const running = this.#running.get(request)
    const error = new DeviceError('the request was aborted')
    running?.abort.abort(error)
    running?.mailbox.fail(error)
    if (!running) this.#end(request)
  }

  /** Fails the requests that a device has a share in. */
  #failWith(device: number, error: Error): void {
    for (const { mailbox, devices } of this.#running.values()) if (device < devices) mailbox.fail(error)
  }

  #end(request: number): void {
    this.#running.delete(request)
    this.#mailboxes.delete(request)
    this.#ended.add(request)
    if (this.#ended.size > REMEMBERED) this.#ended.delete(this.#ended.values().next().value as number)
  }

  /** Throws where the request cannot be one that starts. */
  #start(control: Channel, f: Frame, message: RunMessage): void {
    const { request } = f
    if (this.#running.has(request) || this.#ended.has(request))
      throw new ConnectionError(`request ${request} was to run twice`)
    if (this.#running.size < MOST_RUNNING) {
      void this.#run(control, f, message)
      return
    }
    this.#end(request)
    const error = new DeviceError(`${MOST_RUNNING} requests run, the most at once`)
    control.send(frame('error', request, { json: asMessage(error) }))
  }

  /** Runs a request and says how it ended, once its memory is back. */
  async #run(control: Channel, f: Frame, message: RunMessage): Promise<void> {
    const { request } = f
    const running = { abort: new AbortController(), mailbox: this.#mailbox(request), devices: message.devices }
    this.#running.set(request, running)
    const meter = new StageMeter()
    const scope = this.model.engine.scope(meter)
    let last: Frame
    try {
      last = await this.#answer(control, f, message, running, scope, meter)
    } catch (error) {
      last = frame('error', request, { json: asMessage(error) })
    } finally {
      scope.dispose()
      this.#end(request)
    }
    control.send(last)
  }

  /** Sends rows or tokens as they come, and gives the frame that ends them. */
  async #answer(
    control: Channel,
    f: Frame,
    message: RunMessage,
    running: Running,
    scope: Scope,
    meter: StageMeter,
  ): Promise<Frame> {
    const { request } = f
    const started = performance.now()
    const peak = this.model.engine.arena.watch()
    try {
      const from = message.self
      const share: Share = { ...message, plan: planOf(this.model, message) }
      const parts = unpackParts(share, this.model.shape, message.parts, f.data)
      for (const part of parts) expectPart(part, this.model.shape)
      await expectRoom(this.model, rehearsed => rehearseWork(rehearsed, share, parts))
      const work = new Work(this.model, scope, meter, share, parts, running.abort.signal)
      const rows = await work.prefill(this.#exchange(request, from, running.mailbox))
      const reply = (kind: 'output' | 'token', json: unknown, data: Uint8Array): void =>
        control.send(frame(kind, request, { from, json, data }))
      if (message.output !== 'tokens') reply('output', { rows: rows.rows }, bytesOf(rows.floats()))
      else
        for await (const { logits, ...token } of work.decode(rows))
          reply('token', token, logits ? bytesOf(logits) : new Uint8Array(0))
      const done: DoneMessage = {
        stages: meter.stages,
        rows: parts.reduce((sum, p) => sum + p.to - p.from, 0),
        peakBytes: peak.bytes,
        milliseconds: performance.now() - started,
      }
      return frame('done', request, { from, json: packDone(done) })
    } finally {
      peak.end()
    }
  }

  #linked(self: number, peer: number): Channel {
    const channel = this.#peers.get(peer)
    if (channel instanceof Channel) return channel
    throw channel ?? new DeviceError(`device ${self} has no connection to device ${peer}`)
  }

  #exchange(request: number, self: number, mailbox: Mailbox): Exchange {
    return {
      post: (kind, to, layer, data) => this.#linked(self, to).send(frame(kind, request, { layer, from: self, data })),
      take: async (kind, layer, from) => {
        // Without a link nothing will come, and waiting would never end.
        this.#linked(self, from)
        return mailbox.take(kind, layer, from)
      },
    }
  }
}

/** Throws where the model cannot have such sequences, before anything is made by their sizes. */
function planOf({ shape }: Model, { rows, want, devices, decodes, options }: RunMessage): Plan {
  const long = rows.find(r => r > shape.positions)
  if (long !== undefined)
    throw new DeviceError(`a sequence of ${long} rows was dealt; the model has ${shape.positions}`)
  return createPlan({ shape, rows, want, devices, decodes }, options)
}

const asMessage = (error: unknown): ErrorMessage => ({
  code: error instanceof PrismalError ? error.code : 'internal',
  message: error instanceof Error ? error.message : String(error),
})
