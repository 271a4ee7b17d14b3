/** How many rows each device gets, so that the predicted time is least. */
import type { StackShape, Want } from '@prismal/models'
import type { SharingOptions } from '../options.js'
import { createPlan } from '../plan.js'
import { splitEven, splitWeighted } from '../runs.js'
import type { DeviceSpeed, Measurements } from './measurements.js'
import { type Prediction, type PredictOptions, predict } from './predict.js'

/** What will be asked for. */
export interface SharedWork {
  readonly shape: StackShape
  /** Rows of each sequence of the batch. */
  readonly rows: readonly number[]
  readonly want: Want
  /** Decoding follows; what is predicted is the prefill. */
  readonly decodes?: boolean
}

export interface Layout {
  /** Shares of the rows, one a device: rows of the longest sequence, or speeds where whole sequences are dealt out. */
  readonly weights: readonly number[]
  readonly prediction: Prediction
}

/** An uneven layout has to be better than the even one by this: measurements differ as much from one time to the next. */
const LEAST_GAIN = 0.03

/**
 * The rows of each device for this way of sharing. Devices that would hold up the others may get none. Equal devices get
 * even shares, unless the work itself is uneven. Throws `PlanError` for options that cannot be.
 */
export function layout(
  work: SharedWork,
  measurements: Measurements,
  sharing: SharingOptions = {},
  options: PredictOptions = {},
): Layout {
  const { shape, rows, want, decodes = false } = work
  const devices = measurements.devices.length
  const tried = new Map<string, Layout>()
  const at = (weights: readonly number[]): Layout => {
    const known = tried.get(weights.join())
    if (known) return known
    const plan = createPlan({ shape, rows, want, devices, decodes }, { ...sharing, weights })
    const made = { weights, prediction: predict(plan, shape, measurements, { ...options, repeats: 1 }) }
    tried.set(weights.join(), made)
    return made
  }
  const longest = Math.max(0, ...rows)
  const even = at(
    sharing.strategy === 'whole' ? new Array<number>(devices).fill(1) : countsOf(splitEven(longest, devices)),
  )
  if (devices === 1 || longest === 0) return even
  const speeds = measurements.devices.map(d => 1 / rowMs(d, shape))
  const fastestFirst = [...speeds.keys()].sort((a, b) => (speeds[b] as number) - (speeds[a] as number))
  let best = even
  // With all devices, and without the slowest ones.
  for (let kept = devices; kept >= 2; kept--) {
    const those = speeds.map((speed, p) => (fastestFirst.indexOf(p) < kept ? speed : 0))
    const start = at(sharing.strategy === 'whole' ? those : countsOf(splitWeighted(longest, those)))
    const found = sharing.strategy === 'whole' ? start : refined(start, at, Math.ceil(longest / 8))
    best = faster(best, found)
  }
  if (sharing.strategy !== 'whole') best = faster(best, refined(even, at, Math.ceil(longest / 8)))
  return best.prediction.milliseconds < even.prediction.milliseconds * (1 - LEAST_GAIN) ? best : even
}

const faster = (a: Layout, b: Layout): Layout => (b.prediction.milliseconds < a.prediction.milliseconds ? b : a)
const countsOf = (runs: readonly (readonly [number, number])[]): number[] => runs.map(([from, to]) => to - from)

/** Milliseconds of a row on a device, roughly: its products. */
function rowMs(speed: DeviceSpeed, { layers, width, heads, headWidth, inner }: StackShape): number {
  const flops = layers * width * (8 * heads * headWidth + 4 * inner)
  return speed.requestRowMs + speed.embedRowMs + (flops / speed.flopsPerSecond) * 1000
}

/** Rows go from the device that computes longest to the one that does shortest while that helps, ever fewer at a time. */
function refined(start: Layout, at: (weights: readonly number[]) => Layout, most: number): Layout {
  let best = start
  for (let step = most; step >= 1; ) {
    const busy = best.prediction.devices.map(d => d.computeMs)
    const used = best.weights.flatMap((w, p) => (w > 0 ? [p] : []))
    const from = used.reduce((a, b) => ((busy[b] as number) > (busy[a] as number) ? b : a))
    const to = used.reduce((a, b) => ((busy[b] as number) < (busy[a] as number) ? b : a))
    const moved = Math.min(step, (best.weights[from] as number) - 1)
    const next = best.weights.map((w, p) => w + (p === to ? moved : 0) - (p === from ? moved : 0))
    const tried = from === to || moved < 1 ? best : at(next)
    if (tried.prediction.milliseconds < best.prediction.milliseconds) best = tried
    else step = Math.floor(step / 2)
  }
  return best
}
