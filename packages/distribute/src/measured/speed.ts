/** A device's speed out of timed requests of several sizes. */
import { DeviceError } from '../errors.js'
import type { DeviceSpeed } from './measurements.js'

/** Medians over requests of one size. */
export interface SpeedSample {
  readonly rows: number
  /** Operations of all layers, and their time. */
  readonly flops: number
  readonly layersMs: number
  /** The layers but the last, and the last alone, of which few rows are asked: where they had operations. */
  readonly parts: readonly LayersSample[]
  readonly embedMs: number
  /** Each layer's time in each request, the last layers apart: shares of their mean. */
  readonly variation: readonly number[]
  /** Of the whole request on the device. */
  readonly milliseconds: number
}

/** Some layers of a request: their number, operations and time. */
export interface LayersSample {
  readonly units: number
  readonly work: number
  readonly milliseconds: number
}

interface Line {
  readonly fixed: number
  readonly slope: number
}

/** Time = fixed · units + slope · work, neither below 0, with the least relative error over the samples. */
export function fitLine(samples: readonly LayersSample[]): Line {
  // Each sample is divided by its time, so that all count alike: u·fixed + w·slope ≈ 1.
  let uu = 0
  let uw = 0
  let ww = 0
  let u1 = 0
  let w1 = 0
  for (const { units, work, milliseconds } of samples) {
    if (milliseconds <= 0) continue
    const u = units / milliseconds
    const w = work / milliseconds
    uu += u * u
    uw += u * w
    ww += w * w
    u1 += u
    w1 += w
  }
  const determinant = uu * ww - uw * uw
  const fixed = (u1 * ww - w1 * uw) / determinant
  const slope = (w1 * uu - u1 * uw) / determinant
  // Too alike to be told apart, or noise that points the other way: one of them is 0.
  const isSolved = determinant > 1e-9 * uu * ww
  if (isSolved && fixed >= 0 && slope >= 0) return { fixed, slope }
  const onlySlope = { fixed: 0, slope: ww > 0 ? w1 / ww : 0 }
  return isSolved && slope < 0 ? { fixed: uu > 0 ? u1 / uu : 0, slope: 0 } : onlySlope
}

const QUANTILES = 32

/** Values of these shares, ascending, scaled to mean 1. */
export function quantiles(values: readonly number[]): number[] {
  if (values.length < 2) return [1]
  const sorted = values.toSorted((a, b) => a - b)
  const at = (q: number): number => sorted[Math.floor(((q + 0.5) / QUANTILES) * sorted.length)] as number
  const picked = Array.from({ length: QUANTILES }, (_, q) => at(q))
  const mean = picked.reduce((a, b) => a + b, 0) / QUANTILES
  return picked.map(v => v / mean)
}

/** Throws {@link DeviceError} where a device computed nothing. */
export function fitDevice(name: string, samples: readonly SpeedSample[]): DeviceSpeed {
  const timed = samples.filter(s => s.flops > 0 && s.layersMs > 0)
  const last = timed.at(-1)
  if (!last) throw new DeviceError(`${name} was given no row of the requests that measure: there are too few rows`)
  const layer = fitLine(timed.flatMap(s => s.parts))
  const embed = fitLine(timed.map(s => ({ units: 1, work: s.rows, milliseconds: s.embedMs })))
  const rest = fitLine(
    timed.map(s => ({ units: 1, work: s.rows, milliseconds: s.milliseconds - s.embedMs - s.layersMs })),
  )
  return {
    name,
    requestMs: rest.fixed,
    requestRowMs: rest.slope,
    embedMs: embed.fixed,
    embedRowMs: embed.slope,
    layerMs: layer.fixed,
    // A slope of 0 means that operations could not be told from what is fixed.
    flopsPerSecond: 1000 / Math.max(layer.slope, 1e-15),
    overallFlopsPerSecond: (last.flops / last.milliseconds) * 1000,
    aloneFactor: 1,
    jitter: quantiles(timed[0]?.variation ?? []),
  }
}
