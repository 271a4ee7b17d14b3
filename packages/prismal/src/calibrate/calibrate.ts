/** Choosing how devices share by trying it on inputs without labels, beside one device. */
import { PlanError, SharedRunner, type SharingOptions } from '@prismal/distribute'
import { InputError, type Runner } from '@prismal/models'
import { shuffled } from '../evaluate/random.js'
import type { Task } from '../locate.js'
import { type LogicalDevices, logicalDevices } from '../logical-devices.js'
import type { Bound } from './bounds.js'
import { EXACT } from './candidates.js'
import { type Calibrated, type Item, itemsOf } from './items.js'
import { type Candidate, exact, ladder, type Requests, within } from './ladder.js'
import { type Loss, lossOf } from './losses.js'
import { certify, race } from './procedure.js'
import { Trial, type TrialOptions } from './trial.js'

export interface CalibrateOptions extends TrialOptions {
  /** P. Default: those of the pipeline, where it has devices. */
  readonly devices?: number
  /** Most that may be lost, percent: points of accuracy, of rank correlation, or of the bits per byte. Either this or `budgetBytes`. */
  readonly maxLoss?: number
  /** Most bytes that a device may receive in a request. */
  readonly budgetBytes?: number
  /** Probability that what is said of the loss is true, between 0.5 and 1; default 0.95. */
  readonly confidence?: number
  /** How vectors are made where the task is feature-extraction; default `mean`. */
  readonly pooling?: 'mean' | 'cls'
  /** Inputs (or windows of text) to use at most, 2 or more; default all. */
  readonly limit?: number
  /** Start of the random order in which inputs are tried; default 1. */
  readonly seed?: number
}

/** What was chosen, and what is known of it. */
export interface Calibration {
  readonly devices: number
  readonly sharing: SharingOptions
  /** Received in one request by the device that receives most, mean over the inputs; and the same of `full`. */
  readonly bytes: number
  readonly bytesFull: number
  readonly unit: string
  /** What `inputs` counts. */
  readonly inputsAre: Loss['inputsAre']
  /** Asked for. */
  readonly maxLoss?: number
  readonly budgetBytes?: number
  /**
   * Of what the choice loses: 0 of `full`, which is exact. With `maxLoss` what holds with `confidence`, whatever was tried, is
   * `maxLoss`; the upper bound is that of the choice's own last test, infinite (in JSON null) where nothing is known.
   */
  readonly loss: Bound
  readonly confidence: number
  /** How many inputs there were, and how many of them the choice was tried on. */
  readonly inputs: number
  readonly triedOn: number
  /** Whether nothing cheaper than `full` was shown to hold. */
  readonly isFallback: boolean
  /** The next cheaper candidate where it failed. */
  readonly next?: { readonly sharing: SharingOptions; readonly bytes: number; readonly loss: Bound }
  /** About how many inputs could have shown that it holds; where nothing is known of a loss, how many there must be at least. */
  readonly neededInputs?: number
  /** All that were tried, in the order of the tests. */
  readonly tried: readonly (Candidate & {
    readonly inputs: number
    readonly loss: Bound
    readonly holds: boolean
  })[]
}

const EXACT_LOSS: Bound = { estimate: 0, lower: 0, upper: 0 }

/** What is asked for: one of them. */
export type Goal = Pick<CalibrateOptions, 'maxLoss' | 'budgetBytes'>

/** Calibrates with items that were read already. */
async function calibrateItems(
  task: Task,
  runner: Runner,
  items: readonly Item[],
  goals: readonly Goal[],
  options: Omit<CalibrateOptions, keyof Goal>,
): Promise<Calibration[]> {
  const { confidence = 0.95, seed = 1, pooling, limit = items.length } = options
  const devices = options.devices ?? (runner instanceof SharedRunner ? runner.devices : 1)
  for (const goal of goals) checkOptions(goal, confidence, devices)
  const { model } = runner
  const loss = lossOf(task, devices, pooling)
  if (items.length < 2)
    throw new InputError(`calibrate: ${items.length} ${loss.inputsAre} are too few to tell anything: some hundreds do`)
  if (!(Number.isSafeInteger(limit) && limit >= 2) || !Number.isSafeInteger(seed))
    throw new PlanError(`plan: limit and seed are ${limit} and ${seed}, not whole numbers, limit 2 or more`)
  const order = shuffled(items.length, seed).slice(0, limit)
  const tried = order.map(i => items[i] as Item)
  const requests: Requests = { model, devices, lengths: tried.flatMap(i => i.lengths), want: loss.want }
  const shared = await sharedBy(runner, devices)
  try {
    const trial = new Trial(loss as Loss, model, tried, shared.runner, options)
    const found: Calibration[] = []
    for (const goal of goals) found.push(await choose(goal, trial, requests, confidence))
    return found
  } finally {
    await shared.end()
  }
}

async function choose(
  { maxLoss, budgetBytes }: Goal,
  trial: Trial,
  requests: Requests,
  confidence: number,
): Promise<Calibration> {
  const limits = { inputs: trial.inputs, alpha: 1 - confidence }
  const all = exact(requests)
  const tested =
    maxLoss === undefined
      ? await race(withinButExact(budgetBytes as number, requests), trial.tell, limits)
      : await certify(ladder(requests), trial.tell, { ...limits, maxLoss })
  const chosen = maxLoss === undefined ? tested[0] : tested.findLast(t => t.holds)
  const failed = maxLoss === undefined ? undefined : tested.find(t => !t.holds)
  const { sharing, bytes } = chosen?.candidate ?? all
  const needed = failed?.neededInputs ?? chosen?.bound.leastInputs
  return {
    ...{ devices: requests.devices, sharing, bytes, bytesFull: all.bytes, ...trial.facts },
    ...(maxLoss !== undefined && { maxLoss }),
    ...(budgetBytes !== undefined && { budgetBytes }),
    ...{ loss: chosen?.bound ?? EXACT_LOSS, confidence, inputs: limits.inputs, triedOn: chosen?.inputs ?? 0 },
    isFallback: maxLoss !== undefined && !chosen,
    ...(failed && { next: { sharing: failed.candidate.sharing, bytes: failed.candidate.bytes, loss: failed.bound } }),
    ...(needed !== undefined && { neededInputs: needed }),
    tried: tested.map(({ candidate, inputs, bound, holds }) => ({ ...candidate, inputs, loss: bound, holds })),
  }
}

/** What is exact needs no trial. */
const withinButExact = (budgetBytes: number, requests: Requests): Candidate[] =>
  within(budgetBytes, requests).filter(c => c.sharing !== EXACT)

function checkOptions({ maxLoss, budgetBytes }: Goal, confidence: number, devices: number): void {
  if (!(Number.isInteger(devices) && devices >= 2))
    throw new PlanError(`plan: devices is ${devices}: there is something to choose for 2 or more`)
  if ((maxLoss === undefined) === (budgetBytes === undefined))
    throw new PlanError('plan: give either the most that may be lost (maxLoss) or a budget of bytes (budgetBytes)')
  if (maxLoss !== undefined && !(maxLoss > 0 && maxLoss < 100))
    throw new PlanError(`plan: maxLoss is ${maxLoss}, not a percentage between 0 and 100`)
  if (budgetBytes !== undefined && !(budgetBytes > 0))
    throw new PlanError(`plan: budgetBytes is ${budgetBytes}, not a positive number of bytes`)
  if (!(confidence > 0.5 && confidence < 1))
    throw new PlanError(`plan: confidence is ${confidence}, not between 0.5 and 1`)
}

/** The runner's own devices, or as many in this thread, on the same copy of the model. */
const sharedBy = async (runner: Runner, devices: number): Promise<LogicalDevices> =>
  runner instanceof SharedRunner && runner.devices === devices
    ? { runner, end: async () => {} }
    : logicalDevices(runner.model, devices)

/**
 * Chooses how `devices` devices share a pipeline's requests, by inputs like those that it will get (500 to 5,000; labels are not
 * needed): `maxLoss` or `budgetBytes` says what for. Texts are cut into windows where the task is text-generation; feature-extraction
 * takes pairs, or texts that are paired as they come. Throws `PlanError` for options that cannot be, `InputError` for inputs that cannot.
 *
 * ```ts
 * const { sharing, loss } = await calibrate(classify, images, { devices: 2, maxLoss: 0.5 })
 * const devices = cluster(['local', other], sharing)
 * ```
 */
export async function calibrate<Input>(
  tool: Calibrated<Input>,
  inputs: readonly (Input | readonly [Input, Input])[],
  options: CalibrateOptions = {},
): Promise<Calibration> {
  const { maxLoss, budgetBytes, ...others } = options
  const goal = { ...(maxLoss !== undefined && { maxLoss }), ...(budgetBytes !== undefined && { budgetBytes }) }
  const [found] = await calibrateEach(tool, inputs, [goal], others)
  return found as Calibration
}

/** The same for several goals, which takes little longer than for the hardest of them: what was computed for one the others use. */
export async function calibrateEach<Input>(
  tool: Calibrated<Input>,
  inputs: readonly (Input | readonly [Input, Input])[],
  goals: readonly Goal[],
  options: Omit<CalibrateOptions, keyof Goal> = {},
): Promise<Calibration[]> {
  if (!Array.isArray(inputs)) throw new InputError('calibrate: inputs are a list of what the pipeline takes')
  return calibrateItems(tool.task, tool.runner, await itemsOf(tool, inputs), goals, options)
}
