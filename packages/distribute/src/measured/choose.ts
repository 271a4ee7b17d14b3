/** Which way of sharing is fastest, by prediction, and whether sharing pays at all. */
import { SharingError } from '../errors.js'
import type { SharingOptions, Strategy } from '../options.js'
import { createPlan, type Plan } from '../plan.js'
import { layout, type SharedWork } from './layout.js'
import type { Measurements } from './measurements.js'
import { type Prediction, type PredictOptions, predict } from './predict.js'
import { alternative, named, refusal } from './reasons.js'

/** A way of doing the work, laid out. */
export interface Candidate {
  /** `one device` or the strategy, with its options: `means L=10, sink 1`. */
  readonly name: string
  readonly strategy: 'one device' | Strategy
  /** What to give the runner, the rows of each device included. */
  readonly sharing: SharingOptions
  readonly plan: Plan
  readonly prediction: Prediction
  readonly milliseconds: number
}

export interface Choice {
  /** The fastest first. */
  readonly candidates: readonly Candidate[]
  readonly chosen: Candidate
  /** The fastest device by itself. */
  readonly alone: Candidate
  /** Whether the fastest way of sharing is faster than one device. */
  readonly pays: boolean
  /** Why it was chosen, in one sentence with figures. */
  readonly reason: string
}

export interface ChooseOptions extends PredictOptions {
  /** Choose the fastest way of sharing where one device would be faster; otherwise that is an error. */
  readonly force?: boolean
}

/**
 * The fastest of: one device, `whole` for a batch of 2 or more, `full`, and `means` with the given options; where
 * `sharing.strategy` is given, of that and one device. Rows are laid out by {@link layout}, or by `sharing.weights` where
 * given. Throws {@link SharingError} where sharing would not pay, unless `force` is set.
 */
export function choose(
  work: SharedWork,
  measurements: Measurements,
  sharing: SharingOptions = {},
  { force = false, ...options }: ChooseOptions = {},
): Choice {
  const choice = compare(work, measurements, sharing, options)
  if (choice.pays) return choice
  const shared = choice.candidates.find(c => c.strategy !== 'one device')
  const why = refusal(choice.alone, shared, measurements, work.shape)
  if (!force) throw new SharingError(`sharing would not pay: ${why}`)
  return shared ? { ...choice, chosen: shared, reason: `forced: ${why}` } : choice
}

/** The same without refusing: where sharing would not pay, one device is chosen. */
export function compare(
  work: SharedWork,
  measurements: Measurements,
  sharing: SharingOptions = {},
  options: PredictOptions = {},
): Choice {
  const alone = aloneCandidate(work, measurements, options)
  const shared = measurements.devices.length < 2 ? [] : sharedCandidates(work, measurements, sharing, options)
  const candidates = [alone, ...shared].sort((a, b) => a.milliseconds - b.milliseconds)
  const chosen = candidates[0] as Candidate
  const others = candidates.slice(1).map(c => alternative(c, measurements, work.shape))
  const gain = alone.milliseconds / chosen.milliseconds
  const reason =
    chosen === alone
      ? refusal(alone, candidates[1], measurements, work.shape)
      : `${alternative(chosen, measurements, work.shape)}, ${gain.toFixed(2)}× as fast as one device; ${others.join('; ')}`
  return { candidates, chosen, alone, pays: chosen !== alone, reason }
}

function aloneCandidate(work: SharedWork, measurements: Measurements, options: PredictOptions): Candidate {
  const count = measurements.devices.length
  const ways = measurements.devices.map((device, p): Candidate => {
    const weights = Array.from({ length: count }, (_, q) => (q === p ? 1 : 0))
    const sharing: SharingOptions = { strategy: 'isolated', weights }
    const plan = createPlan({ ...work, devices: count }, sharing)
    const prediction = predict(plan, work.shape, measurements, options)
    const name = count > 1 ? `one device (${device.name})` : 'one device'
    return { name, strategy: 'one device', sharing, plan, prediction, milliseconds: prediction.milliseconds }
  })
  return ways.reduce((a, b) => (b.milliseconds < a.milliseconds ? b : a))
}

function sharedCandidates(
  work: SharedWork,
  measurements: Measurements,
  sharing: SharingOptions,
  options: PredictOptions,
): Candidate[] {
  const { segments: _segments, compressionRate: _rate, sink: _sink, point: _point, wire: _wire, ...plain } = sharing
  const ways: SharingOptions[] = sharing.strategy
    ? [sharing]
    : [
        ...(work.rows.length > 1 ? [{ ...plain, strategy: 'whole' as const }] : []),
        { ...plain, strategy: 'full' },
        { ...sharing, strategy: 'means' },
      ]
  return ways.map(way => {
    const laidOut: SharingOptions = way.weights
      ? way
      : { ...way, weights: layout(work, measurements, way, options).weights }
    const plan = createPlan({ ...work, devices: measurements.devices.length }, laidOut)
    const prediction = predict(plan, work.shape, measurements, options)
    const { milliseconds } = prediction
    return {
      name: named(plan, work.shape, way),
      strategy: plan.strategy,
      sharing: laidOut,
      plan,
      prediction,
      milliseconds,
    }
  })
}
