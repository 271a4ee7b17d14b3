/** Why a way of sharing is fast or slow, as a person would say it. */
import type { StackShape } from '@prismal/models'
import { layerWork } from '../layer-work.js'
import type { SharingOptions } from '../options.js'
import type { Plan } from '../plan.js'
import { withDefaults } from '../recommended.js'
import type { Candidate } from './choose.js'
import { linkBetween } from './links.js'
import { type Measurements, transferMs } from './measurements.js'

/** Waiting is worth a word from this share of the time on. */
const MUCH_WAITING = 0.1

/** `means L=10, sink 1, int4`. */
export function named(plan: Plan, shape: StackShape, sharing: SharingOptions): string {
  if (plan.strategy !== 'means') return plan.strategy
  const { sink = 0 } = withDefaults(shape, plan.devices, sharing)
  const longest = plan.sequences.reduce((a, b) => (b.rows > a.rows ? b : a), plan.sequences[0] as Plan['sequences'][0])
  const segments = longest
    ? Math.max(...longest.sent.flatMap(each => each.map((runs, p) => runs.length - (p === 0 ? sink : 0))))
    : 0
  return `means L=${Math.max(0, segments)}${sink > 0 ? `, sink ${sink}` : ''}, ${plan.wire}`
}

/** `full 171 ms, of which 60 ms waiting: 301 kB a layer at 94 Mbit/s`. */
export function alternative(candidate: Candidate, measurements: Measurements, shape: StackShape): string {
  const { name, milliseconds } = candidate
  return `${name} ${duration(milliseconds)}${waiting(candidate, measurements, shape)}`
}

/** `one device (local) takes 290 ms, means L=10, sink 1 900 ms, of which 600 ms waiting: 33 kB a layer at 1 Mbit/s`. */
export function refusal(
  alone: Candidate,
  shared: Candidate | undefined,
  measurements: Measurements,
  shape: StackShape,
): string {
  const { name, milliseconds } = alone
  const one = `${name} takes ${duration(milliseconds)}`
  return shared ? `${one}, ${alternative(shared, measurements, shape)}` : `${one}, and there is no other`
}

function waiting({ prediction, plan, milliseconds }: Candidate, { links }: Measurements, shape: StackShape): string {
  const longest = Math.max(...prediction.devices.map(d => d.waitingMs))
  const waiting = prediction.devices.findIndex(d => d.waitingMs === longest)
  if (longest < MUCH_WAITING * milliseconds) return ''
  const heard = layerWork(plan, shape, waiting, 0).heard.map(({ device, bytes }) => {
    const link = linkBetween(links, device, waiting)
    return { bytes, link, milliseconds: link.latencyMs + transferMs(bytes, link.bitsPerSecond) }
  })
  if (heard.length === 0) return `, of which ${duration(longest)} waiting`
  const { bytes, link, milliseconds: travelMs } = heard.reduce((a, b) => (b.milliseconds > a.milliseconds ? b : a))
  if (travelMs * plan.layers < longest / 2)
    return `, of which ${duration(longest)} waiting for the slower device of each layer`
  const latency = link.latencyMs >= 1 ? `, ${duration(link.latencyMs)} late` : ''
  return `, of which ${duration(longest)} waiting: ${size(bytes)} a layer at ${rate(link.bitsPerSecond)}${latency}`
}

/** 123456 → `123 kB`. */
export function size(bytes: number): string {
  const [value, unit] = scaled(bytes)
  return `${value} ${unit}B`
}
/** 94123456 → `94 Mbit/s`. */
export function rate(bitsPerSecond: number): string {
  const [value, unit] = scaled(bitsPerSecond)
  return `${value} ${unit}bit/s`
}
/** Milliseconds as people read them: 12.345 → `12 ms`, 0.5 → `0.5 ms`, 12345 → `12.3 s`. */
export const duration = (ms: number): string =>
  ms >= 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${ms >= 10 ? Math.round(ms) : ms.toFixed(1)} ms`

function scaled(n: number): [string, string] {
  const units = ['', 'k', 'M', 'G', 'T']
  let value = n
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return [value.toFixed(unit === 0 || value >= 9.95 ? 0 : 1), units[unit] as string]
}
