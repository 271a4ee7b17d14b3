/**
 * How long a plan will take on measured devices and links: the request is played through, layer by layer, as devices
 * compute and messages travel.
 */
import type { StackShape } from '@prismal/models'
import { type CostOptions, cost, type DeviceCost } from '../cost.js'
import { PlanError } from '../errors.js'
import { type LayerWork, layerWork } from '../layer-work.js'
import type { Plan } from '../plan.js'
import { linkBetween } from './links.js'
import { type ControlSpeed, type DeviceSpeed, type Measurements, transferMs } from './measurements.js'

/** One device's part of the time, in milliseconds since the request began. */
export interface DeviceTimeline {
  /** When its input was there. */
  readonly startedMs: number
  readonly computeMs: number
  /** Time without anything to do between begin and end: others' rows were on their way. */
  readonly waitingMs: number
  /** When it was done, and when its rows were at the coordinator. */
  readonly finishedMs: number
  readonly deliveredMs: number
}

export interface Prediction {
  readonly milliseconds: number
  readonly devices: readonly DeviceTimeline[]
}

export type PredictOptions = Pick<CostOptions, 'output' | 'sequences'> & {
  /** Costs of the plan, where they are known. */
  readonly costs?: readonly DeviceCost[]
  /** The median of so many plays with devices' variation; 1 plays once, without it. Default: 51 where devices vary. */
  readonly repeats?: number
}

/**
 * Milliseconds of one prefill by this plan, and each device's part. Means leave at the start of a layer; own blocks are
 * folded while they travel; a block of another device is folded once it is there, in the order of the devices. Messages of
 * one device leave one after the other where it was found to send at the speed of one link. Throws {@link PlanError} where
 * the plan has another number of devices than were measured, or uses a link that was not.
 */
export function predict(
  plan: Plan,
  shape: StackShape,
  measurements: Measurements,
  options: PredictOptions = {},
): Prediction {
  if (plan.devices > measurements.devices.length)
    throw new PlanError(`predict: the plan has ${plan.devices} devices; ${measurements.devices.length} were measured`)
  const costs = options.costs ?? cost(plan, shape, options)
  // Only the last layer differs, and those behind a loss.
  const middle = devicesWork(plan, shape, 0)
  const works = Array.from({ length: plan.layers }, (_, layer) =>
    layer < plan.layers - 1 && !plan.lost ? middle : devicesWork(plan, shape, layer),
  )
  const played = { plan, shape, measurements, costs, works }
  const varies = measurements.devices.some(d => d.jitter.length > 1)
  if (!varies || options.repeats === 1) return play(played, undefined)
  const chance = randomFrom(1)
  const plays = Array.from({ length: options.repeats ?? REPEATS }, () => play(played, chance))
  plays.sort((a, b) => a.milliseconds - b.milliseconds)
  return plays[Math.floor(plays.length / 2)] as Prediction
}

/** Odd, so that there is a middle one. */
const REPEATS = 51

const devicesWork = (plan: Plan, shape: StackShape, layer: number): LayerWork[] =>
  Array.from({ length: plan.devices }, (_, p) => layerWork(plan, shape, p, layer))

/** The same numbers from 0 to 1 each time: a prediction is repeatable. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

interface Played {
  readonly plan: Plan
  readonly shape: StackShape
  readonly measurements: Measurements
  readonly costs: readonly DeviceCost[]
  /** Of each layer and device. */
  readonly works: readonly (readonly LayerWork[])[]
}

function play({ plan, shape, measurements, costs, works }: Played, chance: (() => number) | undefined): Prediction {
  const busy = costs.filter(c => c.rows > 0).length
  const devices = costs.map((c, p) => new PlayedDevice(measurements.devices[p] as DeviceSpeed, c, busy <= 1))
  deal(devices, costs, measurements.controls)
  for (const device of devices) device.embed()
  const wires = new Wires(plan.devices, measurements)
  for (const work of works) {
    if (chance) for (const device of devices) device.vary(chance())
    playLayer(devices, wires, work, shape)
  }
  return collect(devices, costs, measurements)
}

/** A device at a point of the request. */
class PlayedDevice {
  readonly speed: DeviceSpeed
  readonly cost: DeviceCost
  /** Now, in milliseconds since the request began. */
  at = 0
  started = 0
  computeMs = 0
  readonly #factor: number
  #varied = 1

  constructor(speed: DeviceSpeed, cost: DeviceCost, isAlone: boolean) {
    this.speed = speed
    this.cost = cost
    this.#factor = isAlone ? speed.aloneFactor : 1
  }
  compute(milliseconds: number): void {
    this.at += milliseconds * this.#factor
    this.computeMs += milliseconds * this.#factor
  }
  /** From now on operations take the share of their mean time that `chance`, from 0 to 1, picks. */
  vary(chance: number): void {
    const { jitter } = this.speed
    this.#varied = jitter[Math.floor(chance * jitter.length)] ?? 1
  }
  operations(flops: number, fixedShare: number): void {
    const { layerMs, flopsPerSecond } = this.speed
    if (flops > 0) this.compute((layerMs * fixedShare + (flops / flopsPerSecond) * 1000) * this.#varied)
  }
  embed(): void {
    if (this.cost.rows > 0) this.compute(this.speed.embedMs + this.speed.embedRowMs * this.cost.rows)
  }
  finish(): void {
    if (this.cost.rows > 0) this.compute(this.speed.requestMs + this.speed.requestRowMs * this.cost.rows)
  }
}

/** When each direction of each device is free again. */
class Wires {
  readonly #measured: Measurements
  readonly #out: Float64Array[]
  readonly #in: Float64Array[]

  constructor(devices: number, measured: Measurements) {
    this.#measured = measured
    // A clock for each pair, or one for all of a device where its links hinder each other.
    this.#out = clocks(devices, measured.sharedUplinks)
    this.#in = clocks(devices, measured.sharedDownlinks)
  }
  /** Sends at this time; gives when it is there. */
  send(from: number, to: number, bytes: number, at: number): number {
    const { latencyMs, bitsPerSecond } = linkBetween(this.#measured.links, from, to)
    const out = this.#out[from] as Float64Array
    const into = this.#in[to] as Float64Array
    const o = to % out.length
    const i = from % into.length
    const left = Math.max(at, out[o] as number, into[i] as number) + transferMs(bytes, bitsPerSecond)
    out[o] = left
    into[i] = left
    return left + latencyMs
  }
}

const clocks = (devices: number, shared: readonly number[]): Float64Array[] =>
  Array.from({ length: devices }, (_, p) => new Float64Array(shared.includes(p) ? 1 : devices))

/** The coordinator's sends leave one after the other. */
function deal(devices: readonly PlayedDevice[], costs: readonly DeviceCost[], controls: readonly ControlSpeed[]): void {
  let left = 0
  for (const [p, device] of devices.entries()) {
    const control = controls[p] as ControlSpeed
    left += transferMs((costs[p] as DeviceCost).inputBytes, control.bitsPerSecond)
    device.started = left + control.latencyMs
    device.at = device.started
  }
}

function playLayer(
  devices: readonly PlayedDevice[],
  wires: Wires,
  work: readonly LayerWork[],
  { inner: F, heads, headWidth }: StackShape,
): void {
  // What a layer costs besides its operations goes with its weights: a product has a share of both.
  const A = heads * headWidth
  const keyShare = (2 * A) / (4 * A + 2 * F)
  const afterShare = (A + 2 * F) / (4 * A + 2 * F)
  const ownShare = 1 - afterShare
  const arrivals = devices.map(() => new Map<number, number[]>())
  const sends = work.flatMap(({ sent }, from) => sent.map(message => ({ from, ...message })))
  sends.sort((a, b) => (devices[a.from] as PlayedDevice).at - (devices[b.from] as PlayedDevice).at)
  for (const { from, device: to, bytes } of sends) {
    const there = wires.send(from, to, bytes, (devices[from] as PlayedDevice).at)
    const heard = arrivals[to] as Map<number, number[]>
    heard.set(from, [...(heard.get(from) ?? []), there])
  }
  for (const [p, device] of devices.entries()) {
    const { own, heard, after } = work[p] as LayerWork
    device.operations(own, ownShare)
    for (const block of heard) {
      const there = (arrivals[p] as Map<number, number[]>).get(block.device)?.shift() ?? 0
      device.at = Math.max(device.at, there)
      device.operations(block.flops, keyShare)
    }
    device.operations(after, afterShare)
  }
}

function collect(
  devices: readonly PlayedDevice[],
  costs: readonly DeviceCost[],
  { controls, coordinatorMs }: Measurements,
): Prediction {
  const timelines = devices.map((device, p): DeviceTimeline => {
    device.finish()
    const { latencyMs, bitsPerSecondBack } = controls[p] as ControlSpeed
    const outputMs = transferMs((costs[p] as DeviceCost).outputBytes, bitsPerSecondBack)
    const { started: startedMs, computeMs, at: finishedMs } = device
    const deliveredMs = finishedMs + outputMs + latencyMs
    return { startedMs, computeMs, waitingMs: finishedMs - startedMs - computeMs, finishedMs, deliveredMs }
  })
  return { milliseconds: Math.max(...timelines.map(t => t.deliveredMs)) + coordinatorMs, devices: timelines }
}
