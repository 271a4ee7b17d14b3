/** Times requests that exchange nothing, round after round: what devices can do, together and each alone. */
import { blankSequence, type DeviceReport, type Head, headOf, type Part, type Report, type Want } from '@prismal/models'
import type { SharedRunner } from '../cluster.js'
import { PlanError } from '../errors.js'
import type { SharingOptions } from '../options.js'
import { splitEven } from '../runs.js'
import { type ControlSpeed, type DeviceSpeed, type Measurements, median, transferMs } from './measurements.js'
import { fitDevice, type SpeedSample } from './speed.js'

export interface SpeedOptions {
  /** Rows of each sequence that will be asked for. */
  readonly rows: readonly number[]
  /** What the coordinator computes of the rows; default: nothing. */
  readonly head?: Head | undefined
  /** Rounds go on for about so long; default 6,000. There are at least 3. */
  readonly budgetMs?: number
  /** Ends the measuring, with its reason. */
  readonly signal?: AbortSignal | undefined
}

const LEAST_ROUNDS = 3
const MOST_ROUNDS = 40
/** Before anything counts: code is compiled, caches and processors warm up. */
const WARM_UP_MS = 500

/** One kind of request that is made again and again. */
interface Kind {
  readonly runner: SharedRunner
  readonly sequences: readonly Part[]
  readonly want: Want
  readonly reports: Report[]
}

/**
 * A round is a request of each kind: a sequence split evenly, where every device computes its share; a sequence for each
 * device; and, where there are several devices, one for each device while the others are idle. Inputs are blank: time does
 * not depend on them.
 */
export class SpeedMeter {
  readonly #runner: SharedRunner
  readonly #options: SpeedOptions
  readonly #split: Kind
  readonly #dealt: Kind
  readonly #single: readonly Kind[]
  readonly #headMs: number[] = []

  /** Throws {@link PlanError} where there is no row to compute. */
  constructor(runner: SharedRunner, options: SpeedOptions) {
    this.#runner = runner
    this.#options = options
    const P = runner.devices
    const longest = Math.max(0, ...options.rows)
    if (longest === 0) throw new PlanError('measure: there is no row to compute')
    const sequence = blankSequence(runner.model, longest)
    const kind = (sharing: SharingOptions, count: number, wanted: readonly number[] = [0]): Kind => ({
      runner: runner.with(sharing),
      sequences: new Array<Part>(count).fill(sequence),
      want: new Array<readonly number[]>(count).fill(wanted),
      reports: [],
    })
    // One row of each device's share: its last layer then tells what a layer costs that has few rows.
    const firsts = splitEven(longest, P).flatMap(([from, to]) => (to > from ? [from] : []))
    this.#split = kind({ strategy: 'isolated' }, 1, firsts)
    this.#dealt = kind({ strategy: 'whole' }, P === 1 ? 2 : P)
    const devices = Array.from({ length: P }, (_, p) => p)
    this.#single =
      P === 1 ? [] : devices.map(p => kind({ strategy: 'isolated', weights: devices.map(q => (q === p ? 1 : 0)) }, 1))
  }

  /** Warms up, then rounds until the budget is used. */
  async measure(): Promise<void> {
    const { budgetMs = 6000 } = this.#options
    const since = performance.now()
    do await this.round(false)
    while (performance.now() - since < WARM_UP_MS)
    const started = performance.now()
    for (let i = 0; i < MOST_ROUNDS && (i < LEAST_ROUNDS || performance.now() - started < budgetMs); i++)
      await this.round()
  }

  /** One request of each kind; a warm-up is not kept. */
  async round(keep = true): Promise<void> {
    const { head, signal } = this.#options
    for (const kind of [this.#split, this.#dealt, ...this.#single]) {
      const { report, headMs } = await request(kind, head, signal)
      if (!keep) continue
      kind.reports.push(report)
      this.#headMs.push(headMs / kind.sequences.length)
    }
  }

  /** What the rounds so far say, with these speeds of the coordinator's connections. */
  speeds(controls: readonly ControlSpeed[]): Pick<Measurements, 'devices' | 'coordinatorMs'> {
    const devices = this.#runner.members.map(({ name }, p): DeviceSpeed => {
      const together = fitDevice(name, [sampleOf(this.#split.reports, p), sampleOf(this.#dealt.reports, p)])
      const single = this.#single[p]
      return single ? { ...together, aloneFactor: aloneFactor(together, sampleOf(single.reports, p)) } : together
    })
    const kinds = [this.#split, this.#dealt, ...this.#single]
    return { devices, coordinatorMs: coordinatorMs(kinds, controls) + median(this.#headMs) }
  }
}

async function request(
  { runner, sequences, want }: Kind,
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
  const { rows, stages } = accounts[0] as DeviceReport
  const layers = stages.filter(s => /^\d+$/.test(s.stage)).map(s => s.stage)
  const flopsOf = (names: readonly string[]): number =>
    stages.reduce((sum, s) => sum + (names.includes(s.stage) ? s.flops : 0), 0)
  const timeOf = (names: readonly string[]): number =>
    median(accounts.map(a => a.stages.reduce((sum, s) => sum + (names.includes(s.stage) ? s.milliseconds : 0), 0)))
  const parts = [layers.slice(0, -1), layers.slice(-1)].map(names => ({
    units: names.length,
    work: flopsOf(names),
    milliseconds: timeOf(names),
  }))
  return {
    rows,
    flops: flopsOf(layers),
    layersMs: timeOf(layers),
    parts: parts.filter(part => part.work > 0),
    embedMs: timeOf(['embed']),
    variation: variationOf(
      accounts.map(a => a.stages.filter(s => s.flops > 0 && layers.slice(0, -1).includes(s.stage))),
    ),
    milliseconds: median(accounts.map(a => a.milliseconds)),
  }
}

function variationOf(layers: readonly DeviceReport['stages'][]): number[] {
  const times = layers.flat().map(s => s.milliseconds)
  const mean = times.reduce((a, b) => a + b, 0) / times.length
  return mean > 0 ? times.map(t => t / mean) : []
}

/** How a device's time alone compares with what its speed beside the others says. */
function aloneFactor(speed: DeviceSpeed, { rows, flops, parts, milliseconds }: SpeedSample): number {
  const layers = parts.reduce((sum, part) => sum + part.units, 0)
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
