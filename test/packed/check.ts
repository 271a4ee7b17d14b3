/**
 * What is checked in every runtime: the models against golden folders, alone and shared by two devices, by the installed
 * packages only. It knows nothing of the runtime: whoever runs it says what there is, and reads the result.
 */
import { cluster, type DeviceSource, memoryDevice, PUBLISHED, type SharingOptions } from '@prismal/distribute'
import {
  aloneRunner,
  loadModel,
  type Model,
  type ModelFiles,
  type Part,
  parseSafetensors,
  patchify,
  type Runner,
  readFile,
  readJson,
  type StoredArray,
  type VitShape,
} from '@prismal/models'
import { availableBuilds, availableThreads, type Build, type Capabilities, createEngine } from '@prismal/tensor'

export interface CheckOptions {
  /** Golden folders: paths or URLs, as `open` takes them. */
  readonly locations: readonly string[]
  readonly open: (location: string) => ModelFiles | Promise<ModelFiles>
  /** Makes a device that opens the same location in a thread of its own; absent where the runtime has none. */
  readonly thread?: (build: Build) => DeviceSource
}

/** Ways of computing: by one device, by one on two threads, or shared by two devices in this thread or in two. */
export type CheckedWay = 'alone' | 'threads' | 'memory' | 'message-port'

/** A folder's examples, computed one way by one build. */
export interface Checked {
  /** The last part of the folder's location. */
  readonly model: string
  readonly build: Build
  readonly way: CheckedWay
  readonly numericsClass: string
  /** How many values were compared with golden ones. */
  readonly values: number
  /** Largest error relative to its limit: up to 1 is right. */
  readonly worst: number
  /** Of the bits of everything that was computed: equal within a numerics class. */
  readonly digest: string
  readonly milliseconds: number
  /** Why it failed; absent where it did not. */
  readonly failure?: string
}

export interface CheckResult {
  /** Of an engine that was asked for all threads. */
  readonly capabilities: Capabilities
  readonly results: readonly Checked[]
  /** Ways that this runtime does not have, and why. */
  readonly lacks: Readonly<Partial<Record<CheckedWay, string>>>
}

/** Runs everything that this runtime can. Failures are in the result; it throws only where nothing can be had. */
export async function check({ locations, open, thread }: CheckOptions): Promise<CheckResult> {
  const results: Checked[] = []
  const builds = availableBuilds()
  const lacks: { [W in CheckedWay]?: string } = {}
  const all = await createEngine({ threads: 'auto' })
  const capabilities = all.capabilities()
  all.dispose()
  const more = availableThreads() >= 2
  if (!more) lacks.threads = capabilities.reasons.find(r => r.startsWith('threads')) ?? 'one core'
  if (!thread) lacks['message-port'] = 'this runtime has no workers'
  for (const location of locations) {
    const golden = await readGolden(await open(location))
    for (const build of builds) {
      const load = async (threads = 1): Promise<Model> =>
        loadModel(await open(location), {
          engine: await createEngine({ backend: build, threads }),
          warn: () => {},
        })
      const on = (way: CheckedWay, model: Model, run: (tally: Tally) => Promise<void>) =>
        tallied(golden, build, way, model, run).then(result => void results.push(result))
      // The definition is slow: it computes models of a few kilobytes.
      if (build === 'reference' && golden.isLarge) continue
      const model = await load()
      await on('alone', model, tally => alone(golden, model, tally))
      model.dispose()
      if (build !== builds[0]) continue
      if (more) {
        const many = await load(2)
        await on('threads', many, tally => alone(golden, many, tally))
        many.dispose()
      }
      for (const [way, device] of [
        ['memory', memoryDevice(load)],
        ['message-port', thread?.(build)],
      ] as const) {
        // Without a thread, or to say that threads change nothing, which small models show as well.
        if (!device || (way === 'memory' && thread && golden.isLarge)) continue
        const runner = await cluster(['local', device]).runner(await load())
        try {
          await on(way, runner.model, async tally => {
            for (const { name, options } of golden.cases)
              await rows(golden, runner.with(options, 2), tally, name, limitOf(options))
            for (const { name, options } of golden.greedy)
              await tokens(golden, runner.with(options, 2), tally, `greedy-${name}`, limitOf(options))
          })
        } finally {
          await runner.dispose()
        }
      }
    }
  }
  return { capabilities, results, lacks }
}

interface Case {
  readonly name: string
  readonly options: SharingOptions
}
interface Golden {
  readonly model: string
  readonly isLarge: boolean
  readonly examples: readonly (readonly string[])[]
  readonly inputs: ReadonlyMap<string, StoredArray>
  readonly outputs: ReadonlyMap<string, StoredArray>
  /** Of two devices. */
  readonly cases: readonly Case[]
  readonly greedy: readonly Case[]
}
interface StoredCase {
  readonly name: string
  readonly devices?: number
  /** Means a device; null for all rows, 0 for none. */
  readonly segments?: number | null
  readonly point?: 'input' | 'normed'
  readonly wire?: 'f32' | 'f16' | 'int8'
  readonly sink?: number
  readonly handoff?: 'means' | 'full'
  readonly lost?: unknown
}

async function readGolden(files: ModelFiles): Promise<Golden> {
  const arrays = async (name: string) => parseSafetensors(await readFile(files, name), name)
  const json = (await readJson(files, 'cases.json')) as Record<string, unknown>
  const ofTwo = (list: unknown): Case[] =>
    ((list ?? []) as StoredCase[]).filter(c => c.devices === 2 && !c.lost).map(optionsOf)
  try {
    return {
      model: files.location.split('/').at(-1) as string,
      isLarge: ((await files.size('model.safetensors')) ?? 0) > 1e6,
      examples: json.inputs as string[][],
      inputs: await arrays('inputs.safetensors'),
      outputs: await arrays('outputs.safetensors'),
      cases: ofTwo(json.cases),
      greedy: ofTwo(json.greedy),
    }
  } finally {
    await files.close?.()
  }
}

function optionsOf({ name, segments, point = 'input', wire = 'f32', sink = 0, handoff = 'means' }: StoredCase): Case {
  const options = { ...PUBLISHED, point, wire, sink, handoff }
  if (segments === null || segments === undefined) return { name, options: { ...options, strategy: 'full' } }
  if (segments === 0 && sink === 0) return { name, options: { ...options, strategy: 'isolated' } }
  return { name, options: { ...options, strategy: 'means', segments } }
}

/** What `prismal verify` allows, relative to the largest golden value. */
const LIMITS = { f32: 5e-6, f16: 1e-3, int8: 3e-3 } as const
const limitOf = ({ wire = 'f32' }: SharingOptions): number => LIMITS[wire as keyof typeof LIMITS]

async function alone(golden: Golden, model: Model, tally: Tally): Promise<void> {
  const runner = aloneRunner(model)
  await rows(golden, runner, tally, 'single', LIMITS.f32)
  await tokens(golden, runner, tally, 'greedy', LIMITS.f32)
}

/** All rows of each example and what the heads make of them. */
async function rows(golden: Golden, runner: Runner, tally: Tally, name: string, limit: number): Promise<void> {
  const { model } = runner
  const { layers } = model.shape
  for (const [e] of golden.examples.entries()) {
    const request = runner.begin()
    const key = `${name}/${e}`
    try {
      const rows = await request.rows([sequence(golden, model, e)], 'all')
      const first = rows.slice(0, 1)
      tally.take(`${key}/last_hidden_state`, rows.floats(), limit)
      // Of a ViT, transformers' last hidden state is before the final norm.
      if (model.family !== 'vit') tally.take(`${key}/hidden.${layers}`, rows.floats(), limit)
      if (model.pool) tally.take(`${key}/pooler_output`, model.pool(first).floats(), limit)
      if (model.classify) tally.take(`${key}/logits`, model.classify(first).floats(), limit)
      else if (model.vocabulary) tally.take(`${key}/logits`, model.vocabulary(rows).floats(), limit)
    } finally {
      request.end()
    }
  }
}

/** The tokens that greedy decoding adds to each example that has golden ones. */
async function tokens(golden: Golden, runner: Runner, tally: Tally, name: string, limit: number): Promise<void> {
  for (const [e] of golden.examples.entries()) {
    const key = `${name}/${e}`
    const want = golden.outputs.get(`${key}/ids`)?.values
    if (!want) continue
    const prompt = sequence(golden, runner.model, e)
    const request = runner.begin()
    try {
      const ids = [...(prompt.ids as Int32Array)]
      const logits: number[] = []
      const options = { maxNewTokens: want.length - prompt.to, withLogits: true }
      if (options.maxNewTokens < 1) continue
      for await (const token of request.tokens([prompt], options)) {
        ids.push(token.id)
        logits.push(...(token.logits as Float32Array))
      }
      tally.take(`${key}/ids`, Float32Array.from(ids), 0)
      tally.take(`${key}/logits`, Float32Array.from(logits), limit)
    } finally {
      request.end()
    }
  }
}

function sequence(golden: Golden, model: Model, example: number): Part {
  const [first, second] = (golden.examples[example] as readonly string[]).map(
    name => (golden.inputs.get(name) as StoredArray).values,
  )
  if (model.family === 'vit') return patchify(Float32Array.from(first as Float32Array), model.shape as VitShape)
  const ids = Int32Array.from(first as Int32Array)
  return { from: 0, to: ids.length, ids, ...(second && { types: Int32Array.from(second as Int32Array) }) }
}

/** Compares values with golden ones and makes a digest of them. */
class Tally {
  values = 0
  worst = 0
  failure: string | undefined
  #digest = 0x811c9dc5
  readonly #golden: Golden

  constructor(golden: Golden) {
    this.#golden = golden
  }
  get digest(): string {
    return (this.#digest >>> 0).toString(16).padStart(8, '0')
  }

  take(key: string, got: Float32Array, limit: number): void {
    for (const word of new Int32Array(got.slice().buffer)) this.#digest = Math.imul(this.#digest ^ word, 0x01000193)
    const want = this.#golden.outputs.get(key)?.values
    if (!want) return
    if (want.length !== got.length) {
      this.fail(`${key} has ${got.length} values instead of ${want.length}`)
      return
    }
    const scale = Float64Array.from(want).reduce((most, w) => Math.max(most, Math.abs(w)), 0) || 1
    for (const [i, value] of got.entries()) {
      const error = Math.abs(value - (want[i] as number)) / scale
      // Where nothing is allowed any error is too much.
      const part = limit > 0 ? error / limit : error > 0 ? Number.MAX_VALUE : 0
      if (!(part <= 1)) this.fail(`${key}[${i}] is ${value} instead of ${want[i]}`)
      this.worst = Math.max(this.worst, part)
    }
    this.values += got.length
  }
  fail(why: string): void {
    this.failure ??= why
  }
}

async function tallied(
  golden: Golden,
  build: Build,
  way: CheckedWay,
  model: Model,
  run: (tally: Tally) => Promise<void>,
): Promise<Checked> {
  const tally = new Tally(golden)
  const started = performance.now()
  const numericsClass = model.engine.numericsClass(model.precision)
  await run(tally).catch(error => tally.fail(error instanceof Error ? (error.stack ?? error.message) : String(error)))
  if (tally.values === 0) tally.fail('nothing was compared')
  return {
    ...{ model: golden.model, build, way, numericsClass },
    ...{ values: tally.values, worst: tally.worst, digest: tally.digest, milliseconds: performance.now() - started },
    ...(tally.failure !== undefined && { failure: tally.failure }),
  }
}
