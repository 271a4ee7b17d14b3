/**
 * Probes: messages that are answered at once, whose round trips tell how fast a link is. The coordinator asks a device for
 * a series over its link to another one, or probes its own connection to the device.
 */
import { ConnectionError } from '../errors.js'
import type { Frame } from '../wire.js'
import { frame } from '../wire.js'

/** Longest data of a probe and of its answer. */
export const MAX_PROBE_BYTES = 4 * 1024 * 1024
/** Most round trips of a series. */
export const MAX_PROBES = 256

/** Asks a device for round trips over its link to `peer`. */
export interface SeriesRequest {
  readonly peer: number
  /** Data of each probe; what comes back has none. */
  readonly bytes: number
  readonly times: number
}
export interface SeriesAnswer {
  /** Each round trip. */
  readonly milliseconds: readonly number[]
}
/** Asks for an answer with so many bytes. */
export interface EchoRequest {
  readonly back: number
}

interface Sender {
  send(frame: Frame): void
}

/** `bytes` that do not compress. */
export function probeData(bytes: number): Uint8Array {
  const data = new Uint8Array(bytes)
  let state = 1
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    data[i] = state >>> 24
  }
  return data
}

/** The answer to a probe. Throws {@link ConnectionError} where more is asked for than is given. */
export function echoOf(probe: Frame, from: number): Frame {
  const { back = 0 } = (probe.json ?? {}) as Partial<EchoRequest>
  expectWhole('an answer of bytes', back, MAX_PROBE_BYTES)
  return frame('echo', probe.request, { from, data: back > 0 ? probeData(back) : new Uint8Array(0) })
}

/** The series that a device has under way. */
export class Prober {
  readonly #waiting = new Map<number, { peer: number; resolve: () => void; reject: (error: Error) => void }>()

  /** Takes the answer of another device. */
  answered(request: number): void {
    const waiting = this.#waiting.get(request)
    this.#waiting.delete(request)
    waiting?.resolve()
  }

  /** Ends what waits for this device. */
  fail(peer: number, error: Error): void {
    for (const [request, waiting] of this.#waiting)
      if (waiting.peer === peer) {
        this.#waiting.delete(request)
        waiting.reject(error)
      }
  }

  /** One round trip after the other. Throws {@link ConnectionError} where more is asked for than is given. */
  async series(link: Sender, request: number, { peer, bytes, times }: SeriesRequest): Promise<SeriesAnswer> {
    expectWhole('probes of bytes', bytes, MAX_PROBE_BYTES)
    expectWhole('probes', times, MAX_PROBES)
    const data = probeData(bytes)
    const milliseconds: number[] = []
    for (let i = 0; i < times; i++) {
      const started = performance.now()
      const answer = new Promise<void>((resolve, reject) => this.#waiting.set(request, { peer, resolve, reject }))
      link.send(frame('probe', request, { data }))
      await answer
      milliseconds.push(performance.now() - started)
    }
    return { milliseconds }
  }
}

function expectWhole(what: string, value: unknown, most: number): void {
  if (!(Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most))
    throw new ConnectionError(`${what}: ${value} were asked for; a device gives from 0 to ${most}`)
}
