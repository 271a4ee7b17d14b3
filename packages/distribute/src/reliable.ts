/** Messages of any size over a connection that carries short ones and may lose them: fragments, sequence numbers, credits, heartbeats. */
import { ConnectionError } from './errors.js'
import { InOrder } from './in-order.js'
import { Inbox } from './inbox.js'
import {
  decodeReason,
  encodeReason,
  LEAST_COST,
  MAX_REASON_BYTES,
  malformed,
  PACKET_HEADER_BYTES,
  type PacketHeader,
  type PacketKind,
  packetCost,
  readHeader,
  writeHeader,
} from './packets.js'
import type { Seal } from './seal.js'
import type { Connection } from './transport.js'
import { joined } from './wire.js'

export interface ReliableOptions {
  /** Keys of the connection, where it is encrypted. */
  readonly seal?: Seal
  /** Longest message that is sent or taken, in bytes; a longer one that comes closes the connection. Default 1 GiB. */
  readonly maxFrameBytes?: number
  /**
   * Bytes of packets that may be on their way before the other side has taken some, from 1 KiB to 1 GiB; default 8 MiB. Both
   * sides must be given the same: one that sends more than the other allows is closed.
   */
  readonly windowBytes?: number
  /** Milliseconds of silence after which a sign of life is asked for; default 2,000. */
  readonly heartbeatMs?: number
  /** Milliseconds of silence after which the other side counts as gone; default 10,000. */
  readonly silenceMs?: number
}

export interface ReliableConnection extends Connection {
  /** Milliseconds between the last ping and its pong; undefined until there was one. */
  readonly roundTripMs: number | undefined
  /** Bytes handed to the transport so far, headers and seals included. */
  readonly bytesSent: number
  /** Bytes that the transport brought so far. */
  readonly bytesReceived: number
}

export const DEFAULT_MAX_FRAME_BYTES = 2 ** 30
export const DEFAULT_WINDOW_BYTES = 2 ** 23
export const DEFAULT_HEARTBEAT_MS = 2_000
export const DEFAULT_SILENCE_MS = 10_000

/** Longest packet, whatever the transport carries: signs of life pass between packets, also on slow links. */
const MAX_PACKET_BYTES = 2 ** 18
/** Bytes that are handed to the transport before it has said that it is ready for more; pings and pongs pass what waits here. */
const MAX_HANDED_BYTES = 2 ** 20
/** Most milliseconds that a close waits for what was sent before it, and for the other side. */
const CLOSE_MS = 2_000

/**
 * Makes messages of up to `maxFrameBytes` of a raw connection's, on both of its sides. Whatever is lost, repeated, altered or out
 * of order closes it with a reason that says so, as does a side that is silent for too long. Throws {@link ConnectionError} for
 * options or a transport that cannot be.
 */
export function reliable(connection: Connection, options: ReliableOptions = {}): ReliableConnection {
  return new Reliable(connection, options)
}

/** A message that waits to be sent, or the part of it that does. */
interface Outgoing {
  readonly message: Uint8Array
  /** Bytes of it that were sent. */
  at: number
  isSent: boolean
  resolve?: () => void
  reject?: (error: Error) => void
}
const READY = Promise.resolve()
const NO_BYTES = new Uint8Array(0)

class Reliable implements ReliableConnection {
  readonly maxMessageBytes: number
  readonly closed: Promise<string>
  roundTripMs: number | undefined
  bytesSent = 0
  bytesReceived = 0

  readonly #raw: Connection
  readonly #seal: Seal | undefined
  readonly #window: number
  readonly #heartbeatMs: number
  readonly #silenceMs: number
  /** Longest fragment that is sent. */
  readonly #fragmentBytes: number

  // Sending. Numbers of packets and sums of costs are modulo 2³².
  readonly #queue: Outgoing[] = []
  readonly #sealing = new InOrder()
  #sent = 0
  /** Cost of what was sent, and the other side has not said to have taken. */
  #onTheirWay = 0
  /** What the other side has taken in all. */
  #takenThere = 0
  /** Bytes that the transport has not said to be ready after. */
  #handed = 0
  readonly #control = { pong: { out: false, due: false }, credit: { out: false, due: false } }

  // Receiving.
  readonly #opening = new InOrder()
  readonly #inbox: Inbox
  #received = 0
  /** Cost of what came and was not taken. */
  #held = 0
  #taken = 0
  #credited = 0

  // Life and end.
  #heard = performance.now()
  /** Whether data came since this side last sent anything: on a slow link the other side hears nothing until it is credited. */
  #isOwed = false
  #pinged: number | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #closing: string | undefined
  #isCloseSent = false
  #reason: string | undefined
  #resolveClosed!: (reason: string) => void

  constructor(raw: Connection, options: ReliableOptions) {
    const { maxFrameBytes = DEFAULT_MAX_FRAME_BYTES, windowBytes = DEFAULT_WINDOW_BYTES } = options
    const { heartbeatMs = DEFAULT_HEARTBEAT_MS, silenceMs = DEFAULT_SILENCE_MS } = options
    const overhead = PACKET_HEADER_BYTES + (options.seal?.overheadBytes ?? 0)
    // A quarter of the window is credited at once: a packet no longer than that never waits for credit that is not coming.
    this.#fragmentBytes = Math.min(raw.maxMessageBytes, MAX_PACKET_BYTES, Math.floor(windowBytes / 4)) - overhead
    const rules: [boolean, string][] = [
      [maxFrameBytes >= 1, `maxFrameBytes is ${maxFrameBytes}, not ≥ 1`],
      [
        windowBytes >= 4 * LEAST_COST && windowBytes <= 2 ** 30,
        `windowBytes is ${windowBytes}, not within [1024, 2^30]`,
      ],
      [heartbeatMs > 0, `heartbeatMs is ${heartbeatMs}, not positive`],
      [silenceMs > heartbeatMs, `silenceMs is ${silenceMs}, not more than heartbeatMs, which is ${heartbeatMs}`],
      [
        this.#fragmentBytes >= 1,
        `messages of ${raw.maxMessageBytes} bytes leave no room beside a header of ${overhead}`,
      ],
    ]
    for (const [holds, message] of rules) if (!holds) throw new ConnectionError(`reliable: ${message}`)
    this.#raw = raw
    this.#seal = options.seal
    this.#window = windowBytes
    this.#heartbeatMs = heartbeatMs
    this.#silenceMs = silenceMs
    this.maxMessageBytes = maxFrameBytes
    this.#inbox = new Inbox({
      maxMessageBytes: maxFrameBytes,
      taken: cost => this.#credit(cost),
      refused: error => this.#fail(`a message was refused: ${error instanceof Error ? error.message : String(error)}`),
    })
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    raw.closed.then(reason => {
      // What came before is taken first: it may tell the reason.
      const end = (): void => this.#end(this.#closing ?? reason)
      if (this.#opening.length === 0) end()
      else this.#opening.add(READY, end, end)
    })
    raw.receive(packet => this.#arrive(packet))
    this.#watch(heartbeatMs)
  }

  // ---- sending ----------------------------------------------------------------------------------

  send(message: Uint8Array): Promise<void> {
    const reason = this.#closing ?? this.#reason
    if (reason !== undefined) return Promise.reject(closedError(reason))
    if (message.length > this.maxMessageBytes)
      return Promise.reject(
        new ConnectionError(`a message of ${message.length} bytes is longer than ${this.maxMessageBytes}, the longest`),
      )
    const item: Outgoing = { message, at: 0, isSent: false }
    this.#queue.push(item)
    this.#pump()
    if (item.isSent) return READY
    return new Promise((resolve, reject) => {
      item.resolve = resolve
      item.reject = reject
    })
  }

  /** Sends what waits, as far as the window and the transport have room; then the close, where one is due. */
  #pump(): void {
    for (let item = this.#queue[0]; item; item = this.#queue[0]) {
      const { message, at } = item
      const to = Math.min(message.length, at + this.#fragmentBytes)
      const bytes = PACKET_HEADER_BYTES + (this.#seal?.overheadBytes ?? 0) + to - at
      if (this.#onTheirWay + packetCost(bytes) > this.#window) return
      if (this.#handed > 0 && this.#handed + bytes > MAX_HANDED_BYTES) return
      this.#onTheirWay += packetCost(bytes)
      item.at = to
      const isLast = to === message.length
      if (isLast) {
        item.isSent = true
        this.#queue.shift()
      }
      this.#emit('data', isLast, at === 0 && isLast ? message : message.subarray(at, to))
      if (isLast) item.resolve?.()
    }
    if (this.#closing !== undefined && this.#reason === undefined) this.#sendClose(this.#closing)
  }

  /** One packet, numbered; `settled` is told once the transport has taken or refused it. */
  #emit(kind: PacketKind, last: boolean, body: Uint8Array, settled?: () => void): void {
    const seal = this.#seal
    const packet = new Uint8Array(seal ? PACKET_HEADER_BYTES : PACKET_HEADER_BYTES + body.length)
    writeHeader(packet, { kind, last, number: this.#sent, taken: this.#taken })
    this.#sent = (this.#sent + 1) >>> 0
    this.#credited = this.#taken
    this.#isOwed = false
    if (!seal) {
      packet.set(body, PACKET_HEADER_BYTES)
      this.#handed += packet.length
      this.#hand(packet, settled)
      return
    }
    this.#handed += PACKET_HEADER_BYTES + seal.overheadBytes + body.length
    this.#sealing.add(
      seal.seal(packet, body),
      sealed => this.#hand(joined([packet, sealed]), settled),
      error => this.#break(`a packet could not be sealed: ${error.message}`),
    )
  }

  #hand(packet: Uint8Array, settled: (() => void) | undefined): void {
    const bytes = packet.length
    this.bytesSent += bytes
    let handing: Promise<void>
    try {
      handing = this.#raw.send(packet)
    } catch (error) {
      handing = Promise.reject(error)
    }
    handing.then(
      () => {
        this.#handed -= bytes
        settled?.()
        if (this.#queue.length > 0) this.#pump()
      },
      (error: Error) => {
        // A transport that is closed knows why; the reason then ends this side too.
        this.#raw.close(error.message)
        settled?.()
      },
    )
  }

  /** A pong or credit, ahead of what waits. While one is with the transport, the next is held back: it then stands for all due. */
  #sendControl(kind: 'pong' | 'credit'): void {
    const state = this.#control[kind]
    if (state.out) {
      state.due = true
      return
    }
    state.out = true
    state.due = false
    this.#emit(kind, false, NO_BYTES, () => {
      state.out = false
      if (state.due && this.#reason === undefined) this.#sendControl(kind)
    })
  }

  // ---- receiving --------------------------------------------------------------------------------

  receive(handler: (message: Uint8Array) => void | Promise<void>): void {
    this.#inbox.receive(handler)
  }

  #arrive(packet: Uint8Array): void {
    this.#heard = performance.now()
    this.bytesReceived += packet.length
    this.#guarded(() => this.#accept(packet))
  }

  #accept(packet: Uint8Array): void {
    const seal = this.#seal
    const header = readHeader(packet, seal?.overheadBytes ?? 0)
    const { number } = header
    const due = this.#received
    if (number !== due) throw outOfOrder(number, due)
    this.#received = (due + 1) >>> 0
    const cost = header.kind === 'data' ? packetCost(packet.length) : 0
    this.#isOwed ||= cost > 0
    this.#held += cost
    if (this.#held > this.#window)
      throw new ConnectionError(
        `more came than the window of ${this.#window} bytes allows: both sides must have the same`,
      )
    // Without the methods of Node's Buffer, whose slices share memory.
    const body = new Uint8Array(
      packet.buffer,
      packet.byteOffset + PACKET_HEADER_BYTES,
      packet.length - PACKET_HEADER_BYTES,
    )
    if (!seal) {
      this.#take(header, body, cost)
      return
    }
    if (this.#opening.length > this.#window / LEAST_COST + MOST_CONTROL)
      throw new ConnectionError(`${this.#opening.length} packets came before one of them could be opened`)
    this.#opening.add(
      seal.open(packet.subarray(0, PACKET_HEADER_BYTES), body),
      opened => this.#guarded(() => this.#take(header, opened, cost)),
      error => this.#fail(error.message),
    )
  }

  /** What goes wrong with a packet ends the connection, and nothing else. */
  #guarded(act: () => void): void {
    if (this.#reason !== undefined) return
    try {
      act()
    } catch (error) {
      this.#fail((error as Error).message)
    }
  }

  /** A packet that is what it says. */
  #take({ kind, last, taken }: PacketHeader, body: Uint8Array, cost: number): void {
    const more = (taken - this.#takenThere) >>> 0
    if (more > this.#onTheirWay) throw malformed(`it credits ${more} bytes where ${this.#onTheirWay} were on their way`)
    this.#takenThere = taken
    this.#onTheirWay -= more
    if (kind === 'data') this.#inbox.add(body, last, cost)
    else if (kind === 'ping') this.#sendControl('pong')
    else if (kind === 'pong') {
      if (this.#pinged === undefined) throw malformed('a pong came where none was asked for')
      this.roundTripMs = performance.now() - this.#pinged
      this.#pinged = undefined
    } else if (kind === 'close') {
      const reason = decodeReason(body)
      this.#end(reason)
      this.#raw.close(reason)
      return
    }
    if (more > 0) this.#pump()
  }

  #credit(cost: number): void {
    this.#held -= cost
    this.#taken = (this.#taken + cost) >>> 0
    if (this.#reason !== undefined) return
    if ((this.#taken - this.#credited) >>> 0 >= this.#window / 4) this.#sendControl('credit')
  }

  // ---- life and end -----------------------------------------------------------------------------

  /** Looks after so many milliseconds whether the other side was heard. */
  #watch(milliseconds: number): void {
    const due = performance.now() + milliseconds
    this.#timer = unref(
      setTimeout(() => {
        const now = performance.now()
        // A thread that stood still could hear nothing meanwhile.
        if (now - due > this.#heartbeatMs) this.#heard += now - due
        const silence = now - this.#heard
        if (silence >= this.#silenceMs) {
          this.#fail(`nothing was heard of the other side for ${Math.round(silence)} ms: it counts as gone`)
          return
        }
        if (this.#isOwed) this.#sendControl('credit')
        if (silence >= this.#heartbeatMs && this.#pinged === undefined) {
          this.#pinged = now
          this.#emit('ping', false, NO_BYTES)
        }
        const untilPing = silence < this.#heartbeatMs ? this.#heartbeatMs - silence : this.#heartbeatMs
        this.#watch(Math.min(untilPing, this.#silenceMs - silence))
      }, Math.ceil(milliseconds)),
    )
  }

  close(reason = 'closed'): void {
    if (this.#closing !== undefined || this.#reason !== undefined) return
    this.#closing = reason
    clearTimeout(this.#timer)
    this.#timer = unref(setTimeout(() => this.#break(reason), Math.min(CLOSE_MS, this.#silenceMs)))
    this.#pump()
  }

  /** The last packet. The other side then closes the transport, which tells that it has all that came before. */
  #sendClose(reason: string, settled?: () => void): void {
    if (this.#isCloseSent) return
    this.#isCloseSent = true
    const most = Math.min(
      this.#raw.maxMessageBytes - PACKET_HEADER_BYTES - (this.#seal?.overheadBytes ?? 0),
      MAX_REASON_BYTES,
    )
    this.#emit('close', false, encodeReason(reason, most), settled)
  }

  /** Ends it for what the other side did, and tells it. */
  #fail(reason: string): void {
    if (this.#reason !== undefined) return
    this.#end(reason)
    let isOver = false
    const over = (): void => {
      if (isOver) return
      isOver = true
      clearTimeout(timer)
      this.#raw.close(reason)
    }
    const timer = unref(setTimeout(over, CLOSE_MS))
    if (this.#isCloseSent) over()
    else this.#sendClose(reason, over)
  }

  /** Ends it where nothing can be sent any more. */
  #break(reason: string): void {
    this.#end(reason)
    this.#raw.close(reason)
  }

  #end(reason: string): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    clearTimeout(this.#timer)
    for (const item of this.#queue.splice(0)) item.reject?.(closedError(reason))
    this.#resolveClosed(reason)
  }
}

/** Packets besides data that may wait to be opened. */
const MOST_CONTROL = 1024

const closedError = (reason: string): ConnectionError => new ConnectionError(`the connection is closed: ${reason}`)

function outOfOrder(number: number, due: number): ConnectionError {
  const ahead = (number - due) >>> 0
  const why =
    ahead >= 2 ** 31 ? 'it was repeated or came late' : ahead === 1 ? 'one was lost' : `${ahead} were lost or come late`
  return new ConnectionError(`packet ${number} came where ${due} was due: ${why}`)
}

/** A timer that does not keep a process alive, where the platform knows such. */
function unref<T>(timer: T): T {
  ;(timer as { unref?: () => void }).unref?.()
  return timer
}
