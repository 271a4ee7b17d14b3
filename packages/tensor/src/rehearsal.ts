/**
 * Rehearsals: a computation run over an engine that counts memory and has none. What an arena hands out follows from
 * shapes alone, so the rehearsal of a request needs to the byte what the request will, and takes hardly any time.
 */
import { KERNEL_NAMES, type Kernels } from '@prismal/kernels/catalogue'
import type { ArenaState } from './arena.js'
import type { Build } from './backends/backend.js'
import { availableBuilds, type Capabilities, Engine } from './engine.js'
import { OperandError } from './errors.js'
import { type GrowableMemory, PAGE_BYTES } from './memory.js'

export interface RehearsalOptions {
  /** The engine to stand for: its tensors (weights) may be operands, its build and threads are taken over. */
  readonly of?: Engine
  /** What is in use at the start; default: what `of` keeps, or nothing. */
  readonly from?: ArenaState
  /** Default: that of `of`, or the fastest that this runtime has. */
  readonly build?: Build
  /** Threads to count memory for; default: those of `of`, or 1. */
  readonly threads?: number
}

/**
 * An engine whose arena counts, whose memory has no bytes (any size is granted, so that a need beyond all limits can be
 * stated too) and whose kernels do nothing. `Tensor.data()` gives zeros and `write` does nothing; all else, errors
 * included, is as with a real one. Throws {@link OperandError} for a number of threads that is none.
 */
export function rehearsalEngine(options: RehearsalOptions = {}): Engine {
  return new RehearsalEngine(options)
}

class RehearsalEngine extends Engine {
  readonly #of: Engine | undefined
  readonly #threads: number

  constructor({ of, from = of?.arena.kept, build = of?.build, threads }: RehearsalOptions) {
    const best = build ?? (availableBuilds()[0] as Build)
    const memory = new CountedMemory(from?.memoryBytes)
    super(memory, SILENT_KERNELS, best, Number.POSITIVE_INFINITY, ['memory: counted only, this is a rehearsal'])
    this.#of = of
    this.#threads = threads ?? of?.mostThreads ?? 1
    if (!(Number.isInteger(this.#threads) && this.#threads >= 1))
      throw new OperandError(`rehearsalEngine: threads is ${threads}, not a whole number ≥ 1`)
    if (from) this.arena.takeOver(from)
  }

  override get rehearses(): boolean {
    return true
  }
  override reaches(other: Engine): boolean {
    return other === this || other === this.#of
  }
  override get mostThreads(): number {
    return this.#threads
  }
  override capabilities(): Capabilities {
    return { ...super.capabilities(), threads: this.#threads }
  }
}

/** Grows as a real memory does, by whole pages. */
class CountedMemory implements GrowableMemory {
  #bytes: number
  constructor(bytes = PAGE_BYTES) {
    this.#bytes = bytes
  }
  get buffer(): never {
    throw new OperandError('memory: a rehearsal has no bytes to look at; use the methods of Tensor')
  }
  get bytes(): number {
    return this.#bytes
  }
  ensure(bytes: number): void {
    if (bytes > this.#bytes) this.#bytes = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES
  }
}

/** 0 is what a kernel returns that has nothing to report. */
const SILENT_KERNELS = Object.fromEntries(KERNEL_NAMES.map(name => [name, () => 0])) as unknown as Kernels
