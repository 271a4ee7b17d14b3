/** Measures the devices of a cluster and the links between them, by requests and messages such as will be sent. */
import { blankSequence, type DeviceReport, type Head, headOf, type Part, type Report, type Want } from '@prismal/models'
import type { SharedRunner } from '../cluster.js'
import { PlanError } from '../errors.js'
import { layerWork } from '../layer-work.js'
import { createPlan, type SharingOptions } from '../plan.js'
import { type LinkOptions, measureControl, measureLink, sharesLinks } from './links.js'
import {
  type ControlSpeed,
  type DeviceSpeed,
  type LinkSpeed,
  type Measurements,
  median,
  transferMs,
} from './measurements.js'
import { fitDevice, type SpeedSample } from './speed.js'

export interface MeasureOptions {
  /** Rows of each sequence that will be asked for. */
  readonly rows: readonly number[]
  readonly want: Want
  /** How devices will share: tells how long messages will be. */
  readonly sharing?: SharingOptions
  /** What the coordinator computes of the rows; default: nothing. */
  readonly head?: Head | undefined
  /** Requests of each kind go on for about so long; default 3,000. There are at least 3 of each. */
  readonly budgetMs?: number
  /** Longest wait for a probe; default 60,000. */
  readonly timeoutMs?: number
  /** Ends the measuring, with its reason. */
  readonly signal?: AbortSignal
}

const LEAST_ROUNDS = 3
const MOST_ROUNDS = 40
/** Before anything counts: code is compiled, caches and processors warm up. */
const WARM_UP_MS = 500

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
  const speeds = await measureSpeeds(runner, longest, controls, options)
  return { ...speeds, links, controls, sharedUplinks, sharedDownlinks }
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

/** One kind of request that is made again and again. */
interface Kind {
  readonly runner: SharedRunner
  readonly sequences: readonly Part[]
  readonly reports: Report[]
  /** The device that has all rows, where one has. */
  readonly alone?: number
}

async function measureSpeeds(
  runner: SharedRunner,
  longest: number,
  controls: readonly ControlSpeed[],
  { want, head, budgetMs = 3000, signal }: MeasureOptions,
): Promise<Pick<Measurements, 'devices' | 'coordinatorMs'>> {
  const P = runner.devices
  const sequence = blankSequence(runner.model, longest)
  // `want` may name rows of sequences that are not these; one row of each is as good.
  const asked: Want = typeof want === 'string' ? want : 'last'
  const kind = (options: SharingOptions, count: number, alone?: number): Kind => ({
    runner: runner.with(options),
    sequences: new Array<Part>(count).fill(sequence),
    reports: [],
    ...(alone !== undefined && { alone }),
  })
  const split = kind({ strategy: 'isolated' }, 1)
  const dealt = kind({ strategy: 'whole' }, P === 1 ? 2 : P)
  const devices = Array.from({ length: P }, (_, p) => p)
  const single = devices.map(p => kind({ strategy: 'isolated', weights: devices.map(q => (q === p ? 1 : 0)) }, 1, p))
  const kinds = [split, dealt, ...(P > 1 ? single : [])]
  const heads: number[] = []
  const round = async (keep: boolean): Promise<void> => {
    for (const one of kinds) {
      const { report, headMs } = await request(one, asked, head, signal)
      if (!keep) continue
      one.reports.push(report)
      heads.push(headMs / one.sequences.length)
    }
  }
  const since = performance.now()
  do await round(false)
  while (performance.now() - since < WARM_UP_MS)
  const started = performance.now()
  for (let i = 0; i < MOST_ROUNDS && (i < LEAST_ROUNDS || performance.now() - started < budgetMs * kinds.length); i++)
    await round(true)

  const samples = devices.map(p => [split, dealt].map(one => sampleOf(one.reports, p)))
  const speeds = devices.map((p): DeviceSpeed => {
    const name = runner.members[p]?.name ?? `device ${p}`
    const together = fitDevice(name, samples[p] as SpeedSample[])
    return P === 1
      ? together
      : { ...together, aloneFactor: aloneFactor(together, sampleOf((single[p] as Kind).reports, p)) }
  })
  return { devices: speeds, coordinatorMs: coordinatorMs(kinds, controls) + median(heads) }
}

async function request(
  { runner, sequences }: Kind,
  want: Want,
  head: Head | undefined,
  signal: AbortSignal | undefined,
): Promise<{ report: Report; headMs: number }> {
  const request = runner.begin(signal)
  try {
    const rows = await request.rows(sequences, want)
    const report = request.report()
    const started = performance.now()
    if (head) headOf(runner.model, head)(rows)
    return { report, headMs: performance.now() - started }
  } finally {
    request.end()
  }
}

/** Medians of a device's times over requests of one kind. */
function sampleOf(reports: readonly Report[], p: number): SpeedSample {
  const accounts = reports.map(r => r.devices[p] as DeviceReport)
  const first = accounts[0] as DeviceReport
  const isLayer = (stage: string): boolean => /^\d+$/.test(stage)
  const layers = first.stages.filter(s => isLayer(s.stage))
  const timeOf = (account: DeviceReport, wanted: (stage: string) => boolean): number =>
    account.stages.reduce((sum, s) => sum + (wanted(s.stage) ? s.milliseconds : 0), 0)
  const embedMs = median(accounts.map(a => timeOf(a, stage => stage === 'embed')))
  const layersMs = median(accounts.map(a => timeOf(a, isLayer)))
  return {
    rows: first.rows,
    flops: layers.reduce((sum, s) => sum + s.flops, 0),
    layers: layers.filter(s => s.flops > 0).length,
    embedMs,
    layersMs,
    milliseconds: median(accounts.map(a => a.milliseconds)),
  }
}

/** How a device's time alone compares with what its speed beside the others says. */
function aloneFactor(speed: DeviceSpeed, { rows, flops, layers, milliseconds }: SpeedSample): number {
  const fixed = speed.requestMs + speed.embedMs + layers * speed.layerMs
  const growing = (speed.requestRowMs + speed.embedRowMs) * rows + (flops / speed.flopsPerSecond) * 1000
  return milliseconds / (fixed + growing)
}

/** What is left of requests beyond their slowest device and the way to it and back. */
function coordinatorMs(kinds: readonly Kind[], controls: readonly ControlSpeed[]): number {
  const left = kinds.flatMap(({ reports }) =>
    reports.map(({ milliseconds, devices }) => {
      const ends = controls.map(({ latencyMs, bitsPerSecond, bitsPerSecondBack }, p) => {
        const device = devices[p] as DeviceReport
        const there = transferMs(device.inputBytes, bitsPerSecond) + latencyMs
        return there + device.milliseconds + transferMs(device.outputBytes, bitsPerSecondBack) + latencyMs
      })
      return milliseconds - Math.max(...ends)
    }),
  )
  return Math.max(0, median(left))
}
