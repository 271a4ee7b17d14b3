/** An engine: one linear memory, one backend, and the operations over it. */
import type { Kernels } from '@prismal/kernels/catalogue'
import { Arena } from './arena.js'
import type { Build } from './backends/backend.js'
import { referenceKernels } from './backends/reference.js'
import { builtAs, detectWasm, wasmKernels } from './backends/wasm.js'
import { DisposedError, OperandError, UnavailableError } from './errors.js'
import type { Matrix, Precision } from './matrix.js'
import { type GrowableMemory, PlainMemory, WasmMemory } from './memory.js'
import { linear, matmul, softmax, transpose } from './operations.js'
import { preferredTileRows } from './register-tile.js'
import { type Dtype, type Meter, Scope, type Tensor, type TypedArray } from './tensor.js'
import { lackOfThreads } from './threads/available.js'
import { chooseThreads } from './threads/choose.js'
import type { ThreadScript } from './threads/start-thread.js'
import { startTeam, type Team, type TeamOptions } from './threads/team.js'
import { compile, type KernelsOf, type ModuleSource, unusable } from './wasm-source.js'

export interface EngineOptions {
  /**
   * What to compute with. `'auto'` (default) takes the fastest build this runtime has: relaxed SIMD, SIMD, else the
   * reference backend. A named build throws {@link UnavailableError} where the runtime lacks it.
   */
  readonly backend?: 'auto' | Build
  /**
   * The wasm build to run, where it is not to be found beside this file: a `Module`, its bytes, or where they are. Several
   * threads need one of the `prismal-…-threads.wasm`.
   */
  readonly module?: ModuleSource
  /** Most bytes that weights and requests may use together; default: none but wasm's 4 GiB. */
  readonly memoryLimitBytes?: number
  /**
   * Threads that compute, at least 1 and at most the machine's cores, or `'auto'`: as many as there are cores, or one
   * where the runtime has no threads that share memory ({@link Capabilities.reasons} tells). Default: 1. Each one more
   * costs 10 to 15 MB; `dispose()` ends them. Results are the same to the bit for every number.
   */
  readonly threads?: number | 'auto'
  /** The script of a helper thread, where `thread.js` is not to be found beside this file, or what starts it. */
  readonly threadScript?: ThreadScript
  /** Ends the start with the signal's reason: a server may never answer. */
  readonly signal?: AbortSignal
}

/** The names of {@link EngineOptions}. */
const OPTIONS = ['backend', 'module', 'memoryLimitBytes', 'threads', 'threadScript', 'signal']

/** @internal What runtimes differ in, and what tests set. */
export interface EngineInternals extends Pick<TeamOptions, 'partTimeoutMs' | 'grain'> {
  /** Where the kernels are when the options do not say. */
  readonly kernelsOf: KernelsOf
  /** Cores that the machine is taken to have. */
  readonly cores?: number
}

/** What an engine runs on, and why not on something faster. */
export interface Capabilities {
  readonly backend: 'wasm' | 'reference'
  readonly build: Build
  readonly simd: 'relaxed' | 'plain' | 'none'
  /** How many compute at this moment: fewer than asked for while a helper that ended is being replaced. */
  readonly threads: number
  readonly memoryLimitBytes: number
  readonly reasons: readonly string[]
}

export class Engine {
  readonly arena: Arena
  readonly build: Build
  /** Rows of a register tile that this runtime makes fast code of; 0: as many as the build has. */
  readonly tileRows = preferredTileRows()
  #kernels: Kernels | undefined
  readonly #reasons: readonly string[]
  readonly #team: Team | undefined
  readonly #root: Scope

  /** @internal Use `createEngine`. */
  constructor(
    memory: GrowableMemory,
    kernels: Kernels,
    build: Build,
    limitBytes: number,
    reasons: readonly string[],
    team?: Team,
  ) {
    this.arena = new Arena(memory, limitBytes)
    this.#kernels = team?.kernels ?? kernels
    this.build = build
    this.#reasons = reasons
    this.#team = team
    this.#root = new Scope(this)
  }

  get memory(): GrowableMemory {
    return this.arena.memory
  }
  /** The catalogue's kernels over this engine's memory. Throws {@link DisposedError} after `dispose()`. */
  get kernels(): Kernels {
    if (!this.#kernels) throw new DisposedError('this engine was disposed')
    return this.#kernels
  }
  /** Most threads that compute a call: kernels with a scratch buffer need that many. */
  get mostThreads(): number {
    return this.#team?.most ?? 1
  }
  /** @internal */
  get team(): Team | undefined {
    return this.#team
  }
  /** The scope that lives as long as the engine: weights belong here. */
  get root(): Scope {
    return this.#root
  }

  /** Whether this engine only counts memory: nothing is read, written or computed (see `rehearsalEngine`). */
  get rehearses(): boolean {
    return false
  }
  /** Whether tensors of `other` may be operands of this engine's operations beside its own. */
  reaches(other: Engine): boolean {
    return other === this
  }

  /** A scope for one request or computation; what is made in it goes with `scope.dispose()`. */
  scope(meter?: Meter): Scope {
    return this.#root.child(meter)
  }
  /** A tensor of the engine's own scope, freed by its `dispose()` or with the engine. */
  tensor(values: TypedArray | readonly number[], shape: readonly number[], dtype?: Dtype): Tensor {
    return this.#root.tensor(values, shape, dtype)
  }
  /** a [m, k] · b [k, n] → [m, n]. */
  matmul(a: Tensor, b: Tensor): Tensor {
    return matmul(a, b)
  }
  /** x [m, n] → [n, m]. */
  transpose(x: Tensor): Tensor {
    return transpose(x)
  }
  /** exp(x − max) / sum, row by row. */
  softmax(x: Tensor): Tensor {
    return softmax(x)
  }

  capabilities(): Capabilities {
    const lack = this.#team?.lack
    const simd = { reference: 'none', simd: 'plain', 'relaxed-simd': 'relaxed' } as const
    return {
      backend: this.build === 'reference' ? 'reference' : 'wasm',
      build: this.build,
      simd: simd[this.build],
      threads: this.#team?.threads ?? 1,
      memoryLimitBytes: this.arena.limitBytes,
      reasons: lack === undefined ? this.#reasons : [...this.#reasons, `threads: ${lack}`],
    }
  }

  /**
   * Which results may be compared bit by bit: build, precision and a digest of a probe product, in which a fused
   * multiply-add and a rounded one differ.
   */
  numericsClass(precision: Precision = 'f32'): string {
    const scope = this.scope()
    const wave = Float32Array.from({ length: 128 }, (_, i) => Math.sin(i + 1) / 3)
    const probe: Matrix = { precision: 'f32', packed: scope.tensor(wave, [128]), k: 16, n: 8 }
    const y = linear(scope.tensor(wave.slice(0, 32), [2, 16]), probe, { activation: 'gelu' })
    const bits = new Int32Array(y.floats().buffer)
    scope.dispose()
    let digest = 0x811c9dc5
    for (const b of bits) digest = Math.imul(digest ^ b, 0x01000193)
    return `${this.build}/${precision}/${(digest >>> 0).toString(16).padStart(8, '0')}`
  }

  /** Gives the memory up and ends the helper threads; tensors and scopes of this engine are dead afterwards. */
  dispose(): void {
    this.#root.dispose()
    this.#kernels = undefined
    this.#team?.end()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** @internal `createEngine`, with what runtimes differ in and tests set. */
export async function makeEngine(options: EngineOptions, internals: EngineInternals): Promise<Engine> {
  for (const [name, value] of Object.entries(options))
    if (value !== undefined && !OPTIONS.includes(name))
      throw new OperandError(`createEngine: there is no option ${name} (${OPTIONS.join(', ')})`)
  const { backend = 'auto', memoryLimitBytes = Number.POSITIVE_INFINITY } = options
  if (!(memoryLimitBytes > 0))
    throw new OperandError(`createEngine: memoryLimitBytes is ${memoryLimitBytes}, not positive`)
  const chosen = choose(backend)
  const { module: source, signal } = options
  const isGiven = source !== undefined && chosen.build !== 'reference'
  const given = isGiven ? await load(chosen.build, source, signal) : undefined
  const { build, reasons } = given ? builtSo(given.module, backend, chosen) : chosen
  const { threads, reason } = chooseThreads(options.threads, build, internals.cores)
  const because = reason === undefined ? reasons : [...reasons, reason]
  if (build === 'reference') {
    const memory = new PlainMemory()
    return new Engine(memory, referenceKernels(memory), build, memoryLimitBytes, because)
  }
  if (threads > 1)
    try {
      const team = await makeTeam(build, threads, given, options, internals)
      return new Engine(team.memory, team.kernels, build, memoryLimitBytes, because, team)
    } catch (cause) {
      if (!(options.threads === 'auto' && cause instanceof UnavailableError)) throw cause
      reasons.push(cause.message)
    }
  const { memory, kernels } = await bind(build, given, signal, internals.kernelsOf)
  return new Engine(memory, kernels, build, memoryLimitBytes, threads > 1 ? reasons : because)
}

/** Kernels, and what messages say they come from. */
interface Loaded {
  readonly source: ModuleSource
  readonly module: WebAssembly.Module
}

async function load(build: Build, source: ModuleSource, signal: AbortSignal | undefined): Promise<Loaded> {
  return { source, module: await compile(build, source, signal) }
}

/** What a module is, whatever this runtime would have taken. Throws {@link UnavailableError} where another build was asked for. */
function builtSo(module: WebAssembly.Module, backend: 'auto' | Build, chosen: Choice): Choice {
  const build = builtAs(module)
  if (build === undefined || build === chosen.build) return chosen
  if (backend !== 'auto')
    throw new UnavailableError(`wasm: the module given is the build ${build}; ${backend} was asked for`)
  return { build, reasons: [`simd: the module given is the build ${build}`] }
}

/** The kernels of a module over a memory of their own. One built for shared memory does for one thread too. */
async function bind(
  build: Build,
  given: Loaded | undefined,
  signal: AbortSignal | undefined,
  kernelsOf: KernelsOf,
): Promise<{ memory: WasmMemory; kernels: Kernels }> {
  const { source, module } = given ?? (await load(build, expectKernels(build, false, kernelsOf), signal))
  const plain = new WasmMemory()
  try {
    return { memory: plain, kernels: await wasmKernels(module, plain.wasm) }
  } catch (cause) {
    if (!(cause instanceof WebAssembly.LinkError) || given === undefined || lackOfThreads())
      throw unusable(build, source, cause)
    const shared = new WasmMemory(true)
    const kernels = await wasmKernels(module, shared.wasm).catch(() => {
      throw unusable(build, source, cause)
    })
    return { memory: shared, kernels }
  }
}

/** Throws {@link UnavailableError} where the kernels did not come along. */
function expectKernels(build: Build, shared: boolean, kernelsOf: KernelsOf): ModuleSource {
  const source = kernelsOf(build, shared)
  if (source) return source
  const file = `prismal-${build}${shared ? '-threads' : ''}.wasm`
  throw new UnavailableError(`wasm: ${file} does not come along in this runtime: give it as \`module\``)
}

/** Helpers over one shared memory. Throws {@link UnavailableError} where the module or a helper cannot be had. */
async function makeTeam(
  build: Build,
  threads: number,
  given: Loaded | undefined,
  { threadScript: script, signal }: EngineOptions,
  { kernelsOf, partTimeoutMs, grain }: EngineInternals,
): Promise<Team> {
  const { source, module } = given ?? (await load(build, expectKernels(build, true, kernelsOf), signal))
  const memory = new WasmMemory(true)
  const kernels = await wasmKernels(module, memory.wasm).catch(cause => {
    if (given !== undefined && cause instanceof WebAssembly.LinkError)
      throw new UnavailableError(
        `threads: ${threads} need a module built for shared memory (prismal-${build}-threads.wasm), which the one given is not`,
        { cause },
      )
    throw unusable(build, source, cause)
  })
  return startTeam({ module, memory, kernels, threads, script, partTimeoutMs, grain }, signal).catch(cause => {
    signal?.throwIfAborted()
    throw new UnavailableError(`threads: a helper thread could not be started: ${(cause as Error).message}`, { cause })
  })
}

/** The builds that this runtime can run, fastest first. */
export function availableBuilds(): readonly Build[] {
  const found = detectWasm()
  return [
    ...(found.relaxedSimd ? ['relaxed-simd' as const] : []),
    ...(found.simd ? ['simd' as const] : []),
    'reference',
  ]
}

const BUILDS: readonly Build[] = ['relaxed-simd', 'simd', 'reference']

/** A build, and why it is none that is faster. */
interface Choice {
  readonly build: Build
  readonly reasons: string[]
}

function choose(backend: 'auto' | Build): Choice {
  const found = detectWasm()
  const reasons: string[] = []
  const noSimd = found.webassembly
    ? 'simd: this runtime has WebAssembly without SIMD, so the slow reference backend runs'
    : 'simd: this runtime has no WebAssembly (or its content security policy forbids it), so the slow reference backend runs'
  const noRelaxed = 'simd: this runtime has no relaxed SIMD (Node has it from 22 on), so products are not fused'
  const available = availableBuilds()
  const build = backend === 'auto' ? (available[0] as Build) : backend
  if (!BUILDS.includes(build))
    throw new OperandError(`createEngine: backend is ${JSON.stringify(backend)}, not one of auto, ${BUILDS.join(', ')}`)
  if (!available.includes(build))
    throw new UnavailableError(build === 'simd' ? noSimd : found.simd ? noRelaxed : noSimd)
  if (build === 'reference') reasons.push(backend === 'auto' ? noSimd : 'simd: the reference backend was asked for')
  else if (build === 'simd') reasons.push(found.relaxedSimd ? 'simd: the plain build was asked for' : noRelaxed)
  return { build, reasons }
}
