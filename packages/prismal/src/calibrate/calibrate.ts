/** Choosing how devices share by trying it on inputs without labels, beside one device. */
import { cluster, localMember, PlanError, SharedRunner, type SharingOptions } from '@prismal/distribute'
import { aloneRunner, InputError, type Model, type Part, type Runner } from '@prismal/models'
import { shuffled } from '../evaluate/random.js'
import type { Task } from '../locate.js'
import type { Bound } from './bounds.js'
import { type Candidate, exact, ladder, type Requests, within } from './ladder.js'
import { type Difference, type Item, type Loss, lossOf } from './losses.js'
import { certify, neededInputs, race, type Tell, type Tested } from './procedure.js'

export interface CalibrateOptions {
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
  /** Inputs (or windows of text) to use at most; default all. */
  readonly limit?: number
  /** Start of the random order in which inputs are tried; default 1. */
  readonly seed?: number
  readonly signal?: AbortSignal
  /** Told of each candidate that is tried and how many inputs it was tried on so far. */
  readonly onProgress?: (progress: { readonly sharing: SharingOptions; readonly inputs: number }) => void
}

/** What was chosen, and what is known of it. */
export interface Calibration {
  readonly devices: number
  readonly sharing: SharingOptions
  /** Received in one request by the device that receives most, mean over the inputs; and the same of `full`. */
  readonly bytes: number
  readonly bytesFull: number
  readonly unit: string
  /** Asked for. */
  readonly maxLoss?: number
  readonly budgetBytes?: number
  /** Of what the choice loses: 0 of `full`, which is exact. */
  readonly loss: Bound
  readonly confidence: number
  /** How many inputs there were, and how many of them the choice was tried on. */
  readonly inputs: number
  readonly triedOn: number
  /** Whether nothing cheaper than `full` was shown to hold. */
  readonly isFallback: boolean
  /** The next cheaper candidate where it failed, and about how many inputs could have shown that it holds. */
  readonly next?: { readonly sharing: SharingOptions; readonly bytes: number; readonly loss: Bound }
  readonly neededInputs?: number
  /** All that were tried, in the order of the tests. */
  readonly tried: readonly {
    readonly sharing: SharingOptions
    readonly bytes: number
    readonly inputs: number
    readonly loss: Bound
    readonly holds: boolean
  }[]
}

/** Requests have as many items. */
const TOGETHER = 8
const EXACT_LOSS: Bound = { estimate: 0, lower: 0, upper: 0 }

/**
 * Calibrates with items that were read already; `runner` gives the devices, or with `devices` as many logical ones in this thread are
 * made of its model. Throws {@link PlanError} for options that cannot be and `InputError` for too few items.
 */
export async function calibrateItems(
  task: Task,
  runner: Runner,
  items: readonly Item[],
  options: CalibrateOptions,
): Promise<Calibration> {
  const { maxLoss, budgetBytes, confidence = 0.95, seed = 1, pooling, limit = items.length } = options
  const devices = options.devices ?? (runner instanceof SharedRunner ? runner.devices : 1)
  checkOptions(options, devices)
  if (items.length < 2) throw new InputError(`calibrate: ${items.length} inputs are too few to tell anything`)
  const { model } = runner
  const loss = lossOf(task, devices, pooling)
  const order = shuffled(items.length, seed)
    .slice(0, limit)
    .map(i => items[i] as Item)
  const requests: Requests = { model, devices, lengths: order.flatMap(i => i.map(p => p.to)), want: loss.want }
  const candidates = maxLoss === undefined ? within(budgetBytes as number, requests) : ladder(requests)
  const trial = new Trial(loss as Loss, model, order, await sharedBy(runner, devices), options)
  try {
    const all = exact(requests)
    const isExact = candidates.length === 1 && candidates[0]?.sharing.strategy === 'full' && !candidates[0].sharing.wire
    const limits = { inputs: order.length, alpha: 1 - confidence }
    if (isExact) return calibrationOf([], all)
    const tested =
      maxLoss === undefined
        ? await race(candidates, trial.tell, limits)
        : await certify(candidates, trial.tell, { ...limits, maxLoss })
    return calibrationOf(tested, all)
  } finally {
    await trial.end()
  }

  function calibrationOf(tested: readonly Tested<Candidate>[], all: Candidate): Calibration {
    const chosen = maxLoss === undefined ? tested[0] : tested.findLast(t => t.holds)
    const failed = maxLoss === undefined ? undefined : tested.find(t => !t.holds)
    const { sharing, bytes } = chosen?.candidate ?? all
    const needed = failed && neededInputs(failed.bound, failed.inputs, maxLoss as number)
    return {
      ...{ devices, sharing, bytes, bytesFull: all.bytes, unit: loss.unit },
      ...(maxLoss !== undefined && { maxLoss }),
      ...(budgetBytes !== undefined && { budgetBytes }),
      ...{ loss: chosen?.bound ?? EXACT_LOSS, confidence, inputs: order.length, triedOn: chosen?.inputs ?? 0 },
      isFallback: maxLoss !== undefined && !chosen,
      ...(failed && {
        next: { sharing: failed.candidate.sharing, bytes: failed.candidate.bytes, loss: failed.bound },
      }),
      ...(needed !== undefined && { neededInputs: needed }),
      tried: tested.map(({ candidate, inputs, bound, holds }) => ({
        ...{ sharing: candidate.sharing, bytes: candidate.bytes },
        ...{ inputs, loss: bound, holds },
      })),
    }
  }
}

function checkOptions({ maxLoss, budgetBytes, confidence = 0.95 }: CalibrateOptions, devices: number): void {
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

interface Devices {
  readonly runner: SharedRunner
  end(): Promise<void>
}

/** The runner's own devices, or as many in this thread, on the same copy of the model. */
async function sharedBy(runner: Runner, devices: number): Promise<Devices> {
  if (runner instanceof SharedRunner && runner.devices === devices) return { runner, end: async () => {} }
  const logical = Array.from({ length: devices - 1 }, (_, i) => ({
    name: `device ${i + 1}`,
    join: async (model: Model) => localMember(model),
  }))
  const made = await cluster(['local', ...logical]).runner(runner.model)
  return {
    runner: made,
    // Not `dispose`, which would take the model along.
    async end() {
      for (const member of made.members) await member.end()
    },
  }
}

/** Answers of one device and of candidates, computed when they are asked for and kept as differences. */
class Trial {
  readonly #loss: Loss
  readonly #model: Model
  readonly #items: readonly Item[]
  readonly #devices: Devices
  readonly #options: CalibrateOptions
  readonly #one: unknown[] = []
  readonly #differences = new Map<Candidate, Difference[]>()

  constructor(loss: Loss, model: Model, items: readonly Item[], devices: Devices, options: CalibrateOptions) {
    this.#loss = loss
    this.#model = model
    this.#items = items
    this.#devices = devices
    this.#options = options
  }

  readonly tell: Tell<Candidate> = async (candidate, inputs, alpha) => {
    const differences = this.#differences.get(candidate) ?? []
    this.#differences.set(candidate, differences)
    const alone = aloneRunner(this.#model)
    const shared = this.#devices.runner.with(candidate.sharing)
    while (differences.length < inputs) {
      const from = differences.length
      const to = Math.min(from + TOGETHER, inputs)
      if (this.#one.length < to) this.#one.push(...(await this.#answers(alone, this.#one.length, to)))
      for (const [i, answer] of (await this.#answers(shared, from, to)).entries())
        differences.push(this.#loss.compare(this.#one[from + i], answer))
      this.#options.onProgress?.({ sharing: candidate.sharing, inputs: to })
    }
    return this.#loss.bound(differences.slice(0, inputs), alpha)
  }

  async #answers(runner: Runner, from: number, to: number): Promise<unknown[]> {
    const request = runner.begin(this.#options.signal)
    try {
      return await this.#loss.answers(this.#model, request, this.#items.slice(from, to))
    } finally {
      request.end()
    }
  }

  end(): Promise<void> {
    return this.#devices.end()
  }
}

/** A pipeline, as far as calibration needs it. */
export interface Calibrated<Input> {
  readonly task: Task
  readonly runner: Runner
  /** The sequence that the model is given for an input. */
  readonly sequence: (input: Input) => Promise<Part> | Part
}

/** A window of text has as many tokens, or as many as the model has positions. */
const WINDOW = 512
/** A shorter rest of a text is left out. */
const LEAST_WINDOW = 32

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
  options: CalibrateOptions,
): Promise<Calibration> {
  const items = await itemsOf(tool, inputs)
  return calibrateItems(tool.task, tool.runner, items, options)
}

async function itemsOf<Input>(
  { task, runner, sequence }: Calibrated<Input>,
  inputs: readonly (Input | readonly [Input, Input])[],
): Promise<Item[]> {
  const isPair = (input: Input | readonly [Input, Input]): input is readonly [Input, Input] => Array.isArray(input)
  if (task === 'feature-extraction') {
    if (inputs.every(isPair))
      return Promise.all(inputs.map(async ([a, b]) => [await sequence(a), await sequence(b)] as const))
    const parts: Part[] = []
    for (const input of inputs.flat() as Input[]) parts.push(await sequence(input))
    return Array.from({ length: parts.length >> 1 }, (_, i) => parts.slice(2 * i, 2 * i + 2))
  }
  if (inputs.some(isPair)) throw new InputError(`calibrate: pairs were given; ${task} takes one input at a time`)
  const items: Item[] = []
  for (const input of inputs as readonly Input[]) {
    const part = await sequence(input)
    items.push(...(task === 'text-generation' ? windowsOf(part, runner.model.shape.positions) : [[part]]))
  }
  return items
}

/** A text's windows, one item each. */
function windowsOf({ ids = new Int32Array(0) }: Part, positions: number): Item[] {
  const size = Math.min(WINDOW, positions)
  const items: Item[] = []
  for (let at = 0; at + Math.min(LEAST_WINDOW, size) <= ids.length; at += size) {
    const window = ids.slice(at, at + size)
    items.push([{ from: 0, to: window.length, ids: window }])
  }
  return items
}
