/** Measures the devices of a cluster and the links between them, by requests and messages such as will be sent. */
import { blankSequence, type Part, type Want } from '@prismal/models'
import type { SharedRunner } from '../cluster.js'
import { PlanError } from '../errors.js'
import { layerWork } from '../layer-work.js'
import type { SharingOptions } from '../options.js'
import { createPlan } from '../plan.js'
import { type LinkOptions, measureControl, measureLink, sharesLinks } from './links.js'
import type { ControlSpeed, LinkSpeed, Measurements } from './measurements.js'
import { SpeedMeter, type SpeedOptions } from './speed-meter.js'

export interface MeasureOptions extends SpeedOptions {
  readonly want: Want
  /** How devices will share: tells how long messages will be. */
  readonly sharing?: SharingOptions
  /** Longest wait for a probe; default 60,000. */
  readonly timeoutMs?: number
}

/**
 * Measures, with nothing else asked of the devices meanwhile: each device's speed while all compute and while it alone
 * does (requests that exchange nothing, of two sizes), then each link's latency and bandwidth, and the coordinator's own
 * connections. Inputs are blank: time does not depend on them. Throws `DeviceError` where a device fails or a link does
 * not answer in time, {@link PlanError} where there is no row to compute.
 */
export async function measure(runner: SharedRunner, options: MeasureOptions): Promise<Measurements> {
  const { rows, sharing = {}, timeoutMs = 60_000, signal } = options
  const longest = Math.max(0, ...rows)
  if (longest === 0) throw new PlanError('measure: there is no row to compute')
  const link = (messageBytes: number): LinkOptions => ({ messageBytes, timeoutMs })
  const controls: ControlSpeed[] = []
  const inputBytes = Math.ceil(inputBytesOf(blankSequence(runner.model, longest)) / runner.devices)
  for (let p = 0; p < runner.devices; p++) {
    signal?.throwIfAborted()
    controls.push(await measureControl(runner, p, link(inputBytes)))
  }
  const messages = link(messageBytes(runner, options.want, rows, sharing))
  const links: LinkSpeed[] = []
  for (let from = 0; from < runner.devices; from++)
    for (let to = 0; to < runner.devices; to++) {
      if (from === to || (runner.model.shape.causal && to < from)) continue
      signal?.throwIfAborted()
      links.push(await measureLink(runner, from, to, messages))
    }
  const sharedUplinks: number[] = []
  const sharedDownlinks: number[] = []
  for (let p = 0; p < runner.devices; p++) {
    signal?.throwIfAborted()
    if (await sharesLinks(runner, outOf(links, p), messages)) sharedUplinks.push(p)
    if (await sharesLinks(runner, into(links, p), messages)) sharedDownlinks.push(p)
  }
  const meter = new SpeedMeter(runner, options)
  await meter.measure()
  return { ...meter.speeds(controls), links, controls, sharedUplinks, sharedDownlinks }
}

const outOf = (links: readonly LinkSpeed[], p: number): LinkSpeed[] => links.filter(l => l.from === p)
const into = (links: readonly LinkSpeed[], p: number): LinkSpeed[] => links.filter(l => l.to === p)

const inputBytesOf = ({ ids, patches }: Part): number => (ids?.byteLength ?? 0) + (patches?.byteLength ?? 0)

/** The longest message of a layer, by these options or, where the strategy is open, sending every row. */
function messageBytes(runner: SharedRunner, want: Want, rows: readonly number[], sharing: SharingOptions): number {
  const { model, devices } = runner
  const { shape } = model
  const { weights: _, ...even } = sharing
  const { segments: _segments, compressionRate: _rate, point: _point, wire: _wire, ...exact } = even
  const ways: SharingOptions[] = even.strategy ? [even] : [even, { ...exact, strategy: 'full' }]
  const plans = ways.map(way => createPlan({ shape, rows, want, devices }, way))
  const lengths = plans.flatMap(plan =>
    Array.from({ length: devices }, (_, p) => layerWork(plan, shape, p, 0).sent.map(m => m.bytes)).flat(),
  )
  return Math.max(0, ...lengths)
}
