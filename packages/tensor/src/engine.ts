/** An engine: one linear memory, one backend, and the operations over it. */
import type { Kernels } from '@prismal/kernels/catalogue'
import { Arena } from './arena.js'
import type { Build } from './backends/backend.js'
import { referenceKernels } from './backends/reference.js'
import { detectWasm, wasmKernels } from './backends/wasm.js'
import { DisposedError, OperandError, UnavailableError } from './errors.js'
import { type GrowableMemory, PlainMemory, WasmMemory } from './memory.js'
import { linear, type Matrix, matmul, softmax, transpose } from './operations.js'
import { type Dtype, type Meter, Scope, type Tensor, type TypedArray } from './tensor.js'
import { compile, type ModuleSource, unusable } from './wasm-source.js'

export interface EngineOptions {
  /**
   * What to compute with. `'auto'` (default) takes the fastest build this runtime has: relaxed SIMD, SIMD, else the
   * reference backend. A named build throws {@link UnavailableError} where the runtime lacks it.
   */
  readonly backend?: 'auto' | Build
  /** The wasm build to run, where it is not to be found beside this file: a `Module`, its bytes, or where they are. */
  readonly module?: ModuleSource
  /** Most bytes that weights and requests may use together; default: none but wasm's 4 GiB. */
  readonly memoryLimitBytes?: number
  /** Threads that compute; 1 is the only choice of this version. */
  readonly threads?: 1
}

/** What an engine runs on, and why not on something faster. */
export interface Capabilities {
  readonly backend: 'wasm' | 'reference'
  readonly build: Build
  readonly simd: 'relaxed' | 'plain' | 'none'
  readonly threads: number
  readonly memoryLimitBytes: number
  readonly reasons: readonly string[]
}

export class Engine {
  readonly arena: Arena
  readonly build: Build
  #kernels: Kernels | undefined
  readonly #reasons: readonly string[]
  readonly #root: Scope

  /** @internal Use {@link createEngine}. */
  constructor(memory: GrowableMemory, kernels: Kernels, build: Build, limitBytes: number, reasons: readonly string[]) {
    this.arena = new Arena(memory, limitBytes)
    this.#kernels = kernels
    this.build = build
    this.#reasons = reasons
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
    const simd = { reference: 'none', simd: 'plain', 'relaxed-simd': 'relaxed' } as const
    return {
      backend: this.build === 'reference' ? 'reference' : 'wasm',
      build: this.build,
      simd: simd[this.build],
      threads: 1,
      memoryLimitBytes: this.arena.limitBytes,
      reasons: this.#reasons,
    }
  }

  /**
   * Which results may be compared bit by bit: build, precision and a digest of a probe product, in which a fused
   * multiply-add and a rounded one differ.
   */
  numericsClass(): string {
    const scope = this.scope()
    const wave = Float32Array.from({ length: 128 }, (_, i) => Math.sin(i + 1) / 3)
    const probe: Matrix = { packed: scope.tensor(wave, [128]), k: 16, n: 8 }
    const y = linear(scope.tensor(wave.slice(0, 32), [2, 16]), probe, { activation: 'gelu' })
    const bits = new Int32Array(y.floats().buffer)
    scope.dispose()
    let digest = 0x811c9dc5
    for (const b of bits) digest = Math.imul(digest ^ b, 0x01000193)
    return `${this.build}/f32/${(digest >>> 0).toString(16).padStart(8, '0')}`
  }

  /** Gives the memory up; tensors and scopes of this engine are dead afterwards. */
  dispose(): void {
    this.#root.dispose()
    this.#kernels = undefined
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/**
 * Makes an engine with a memory of its own. Throws {@link UnavailableError} for a build that this runtime lacks or a
 * module that cannot be had, {@link OperandError} for options that are none.
 */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  const { backend = 'auto', memoryLimitBytes = Number.POSITIVE_INFINITY, threads = 1 } = options
  if (threads !== 1)
    throw new OperandError(`createEngine: threads is ${threads}; an engine of this version computes on one`)
  if (!(memoryLimitBytes > 0))
    throw new OperandError(`createEngine: memoryLimitBytes is ${memoryLimitBytes}, not positive`)
  const { build, reasons } = choose(backend)
  if (build === 'reference') {
    const memory = new PlainMemory()
    return new Engine(memory, referenceKernels(memory), build, memoryLimitBytes, reasons)
  }
  const module = await compile(build, options.module)
  const memory = new WasmMemory()
  const kernels = await wasmKernels(module, memory.wasm).catch(cause => {
    throw unusable(build, options.module, cause)
  })
  return new Engine(memory, kernels, build, memoryLimitBytes, reasons)
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

function choose(backend: 'auto' | Build): { build: Build; reasons: string[] } {
  const found = detectWasm()
  const reasons = ['threads: one; this version computes on the thread that calls it']
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
  if (build === 'reference') reasons.unshift(backend === 'auto' ? noSimd : 'simd: the reference backend was asked for')
  else if (build === 'simd') reasons.unshift(found.relaxedSimd ? 'simd: the plain build was asked for' : noRelaxed)
  return { build, reasons }
}
