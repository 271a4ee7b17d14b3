/**
 * A device in a process of its own, so that its memory can be told from the coordinator's. Links between devices go by
 * way of the coordinator's process: enough to measure memory with, not speed.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { type Connection, ConnectionError, DeviceError, type DeviceSource, type Member } from '@prismal/distribute'
import { portConnection } from '@prismal/distribute/transports/message-port'
import type { Model } from '@prismal/models'
import { pipe } from '../packages/distribute/src/joining.js'
import type { ResidentMemory } from './contender.js'
import type { WeightDtype } from './peer-cases.js'

/** A message of one of the connections that share a process's channel: bytes, or the reason of a close. */
export type ChannelMessage =
  | { readonly channel: number; readonly bytes: Uint8Array }
  | { readonly channel: number; readonly closed: string }
/** To the device's process. */
export type DeviceRequest =
  | ChannelMessage
  | { readonly start: { readonly location: string; readonly dtype: WeightDtype; readonly threads: number } }
  | { readonly link: number }
  | { readonly memory: true }
/** From it. */
export type DeviceReply =
  | ChannelMessage
  | { readonly joined: Pick<Member, 'digest' | 'numericsClass'> }
  | { readonly linked: number }
  | { readonly memory: ResidentMemory }
  | { readonly failed: string }

/** The connection that requests go over; the link to device p has number p. */
export const CONTROL = -1

/** Either end of a process's channel. */
export interface ProcessEnd {
  send(message: DeviceRequest | DeviceReply): void
  /** Called with whatever the other side sends. */
  onMessage(take: (message: DeviceRequest | DeviceReply) => void): void
  readonly ended: Promise<string>
}

/** One connection of those that share a process's channel. */
export function channelConnection(end: ProcessEnd, channel: number): Connection {
  const early: Uint8Array[] = []
  let handler: ((message: Uint8Array) => void) | undefined
  let reason: string | undefined
  let resolveClosed: (reason: string) => void
  const closed = new Promise<string>(resolve => {
    resolveClosed = resolve
  })
  const finish = (why: string): void => {
    reason ??= why
    resolveClosed(reason)
  }
  end.ended.then(finish)
  end.onMessage(message => {
    if (!('channel' in message) || message.channel !== channel || reason !== undefined) return
    if ('closed' in message) finish(message.closed)
    else if (handler) handler(message.bytes)
    else early.push(message.bytes)
  })
  return {
    maxMessageBytes: Number.MAX_SAFE_INTEGER,
    closed,
    async send(bytes) {
      if (reason !== undefined) throw new ConnectionError(`the connection is closed: ${reason}`)
      end.send({ channel, bytes })
    },
    receive(take) {
      handler = take
      for (const message of early.splice(0)) take(message)
    },
    close(why = 'closed') {
      if (reason !== undefined) return
      end.send({ channel, closed: why })
      finish(why)
    },
  }
}

/** A device in a process that runs `script` (process-device-child.ts, compiled). */
export class ProcessDevice implements DeviceSource {
  readonly name = 'process'
  readonly #script: string
  readonly #dtype: WeightDtype
  #child: ChildProcess | undefined
  #end: ProcessEnd | undefined

  constructor(script: string, dtype: WeightDtype) {
    this.#script = script
    this.#dtype = dtype
  }

  async join(model: Model): Promise<Member> {
    const child = fork(this.#script, { serialization: 'advanced', execArgv: [] })
    this.#child = child
    const end = processEnd(child)
    this.#end = end
    const { location } = model
    end.send({ start: { location, dtype: this.#dtype, threads: 1 } })
    const { joined } = await this.#reply('joined')
    const control = channelConnection(end, CONTROL)
    return {
      name: this.name,
      control,
      ...joined,
      takes: 'port',
      link: async (peer, linkEnd) => {
        const port = 'port' in linkEnd ? portConnection(linkEnd.port) : linkEnd.connection
        pipe(port, channelConnection(end, peer))
        const linked = this.#reply('linked')
        end.send({ link: peer })
        await linked
      },
      end: async () => {
        const gone = end.ended
        child.disconnect()
        await gone
      },
    }
  }

  async memory(): Promise<ResidentMemory> {
    const memory = this.#reply('memory')
    this.#end?.send({ memory: true })
    return (await memory).memory
  }

  async #reply<Name extends 'joined' | 'linked' | 'memory'>(
    name: Name,
  ): Promise<Extract<DeviceReply, { [K in Name]: unknown }>> {
    const end = this.#end!
    const came = new Promise<DeviceReply>(resolve =>
      end.onMessage(m => (name in m || 'failed' in m) && resolve(m as DeviceReply)),
    )
    const reply = await Promise.race([came, end.ended.then((failed): DeviceReply => ({ failed }))])
    if ('failed' in reply) throw new DeviceError(`${this.name} ${this.#child?.pid}: ${reply.failed}`)
    return reply as Extract<DeviceReply, { [K in Name]: unknown }>
  }
}

function processEnd(child: ChildProcess): ProcessEnd {
  return {
    send: message => void (child.connected && child.send(message)),
    onMessage: take => void child.on('message', take as (message: unknown) => void),
    ended: new Promise(resolve => child.once('exit', (code, signal) => resolve(`it ended: ${signal ?? code}`))),
  }
}
