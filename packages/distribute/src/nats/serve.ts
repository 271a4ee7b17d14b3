/** A group of devices answers requests of a task, beside others that do: a queue deals them out. */
import type { Msg, NatsConnection, Subscription } from '@nats-io/nats-core'
import { PrismalError } from '@prismal/tensor'
import { randomId } from '../bytes-as-text.js'
import type { GroupOptions } from './announcement.js'
import { SEAL_BYTES, type Sealer, sealer, utf8 } from './keys.js'
import {
  MOST_REQUEST_BYTES,
  numbered,
  pack,
  type ReplyHead,
  replyContext,
  requestContext,
  type TaskRequest,
  unpackRequest,
} from './requests.js'
import { openStore, readObject } from './store.js'
import { type Subjects, subjectsOf } from './subjects.js'

export interface ServeOptions extends GroupOptions {
  /** As those who ask are told. */
  readonly name: string
  /** Requests that are worked on at once; more are left to others. Default 1. */
  readonly limit?: number
}

/** Computes a request's result, which is plain values. `piece` sends text as it comes; the signal aborts when nobody waits any more. */
export type Answerer = (
  request: Required<TaskRequest>,
  piece: (text: string) => void,
  signal: AbortSignal,
) => Promise<unknown>

export interface Serving {
  /** Requests that were answered, with a result or an error. */
  readonly answered: number
  /** Takes no more, and resolves when those that it took are answered. */
  stop(): Promise<void>
}

/** Milliseconds between signs of life while a request is worked on. */
const BEAT_MS = 1000
/** A request that is older is a repetition: its id may be forgotten by then. */
const FRESH_MS = 300_000
const REMEMBERED = 8192
export const REQUESTS_BUCKET = 'prismal-requests'
/** Of a message, for JSON and what surrounds it. */
const HEAD_BYTES = 1024

/**
 * Serves a task until `stop()`. A group that works on its `limit` of requests leaves the queue until it has room, so that a
 * request goes where it can be computed at once; those who wait are told.
 */
export function serveRequests(nc: NatsConnection, task: string, answer: Answerer, options: ServeOptions): Serving {
  return new Server(nc, task, answer, options)
}

class Server implements Serving {
  answered = 0
  readonly #nc: NatsConnection
  readonly #task: string
  readonly #answer: Answerer
  readonly #options: ServeOptions
  readonly #subjects: Subjects
  readonly #sealer: Sealer
  readonly #limit: number
  readonly #inbox = `_INBOX.${randomId()}`
  readonly #running = new Map<string, AbortController>()
  readonly #seen = new Set<string>()
  readonly #subscriptions: Subscription[]
  #queue: Subscription | undefined
  #isStopping = false
  #idle = (): void => {}

  constructor(nc: NatsConnection, task: string, answer: Answerer, options: ServeOptions) {
    this.#nc = nc
    this.#task = task
    this.#answer = answer
    this.#options = options
    this.#limit = options.limit ?? 1
    this.#subjects = subjectsOf(options.group)
    this.#sealer = sealer(options.secret, `request ${this.#subjects.group}`)
    this.#subscriptions = [
      // Who asks learns that there are groups, though none has room.
      nc.subscribe(this.#subjects.serving(task), { callback: (_, message) => void message?.respond?.('here') }),
      // The server tells when a reply finds nobody.
      nc.subscribe(`${this.#inbox}.*`, {
        callback: (_, message) => {
          if (message?.headers?.code === 503) this.#running.get(message.subject.slice(this.#inbox.length + 1))?.abort()
        },
      }),
    ]
    this.#takeMore()
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    if (!this.#nc.isClosed()) this.#leaveQueue()
    if (this.#running.size > 0)
      await new Promise<void>(resolve => {
        this.#idle = resolve
      })
    if (this.#nc.isClosed()) return
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
    await this.#nc.flush().catch(() => {})
  }

  #log(message: string): void {
    this.#options.log?.(message)
  }

  /** Joins the queue, and says that there is room. */
  #takeMore(): void {
    if (this.#isStopping || this.#queue || this.#nc.isClosed()) return
    this.#queue = this.#nc.subscribe(this.#subjects.run(this.#task), {
      queue: 'serve',
      callback: (error, message) => {
        if (error) this.#log(`${this.#task} cannot be served: ${error.message}`)
        else void this.#asked(message)
      },
    })
    this.#nc.publish(this.#subjects.free(this.#task))
  }
  #leaveQueue(): void {
    // Drained: what is on its way is still told that this group is busy.
    void this.#queue?.drain().catch(() => {})
    this.#queue = undefined
  }

  async #asked(message: Msg): Promise<void> {
    const { reply } = message
    const id = /^_INBOX\.([0-9a-f]{32})$/.exec(reply ?? '')?.[1]
    if (reply === undefined || id === undefined) return
    const replies = new Replies(this.#nc, this.#sealer, id, reply, `${this.#inbox}.${id}`)
    // It was on its way when this group left the queue.
    if (this.#isStopping || this.#running.size >= this.#limit) return replies.send({ kind: 'busy' })
    if (this.#seen.has(id)) return this.#log('ignored a request that came a second time')
    this.#seen.add(id)
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value as string)
    const abort = new AbortController()
    this.#running.set(id, abort)
    if (this.#running.size >= this.#limit) this.#leaveQueue()
    const beat = setInterval(() => void replies.send({ kind: 'working' }), BEAT_MS)
    try {
      await replies.send({ kind: 'taken', by: this.#options.name })
      const request = await this.#open(id, message.data)
      const result = await this.#answer(request, text => void replies.send({ kind: 'piece', text }), abort.signal)
      await replies.result(utf8(JSON.stringify(result)))
    } catch (error) {
      const { message } = error as Error
      if (abort.signal.aborted) this.#log('a request ended: nobody waits for it any more')
      else {
        this.#log(`a request of ${this.#task} failed: ${message}`)
        const code = error instanceof PrismalError ? error.code : 'internal'
        await replies.send({ kind: 'error', code, message })
      }
    } finally {
      clearInterval(beat)
      this.answered++
      this.#running.delete(id)
      this.#takeMore()
      if (this.#running.size === 0) this.#idle()
    }
  }

  async #open(id: string, bytes: Uint8Array): Promise<Required<TaskRequest>> {
    const context = requestContext(this.#subjects.group, this.#task, id)
    const { head, ...request } = unpackRequest(await this.#sealer.open(context, bytes))
    const ageMs = Date.now() - head.time
    if (this.#options.secret && Math.abs(ageMs) > FRESH_MS)
      throw new PrismalError(
        'connection',
        `the request is ${Math.round(ageMs / 1000)} s old by this clock: set the clocks right`,
      )
    if (!head.isStored) return request
    const store = await openStore(this.#nc, REQUESTS_BUCKET, { keepMs: FRESH_MS })
    const stored = await readObject(store, id, MOST_REQUEST_BYTES + HEAD_BYTES)
    if (!stored) throw new PrismalError('connection', 'the request is not in the Object Store any more')
    await store.delete(id)
    const { inputs, options } = unpackRequest(await this.#sealer.open(`${context} stored`, stored))
    return { inputs, options }
  }
}

/** The replies to one request, numbered, in order. */
class Replies {
  readonly #nc: NatsConnection
  readonly #sealer: Sealer
  readonly #id: string
  readonly #to: string
  readonly #back: string
  #index = 0
  #sending = Promise.resolve()

  constructor(nc: NatsConnection, sealer: Sealer, id: string, to: string, back: string) {
    this.#nc = nc
    this.#sealer = sealer
    this.#id = id
    this.#to = to
    this.#back = back
  }

  send(head: ReplyHead, data = new Uint8Array(0)): Promise<void> {
    const number = this.#index++
    this.#sending = this.#sending.then(async () => {
      const bytes = await this.#sealer.seal(replyContext(this.#id, number), pack(head, data))
      if (!this.#nc.isClosed()) this.#nc.publish(this.#to, numbered(number, bytes), { reply: this.#back })
    })
    return this.#sending
  }

  async result(json: Uint8Array<ArrayBuffer>): Promise<void> {
    const most = messageRoom(this.#nc)
    let at = 0
    for (; json.length - at > most; at += most) {
      await this.send({ kind: 'part' }, json.subarray(at, at + most))
      // Not more than the server takes at once.
      await this.#nc.flush()
    }
    await this.send({ kind: 'done' }, json.subarray(at))
  }
}

/** Bytes of data that fit into a message. */
export const messageRoom = (nc: NatsConnection): number => (nc.info?.max_payload ?? 1 << 20) - SEAL_BYTES - HEAD_BYTES
