/** Holds a model folder to its golden results: every case, on every build, alone and shared over transports. */
import {
  cluster,
  createPlan,
  type DeviceSpec,
  memoryDevice,
  remote,
  type SequencePlan,
  type SharedRunner,
  type SharingOptions,
} from '@prismal/distribute'
import { thread } from '@prismal/distribute/threads'
import {
  alone,
  aloneRunner,
  type Context,
  type Emitted,
  inspectModel,
  loadModel,
  type Model,
  type Part,
  type Report,
  type Runner,
  StageMeter,
  type VitShape,
  wholeLayout,
} from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import {
  availableBuilds,
  availableThreads,
  type Build,
  createEngine,
  PRECISIONS,
  type Precision,
  type Tensor,
} from '@prismal/tensor'
import { type Golden, type GoldenCase, readGolden, sequenceOf } from './golden.js'
import { startWorker, type WorkerProcess } from './worker-process.js'

/** Ways of sharing: within a thread, between threads, or between processes by a transport. */
export const WAYS = ['memory', 'message-port', 'web-socket', 'web-rtc', 'nats'] as const
export type SharedWay = (typeof WAYS)[number]
export type Way = 'alone' | SharedWay
/** Where workers of a way listen. */
const LISTENS: { readonly [W in SharedWay]?: string } = {
  'web-socket': 'ws://127.0.0.1:0',
  'web-rtc': 'rtc+ws://127.0.0.1:0',
}

/** One case on one build, one way. */
export interface CaseResult {
  readonly location: string
  readonly build: Build
  readonly precision: Precision
  readonly threads: number
  readonly way: Way
  readonly name: string
  /** Largest max|got − want| / max|want| over the case's arrays. */
  readonly worst: number
  readonly limit: number
  /** Number of values compared. */
  readonly values: number
  /** Why it failed; absent where it passed. */
  readonly failure?: string
}

export interface VerifyOptions {
  /** Default: all that this runtime has. */
  readonly builds?: readonly Build[]
  /** Ways of sharing; default those within a process. Each of the others starts a process a device. */
  readonly ways?: readonly SharedWay[]
  /** The server for `nats`; default `nats://127.0.0.1:4222`. */
  readonly nats?: string
  /** How matrices are stored; default all that the files can be loaded as. Sharing is held to f32, of which each device's part of the others is known. */
  readonly precisions?: readonly Precision[]
  /** Numbers of threads; default 1, and 2 where the machine has them. */
  readonly threads?: readonly number[]
}

/** What a wire may cost: the largest error, and the largest among 95 % of a case's values. */
const LIMITS = {
  f32: { all: 5e-6, most: 5e-6 },
  f16: { all: 1e-3, most: 2e-4 },
  int8: { all: 3e-3, most: 3e-3 },
} as const
/** What storing matrices in fewer bits may cost. Golden models are small and random: trained ones lose a tenth of it. */
const STORED_LIMITS = {
  f16: { all: 5e-3, most: 2e-3 },
  q8: { all: 0.15, most: 0.05 },
} as const
type Limit = { readonly all: number; readonly most: number }

/** Results as they come. Throws `ModelError` where the folder is no golden one or cannot be loaded. */
export async function* verifyFolder(location: string, options: VerifyOptions = {}): AsyncGenerator<CaseResult> {
  const golden = await readGolden(await openFiles(location))
  const stored = (await inspectModel(await openFiles(location))).precision
  const precisions = options.precisions ?? (stored === 'f32' ? PRECISIONS : [stored])
  for (const build of options.builds ?? availableBuilds()) {
    for (const precision of precisions)
      for (const threads of build === 'reference' ? [1] : (options.threads ?? usualThreads())) {
        const model = await load(location, build, precision, threads)
        try {
          yield* verifyAlone(golden, model)
        } finally {
          model.dispose()
        }
      }
    if (!precisions.includes('f32')) continue
    for (const way of options.ways ?? (['memory', 'message-port'] as const))
      yield* verifyShared(golden, location, build, way, options.nats)
  }
}

/** One thread, and two where this machine has them. */
const usualThreads = (): readonly number[] => (availableThreads() >= 2 ? [1, 2] : [1])

const load = async (location: string, build: Build, dtype: Precision = 'f32', threads = 1): Promise<Model> =>
  loadModel(await openFiles(location), {
    engine: await createEngine({ backend: build, threads }),
    dtype,
    warn: () => {},
  })

async function* verifyAlone(golden: Golden, model: Model): AsyncGenerator<CaseResult> {
  const { precision } = model
  const limit = precision === 'f32' ? LIMITS.f32 : STORED_LIMITS[precision]
  const single = new Comparison(golden, model, 'alone', 'single', limit)
  for (const [e] of golden.examples.entries()) await compareSingle(single, golden, model, e)
  yield single.result()
  // Of fewer bits another token may be the likeliest, and from then on nothing compares.
  if (precision !== 'f32' || !golden.outputs.has('greedy/0/ids')) return
  const greedy = new Comparison(golden, model, 'alone', 'greedy', limit)
  await compareTokens(greedy, golden, aloneRunner(model), 'greedy', 0, sequenceOf(golden, 0, undefined))
  yield greedy.result()
}

async function* verifyShared(
  golden: Golden,
  location: string,
  build: Build,
  way: SharedWay,
  nats = 'nats://127.0.0.1:4222',
): AsyncGenerator<CaseResult> {
  const most = Math.max(1, ...[...golden.cases, ...golden.greedy].map(c => c.devices))
  const workers: WorkerProcess[] = []
  const others: DeviceSpec[] = []
  try {
    for (let p = 1; p < most; p++) {
      if (way === 'memory') others.push(memoryDevice(() => load(location, build)))
      else if (way === 'message-port') others.push(thread({ build }))
      else {
        const listen = LISTENS[way] ?? `${nats.replace(/\/+$/, '')}/prismal.device.${crypto.randomUUID()}`
        const worker = await startWorker([
          '--model',
          location,
          '--backend',
          build,
          '--dtype',
          'f32',
          '--listen',
          listen,
        ])
        workers.push(worker)
        others.push(remote(worker.addresses))
      }
    }
    const runner = await cluster(['local', ...others]).runner(await load(location, build))
    try {
      for (const c of golden.cases) yield await verifyCase(golden, runner, c, way)
      for (const c of golden.greedy) yield await verifyGreedy(golden, runner, c, way)
    } finally {
      await runner.dispose()
    }
  } finally {
    await Promise.all(workers.map(worker => worker.end()))
  }
}

async function verifyCase(golden: Golden, shared: SharedRunner, c: GoldenCase, way: Way): Promise<CaseResult> {
  const { model } = shared
  const comparison = new Comparison(golden, model, way, c.name, LIMITS[c.options.wire ?? 'f32'])
  for (const [e] of golden.examples.entries()) {
    const sequence = sequenceOf(golden, e, imageShape(model))
    const request = shared.with(c.options, c.devices).begin()
    try {
      const rows = await request.rows([sequence], 'all')
      const lost = lostRows(model, sequence, c)
      compareHeads(comparison, `${c.name}/${e}`, model, rows, lost)
    } catch (error) {
      comparison.fail(`example ${e}: ${(error as Error).message}`)
    } finally {
      request.end()
    }
  }
  return comparison.result()
}

async function verifyGreedy(golden: Golden, shared: SharedRunner, c: GoldenCase, way: Way): Promise<CaseResult> {
  const comparison = new Comparison(golden, shared.model, way, `greedy-${c.name}`, LIMITS[c.options.wire ?? 'f32'])
  for (const [e] of golden.examples.entries()) {
    const sequence = sequenceOf(golden, e, undefined)
    const report = await compareTokens(
      comparison,
      golden,
      shared.with(c.options, c.devices),
      `greedy-${c.name}`,
      e,
      sequence,
    )
    const sent = report.devices.flatMap(d => d.stages).filter(s => s.stage === 'decode' || s.stage === 'head')
    if (sent.some(s => s.bytesSent + s.bytesReceived > 0)) comparison.fail(`example ${e}: decoding sent bytes`)
  }
  return comparison.result()
}

/** Layer by layer: the context sees every block input. */
async function compareSingle(comparison: Comparison, golden: Golden, model: Model, e: number): Promise<void> {
  const sequence = sequenceOf(golden, e, imageShape(model))
  const meter = new StageMeter()
  const scope = model.engine.scope(meter)
  try {
    model.check(sequence)
    const all = Array.from({ length: sequence.to }, (_, i) => i)
    const watched = watch(alone(wholeLayout([{ rows: sequence.to, wanted: all }], model.shape), meter), (i, x) =>
      comparison.compare(`single/${e}/hidden.${i}`, x),
    )
    const last = await model.forward(model.embed(scope, [sequence]), watched)
    const rows = model.finish(last)
    // As transformers gives them: GPT-2's last hidden state is after the final norm, ViT's before it.
    comparison.compare(`single/${e}/hidden.${model.shape.layers}`, model.family === 'vit' ? last : rows)
    compareHeads(comparison, `single/${e}`, model, rows, [])
  } catch (error) {
    comparison.fail(`example ${e}: ${(error as Error).message}`)
  } finally {
    scope.dispose()
  }
}

const watch = (context: Context, see: (layer: number, x: Tensor) => void): Context => ({
  wanted: (layer, x) => context.wanted(layer, x),
  keys(layer, x, projection) {
    see(layer, x)
    return context.keys(layer, x, projection)
  },
})

function compareHeads(comparison: Comparison, key: string, model: Model, rows: Tensor, lost: readonly number[]): void {
  comparison.compare(`${key}/last_hidden_state`, rows, lost)
  const first = rows.slice(0, 1)
  if (model.pool && !lost.includes(0)) comparison.compare(`${key}/pooler_output`, model.pool(first))
  if (model.classify && !lost.includes(0)) comparison.compare(`${key}/logits`, model.classify(first))
  else if (model.vocabulary) comparison.compare(`${key}/logits`, model.vocabulary(rows), lost)
}

async function compareTokens(
  comparison: Comparison,
  golden: Golden,
  runner: Runner,
  key: string,
  e: number,
  prompt: Part,
): Promise<Report> {
  const ids = golden.outputs.get(`${key}/${e}/ids`)
  const logits = golden.outputs.get(`${key}/${e}/logits`)
  const request = runner.begin()
  try {
    const maxNewTokens = (ids?.values.length ?? 0) - prompt.to
    if (maxNewTokens < 1) return request.report()
    const emitted: Emitted[] = []
    for await (const token of request.tokens([prompt], { maxNewTokens, withLogits: true })) emitted.push(token)
    const got = [...(prompt.ids as Int32Array), ...emitted.map(t => t.id)]
    comparison.compareIds(`${key}/${e}/ids`, got)
    if (logits)
      comparison.compareValues(
        `${key}/${e}/logits`,
        Float32Array.from(emitted.flatMap(t => [...(t.logits as Float32Array)])),
      )
    return request.report()
  } catch (error) {
    comparison.fail(`example ${e}: ${(error as Error).message}`)
    return request.report()
  } finally {
    request.end()
  }
}

/** Rows of the lost device, which are not to be compared. */
function lostRows(
  model: Model,
  sequence: Part,
  { devices, options }: { devices: number; options: SharingOptions },
): number[] {
  if (!options.lost) return []
  const plan = createPlan({ shape: model.shape, rows: [sequence.to], want: 'all', devices }, options)
  const [from, to] = (plan.sequences[0] as SequencePlan).bounds[options.lost[0]] as readonly [number, number]
  return Array.from({ length: to - from }, (_, i) => from + i)
}

const imageShape = (model: Model): VitShape | undefined =>
  model.family === 'vit' ? (model.shape as VitShape) : undefined

/** Gathers the errors of one case. */
class Comparison {
  readonly #golden: Golden
  readonly #where: Pick<CaseResult, 'location' | 'build' | 'precision' | 'threads' | 'way' | 'name'>
  readonly #limit: Limit
  readonly #errors: number[] = []
  #failure: string | undefined

  constructor(golden: Golden, model: Model, way: Way, name: string, limit: Limit) {
    this.#golden = golden
    const { engine, precision } = model
    const { build, mostThreads: threads } = engine
    this.#where = { location: golden.location, build, precision, threads, way, name }
    this.#limit = limit
  }

  /** Compares with the golden array of that name, if there is one; `without` are rows to leave out. */
  compare(key: string, got: Tensor, without: readonly number[] = []): void {
    this.compareValues(key, got.floats(), without, got.columns)
  }

  compareValues(key: string, got: Float32Array, without: readonly number[] = [], columns = got.length): void {
    const want = this.#golden.outputs.get(key)?.values
    if (!want) return
    if (want.length !== got.length) {
      this.fail(`${key}: ${got.length} values came where ${want.length} are right`)
      return
    }
    const left = new Set(without)
    const kept = Array.from(want.keys()).filter(i => !left.has(Math.floor(i / columns)))
    const scale = kept.reduce((m, i) => Math.max(m, Math.abs(want[i] as number)), 0) || 1
    for (const i of kept) {
      const error = Math.abs((got[i] as number) - (want[i] as number)) / scale
      this.#errors.push(Number.isNaN(error) ? Number.POSITIVE_INFINITY : error)
    }
  }

  /** Token ids must be the same. */
  compareIds(key: string, got: readonly number[]): void {
    const want = Array.from(this.#golden.outputs.get(key)?.values ?? [])
    if (got.join() === want.join()) this.#errors.push(...want.map(() => 0))
    else this.fail(`${key}: ${got} were generated where ${want} are right`)
  }

  fail(why: string): void {
    this.#failure ??= why
  }

  result(): CaseResult {
    const { all, most } = this.#limit
    const sorted = Float64Array.from(this.#errors).sort()
    const worst = sorted.at(-1) ?? 0
    const most95 = sorted[Math.ceil(sorted.length * 0.95) - 1] ?? 0
    if (sorted.length === 0) this.fail('the folder has no results for it')
    if (worst > all) this.fail(`the largest error is ${worst.toExponential(1)}, above ${all}`)
    if (most95 > most) this.fail(`95 % of the errors reach ${most95.toExponential(1)}, above ${most}`)
    return {
      ...this.#where,
      worst,
      limit: all,
      values: sorted.length,
      ...(this.#failure && { failure: this.#failure }),
    }
  }
}
