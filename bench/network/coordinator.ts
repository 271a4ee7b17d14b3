/** The coordinator's process: a model, the devices that it has joined, and requests by whichever runner a turn names. */
import { readFileSync } from 'node:fs'
import { cluster, cost, createPlan, type DeviceSpec, remote, Secret, type SharedRunner } from '@prismal/distribute'
import {
  aloneRunner,
  type Head,
  headOf,
  loadModel,
  type Model,
  type Part,
  type Request,
  type Runner,
  textPart,
  type Want,
} from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { randomFrom } from '../../test/random.js'
import { serveLines } from '../line-process.js'
import type {
  Choice,
  CoordinatorLoad,
  CoordinatorMessage,
  CoordinatorTurn,
  PlannedDevice,
  Subject,
} from './coordinator-messages.js'
import { Forecast } from './foresee.js'

interface Held {
  readonly load: CoordinatorLoad
  readonly model: Model
  readonly shared: SharedRunner
  readonly runners: ReadonlyMap<string, Runner>
}

async function open(load: CoordinatorLoad): Promise<Held> {
  const engine = await createEngine({ threads: 1 })
  const model = await loadModel(await openFiles(load.folder), { engine, warn: () => {}, dtype: load.dtype })
  const secret =
    load.secretFile === undefined ? {} : { secret: Secret.parse(readFileSync(load.secretFile, 'utf8').trim()) }
  const specs = load.devices.map((device): DeviceSpec => (device === 'local' ? device : remote(device, secret)))
  const shared = await cluster(specs).runner(model)
  const runners = Object.entries(load.runners).map(
    ([name, spec]) => [name, spec === 'alone' ? aloneRunner(model) : shared.with(spec)] as const,
  )
  return { load, model, shared, runners: new Map(runners) }
}

const headFor = ({ kind }: Subject): Head => (kind === 'image' ? 'classify' : 'vocabulary')
const wantOf = ({ kind }: Subject): Want => (kind === 'image' ? 'first' : 'last')

/** One of the 256 values that a picture's channel has once it is scaled to [−1, 1]. */
const level = (random: number): number => Math.floor(256 * random) / 127.5 - 1

/** Inputs without a pattern; what they hold changes nothing about the work. */
function inputsOf({ model: { shape }, load: { subject } }: Held, batch: number): Part[] {
  return Array.from({ length: batch }, (_, i) => {
    const random = randomFrom(i + 1)
    if (subject.kind === 'prompt')
      return textPart(Array.from({ length: subject.tokens }, () => 1 + Math.floor(random() * LEAST_VOCABULARY)))
    const values = (shape.positions - shape.prefixRows) * shape.patchWidth
    return { from: 0, to: shape.positions, patches: Float32Array.from({ length: values }, () => level(random())) }
  })
}
/** Every model that is timed here knows so many ids. */
const LEAST_VOCABULARY = 8000

const runnerOf = ({ runners }: Held, name: string): Runner => {
  const runner = runners.get(name)
  if (!runner) throw new Error(`there is no runner "${name}"`)
  return runner
}

/** One request over all inputs, its logits read, and what `then` wants of it before it ends. */
async function requestOf<T>(
  held: Held,
  name: string,
  inputs: readonly Part[],
  then: (r: Request, logits: Float32Array) => T,
) {
  const { model, load } = held
  const request = runnerOf(held, name).begin()
  try {
    const rows = await request.rows(inputs, wantOf(load.subject))
    return then(request, headOf(model, headFor(load.subject))(rows).floats())
  } finally {
    request.end()
  }
}

async function turn(held: Held, { runner, batch, runs }: Choice & { runs: number }): Promise<CoordinatorTurn> {
  const inputs = inputsOf(held, batch)
  const milliseconds: number[] = []
  const deviceMilliseconds: number[] = []
  for (let i = 0; i < runs; i++) {
    const started = performance.now()
    const report = await requestOf(held, runner, inputs, request => request.report())
    milliseconds.push(performance.now() - started)
    deviceMilliseconds.push(Math.max(...report.devices.map(d => d.milliseconds)))
    if (report.deviations.length > 0) throw new Error(report.deviations.join('; '))
  }
  return { milliseconds, deviceMilliseconds }
}

function planned({ model, load, shared }: Held, sequences: readonly Part[], runner: string): PlannedDevice[] {
  const options = load.runners[runner]
  if (!options || options === 'alone') throw new Error(`${runner} shares nothing, so there is no plan`)
  const rows = sequences.map(part => part.to)
  const request = { shape: model.shape, rows, want: wantOf(load.subject), devices: shared.devices }
  return cost(createPlan(request, options), model.shape, { sequences })
}

async function difference(held: Held, runner: string): Promise<number> {
  const inputs = inputsOf(held, 1)
  const logits = (name: string): Promise<Float32Array> => requestOf(held, name, inputs, (_, values) => values)
  const [alone, shared] = [await logits('alone'), await logits(runner)]
  const largest = alone.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
  const most = alone.reduce((before, v, i) => Math.max(before, Math.abs(v - shared[i]!)), 0) / largest
  // As JSON it would be null, which passes for 0.
  if (!Number.isFinite(most)) throw new Error(`${runner}: its logits, or those of one device, are not finite`)
  return most
}

let held: Held | undefined
let forecast: Forecast | undefined
await serveLines<CoordinatorMessage>(async message => {
  if ('load' in message) {
    held = await open(message.load)
    return {}
  }
  if (!held) throw new Error('nothing is loaded')
  if ('turn' in message) return await turn(held, message.turn)
  if ('planned' in message)
    return { devices: planned(held, inputsOf(held, message.planned.batch), message.planned.runner) }
  if ('difference' in message) return { difference: await difference(held, message.difference) }
  if ('foresee' in message) {
    const { shared, load } = held
    const sharing = load.runners.means
    if (!sharing || sharing === 'alone') throw new Error('there is no runner "means", whose options are foreseen')
    const sequences = inputsOf(held, message.foresee.batch)
    forecast = await Forecast.make({
      runner: shared,
      sequences,
      want: wantOf(load.subject),
      head: headFor(load.subject),
      sharing,
    })
    return forecast.foreseen
  }
  if (!forecast) throw new Error('nothing was foreseen')
  return { verified: await forecast.verify(message.verify.rounds) }
})
