/** What this machine can at best do from WebAssembly: multiply-adds a second, and bytes a second by working set. */
import {
  ARITHMETICS,
  type Arithmetic,
  BLOCK_BYTES,
  copyLoop,
  type MultiplyAddLoop,
  multiplyAddLoop,
  OPERANDS,
  readLoop,
  STEPS,
} from './loops.js'
import { batched, type Contestant, SLICE_MS, shortest } from './measure.js'

export interface Peak extends MultiplyAddLoop {
  /** 10⁹ operations a second, a multiply-add being two. */
  readonly gflops: number
}

/** What shares are shares of. */
export interface Machine {
  /** The peak of each arithmetic that this runtime has. */
  readonly peaks: readonly Peak[]
  /** The largest of them. */
  readonly peak: Peak
  /** 10⁹ bytes a second that one core reads from memory, which no cache holds. */
  readonly streaming: number
  readonly bandwidth: Bandwidth
}

/** Bytes that no cache holds. */
const MEMORY_BYTES = 256 * 2 ** 20
const CALL_MS = 1

export interface Effort {
  /** Numbers of chains to try. */
  readonly chains: readonly number[]
  /** Calls of which the fastest counts. */
  readonly calls: number
}
export const THOROUGH: Effort = { chains: [6, 7, 8, 9, 10, 11, 12, 13, 14], calls: 100 }
export const QUICK: Effort = { chains: [8, 10, 12, 14], calls: 30 }

/** Measures all of it on this thread; takes some seconds. */
export function measureMachine(effort: Effort): Machine {
  const arithmetics = hasRelaxedSimd() ? ARITHMETICS : ARITHMETICS.filter(a => a !== 'relaxed_madd')
  const peaks = arithmetics.map(arithmetic => measurePeak(arithmetic, effort))
  const peak = peaks.reduce((a, b) => (b.gflops > a.gflops ? b : a))
  const bandwidth = new Bandwidth(effort)
  return { peaks, peak, streaming: bandwidth.streaming(), bandwidth }
}

/** Whether this runtime has `f32x4.relaxed_madd`. */
function hasRelaxedSimd(): boolean {
  try {
    multiplyAddLoop({ arithmetic: 'relaxed_madd', chains: 1, operand: 'constant', steps: 1 })
    return true
  } catch {
    return false
  }
}

/**
 * The fastest loop of an arithmetic over all numbers of chains and kinds of operand: any single one may be compiled
 * badly (13–25 of 57 GF/s were seen), and a peak that is too low flatters every kernel.
 */
export function measurePeak(arithmetic: Arithmetic, effort: Effort): Peak {
  let best: Peak | undefined
  for (const chains of effort.chains)
    for (const operand of OPERANDS)
      for (const steps of STEPS) {
        const variant = { arithmetic, chains, operand, steps }
        const { run, flops } = callOf(variant, CALL_MS)
        const gflops = flops / shortest(run, effort.calls) / 1e6
        if (gflops > (best?.gflops ?? 0)) best = { ...variant, gflops }
      }
  return best!
}

/** The loop of a peak as a contestant, and the operations that one run makes. */
export function peakContestant(peak: MultiplyAddLoop): { contestant: Contestant; flops: number } {
  const { run, flops } = callOf(peak, SLICE_MS)
  return { contestant: { name: 'peak', run }, flops }
}

function callOf(variant: MultiplyAddLoop, leastMs: number): { run: () => void; flops: number } {
  const { run, flopsPerTurn } = multiplyAddLoop(variant)
  const turns = 2000
  const many = turns * batched('turns', () => run(turns), leastMs).calls
  return { run: () => run(many), flops: many * flopsPerTurn }
}

/** Reading and copying, by how many bytes they touch again and again. */
export class Bandwidth {
  readonly #memory = new WebAssembly.Memory({ initial: 1 + MEMORY_BYTES / 65536 })
  readonly #read = readLoop(this.#memory)
  readonly #copy = copyLoop(this.#memory)
  readonly #calls: number
  readonly #known = new Map<number, number>()

  constructor(effort: Effort) {
    this.#calls = effort.calls
    // Pages never written are all one page of zeros, which a cache holds: reading them gave four times the rate.
    new Uint8Array(this.#memory.buffer).fill(1)
  }

  /** 10⁹ bytes a second that stream from memory, which no cache holds. */
  streaming(): number {
    return this.#reading(MEMORY_BYTES, 3, Math.ceil(this.#calls / 5))
  }

  /**
   * The largest of reading `bytes` bytes, copying half of them onto the other half by vectors, and by memmove (which
   * wasm has as `memory.copy`), in 10⁹ bytes a second.
   */
  of(bytes: number): number {
    const least = 16 * BLOCK_BYTES
    const size = Math.min(MEMORY_BYTES, Math.max(least, Math.ceil(bytes / (2 * BLOCK_BYTES)) * 2 * BLOCK_BYTES))
    const known = this.#known.get(size)
    if (known !== undefined) return known
    const rate = Math.max(this.#reading(size, 1, this.#calls), ...this.#copying(size, this.#calls))
    this.#known.set(size, rate)
    return rate
  }

  #reading(bytes: number, warmRuns: number, runs: number): number {
    const { run, calls } = repeated(bytes, () => this.#read(0, bytes))
    return (bytes * calls) / shortest(run, runs, warmRuns) / 1e6
  }
  #copying(bytes: number, runs: number): number[] {
    const all = new Uint8Array(this.#memory.buffer)
    const half = bytes / 2
    const ways = [() => this.#copy(0, half, half), () => void all.copyWithin(half, 0, half)]
    return ways.map(way => {
      const { run, calls } = repeated(bytes, way)
      return (bytes * calls) / shortest(run, runs, 1) / 1e6
    })
  }
}

/** Repeats a call that is too short for the clock. */
const repeated = (bytes: number, call: () => void): { run(): void; calls: number } =>
  bytes < MEMORY_BYTES / 8 ? batched('memory', call, CALL_MS) : { run: call, calls: 1 }
