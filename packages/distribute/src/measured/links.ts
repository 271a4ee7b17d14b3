/** Latency and bandwidth of links, by probes of growing size. */
import type { SharedRunner } from '../cluster.js'
import { PlanError } from '../errors.js'
import { type ControlSpeed, type LinkSpeed, MOST_BITS_PER_SECOND, median, transferMs } from './measurements.js'
import { type EchoRequest, MAX_PROBE_BYTES, probeData, type SeriesAnswer, type SeriesRequest } from './probe.js'

/** A transfer of this length beyond latency is long enough to be timed. */
const LONG_ENOUGH_MS = 5
/** Nothing larger is probed after a probe that took as long. */
const TOO_LONG_MS = 250
const SMALLEST_BYTES = 1024
const GROWTH = 4
/** Round trips of each size; of the first (no data) more, since latency is their lower half's business. */
const EMPTY_PROBES = 9
const PROBES = 5

export interface LinkOptions {
  /** Length of the longest message that will travel, so that it, or something as long, is probed. */
  readonly messageBytes: number
  /** Longest wait for a probe, or a series of them. */
  readonly timeoutMs: number
}

/** Median round trip of `times` probes with so many bytes. */
type RoundTrip = (bytes: number, times: number) => Promise<number>

/** Median round trips by size, from none up. */
interface Sample {
  readonly bytes: number
  readonly milliseconds: number
}

/** Sizes grow until a transfer can be timed and a message's length is reached, or a probe has taken too long. */
async function samplesOf(roundTrip: RoundTrip, messageBytes: number): Promise<Sample[]> {
  await roundTrip(0, 2)
  const empty = await roundTrip(0, EMPTY_PROBES)
  const samples: Sample[] = [{ bytes: 0, milliseconds: empty }]
  for (let bytes = SMALLEST_BYTES; bytes <= MAX_PROBE_BYTES; bytes *= GROWTH) {
    // The first message of a size may grow buffers and windows.
    const first = await roundTrip(bytes, 1)
    const milliseconds = first > TOO_LONG_MS ? first : await roundTrip(bytes, PROBES)
    samples.push({ bytes, milliseconds })
    const isTimed = milliseconds - empty >= LONG_ENOUGH_MS
    if (milliseconds > TOO_LONG_MS || (isTimed && bytes >= messageBytes)) break
  }
  return samples
}

/**
 * Latency and bandwidth of round trips whose answers have no data. Half of an empty round trip is the latency; the
 * bandwidth is what the sizes of a message's order took beyond it, the larger the more it says.
 */
export function fitLink(samples: readonly Sample[]): { latencyMs: number; bitsPerSecond: number } {
  const empty = Math.min(...samples.map(s => s.milliseconds))
  let sizes = 0
  let products = 0
  for (const { bytes, milliseconds } of samples) {
    sizes += bytes * bytes
    products += bytes * Math.max(0, milliseconds - empty)
  }
  const bitsPerSecond = products > 0 ? (8000 * sizes) / products : MOST_BITS_PER_SECOND
  return { latencyMs: empty / 2, bitsPerSecond: Math.min(bitsPerSecond, MOST_BITS_PER_SECOND) }
}

const series =
  (runner: SharedRunner, from: number, to: number, timeoutMs: number): RoundTrip =>
  async (bytes, times) => {
    const json: SeriesRequest = { peer: to, bytes, times }
    const { frame } = await runner.probe(from, { json }, timeoutMs)
    return median((frame.json as SeriesAnswer).milliseconds)
  }

/** Latency and bandwidth from one device to another. Throws `DeviceError` where an answer does not come in time. */
export async function measureLink(
  runner: SharedRunner,
  from: number,
  to: number,
  { messageBytes, timeoutMs }: LinkOptions,
): Promise<LinkSpeed> {
  return { from, to, ...fitLink(await samplesOf(series(runner, from, to, timeoutMs), messageBytes)) }
}

/** The same of the coordinator's connection to a device, both ways. */
export async function measureControl(
  runner: SharedRunner,
  device: number,
  { messageBytes, timeoutMs }: LinkOptions,
): Promise<ControlSpeed> {
  const trips =
    (probe: (bytes: number) => { json?: EchoRequest; data?: Uint8Array }): RoundTrip =>
    async (bytes, times) => {
      const asked = probe(bytes)
      const taken: number[] = []
      for (let i = 0; i < times; i++) taken.push((await runner.probe(device, asked, timeoutMs)).milliseconds)
      return median(taken)
    }
  const there = fitLink(
    await samplesOf(
      trips(bytes => ({ data: probeData(bytes) })),
      messageBytes,
    ),
  )
  const back = fitLink(
    await samplesOf(
      trips(bytes => ({ json: { back: bytes } })),
      SMALLEST_BYTES,
    ),
  )
  return {
    device,
    latencyMs: Math.min(there.latencyMs, back.latencyMs),
    bitsPerSecond: there.bitsPerSecond,
    bitsPerSecondBack: back.bitsPerSecond,
  }
}

/**
 * Whether links of one device, in this direction, hinder each other: whether transfers over all of them at once take
 * nearer to the sum of their times than to the longest.
 */
export async function sharesLinks(
  runner: SharedRunner,
  links: readonly LinkSpeed[],
  { messageBytes, timeoutMs }: LinkOptions,
): Promise<boolean> {
  if (links.length < 2) return false
  const fastest = Math.max(...links.map(l => l.bitsPerSecond))
  const wanted = Math.max(messageBytes, (fastest / 8000) * LONG_ENOUGH_MS)
  const slowest = Math.min(...links.map(l => l.bitsPerSecond))
  const bytes = Math.floor(Math.min(wanted, MAX_PROBE_BYTES, (slowest / 8000) * TOO_LONG_MS))
  const alone = links.map(l => transferMs(bytes, l.bitsPerSecond))
  // So fast that it is copying which is timed, not a link.
  if (Math.max(...alone) < LONG_ENOUGH_MS / 2) return false
  const together = await Promise.all(
    links.map(async l => (await series(runner, l.from, l.to, timeoutMs)(bytes, PROBES)) - 2 * l.latencyMs),
  )
  const sum = alone.reduce((a, b) => a + b, 0)
  return median(together) > (Math.max(...alone) + sum) / 2
}

/** The measured link. Throws {@link PlanError} where there is none. */
export function linkBetween(links: readonly LinkSpeed[], from: number, to: number): LinkSpeed {
  const link = links.find(l => l.from === from && l.to === to)
  if (!link) throw new PlanError(`predict: the link from device ${from} to device ${to} was not measured`)
  return link
}
