/**
 * Hands out byte ranges of an engine's linear memory and takes them back.
 *
 *     0        64                                            end        memory.bytes
 *     ├────────┼──────────────────────────────────────────────┼──────────────┤
 *     │ unused │ used and free ranges, 64-byte aligned        │ never handed │
 *     │ (null) │ (free ones: sorted, neighbours merged)       │ out yet      │
 *
 * Address 0 means "absent" to a kernel and is never handed out. First fit: the same requests in the same order get the
 * same ranges, so a request that is repeated does not grow the memory.
 */
import { MemoryError } from './errors.js'
import { type GrowableMemory, PAGE_BYTES, tooLarge } from './memory.js'

export const ALIGNMENT_BYTES = 64

interface Range {
  at: number
  bytes: number
}

/** Which ranges of a memory are in use, without their content. */
export interface ArenaState {
  /** Bytes handed out, alignment included. */
  readonly usedBytes: number
  /** What the memory has grown to. */
  readonly memoryBytes: number
  /** Where the last range ends. */
  readonly end: number
  readonly free: readonly { readonly at: number; readonly bytes: number }[]
}

/** The largest use of an arena while something ran. */
export class PeakWatch {
  #peak: number
  readonly end: () => void
  constructor(used: number, end: () => void) {
    this.#peak = used
    this.end = end
  }
  get bytes(): number {
    return this.#peak
  }
  /** @internal */
  see(used: number): void {
    if (used > this.#peak) this.#peak = used
  }
}

export class Arena {
  readonly memory: GrowableMemory
  /** Most bytes that may be in use at a time. */
  readonly limitBytes: number
  #free: Range[] = []
  #end = ALIGNMENT_BYTES
  #used = 0
  #peak = 0
  readonly #watches = new Set<PeakWatch>()
  #kept: ArenaState | undefined

  constructor(memory: GrowableMemory, limitBytes = Number.POSITIVE_INFINITY) {
    this.memory = memory
    this.limitBytes = limitBytes
  }

  /** Bytes handed out and not taken back, alignment included. */
  get usedBytes(): number {
    return this.#used
  }
  get state(): ArenaState {
    const free = this.#free.map(({ at, bytes }) => ({ at, bytes }))
    return { usedBytes: this.#used, memoryBytes: this.memory.bytes, end: this.#end, free }
  }
  /** What stays in use while requests come and go: all that was in use when `keep()` was called, a model's weights. */
  get kept(): ArenaState {
    return this.#kept ?? EMPTY
  }
  keep(): void {
    this.#kept = this.state
  }
  /** @internal An arena that has handed nothing out takes over the state of another. */
  takeOver({ usedBytes, end, free }: ArenaState): void {
    this.#used = usedBytes
    this.#peak = usedBytes
    this.#end = end
    this.#free = free.map(({ at, bytes }) => ({ at, bytes }))
    this.keep()
  }

  /** Largest `usedBytes` so far. */
  get peakBytes(): number {
    return this.#peak
  }
  /** Follows the largest `usedBytes` from now until its `end()`. */
  watch(): PeakWatch {
    const watch = new PeakWatch(this.#used, () => this.#watches.delete(watch))
    this.#watches.add(watch)
    return watch
  }

  /** The address of `bytes` fresh bytes (their content is undefined). Throws {@link MemoryError}. */
  allocate(bytes: number): number {
    const size = rounded(bytes)
    if (this.#used + size > this.limitBytes) {
      const missing = this.#used + size - this.limitBytes
      throw new MemoryError(
        `memory: ${size} more bytes would exceed the limit of ${this.limitBytes} by ${missing} (${this.#used} in use)`,
        missing,
      )
    }
    const at = this.#fromFree(size) ?? this.#fromEnd(size)
    this.#used += size
    this.#peak = Math.max(this.#peak, this.#used)
    for (const watch of this.#watches) watch.see(this.#used)
    return at
  }

  /** Takes back what `allocate(bytes)` gave. */
  release(at: number, bytes: number): void {
    const size = rounded(bytes)
    this.#used -= size
    const next = this.#free.findIndex(r => r.at > at)
    const i = next < 0 ? this.#free.length : next
    this.#free.splice(i, 0, { at, bytes: size })
    this.#mergeWithNext(i)
    if (i > 0) this.#mergeWithNext(i - 1)
    const last = this.#free[this.#free.length - 1]
    if (last && last.at + last.bytes === this.#end) {
      this.#end = last.at
      this.#free.pop()
    }
  }

  #fromFree(size: number): number | undefined {
    const i = this.#free.findIndex(r => r.bytes >= size)
    const range = this.#free[i]
    if (!range) return undefined
    const at = range.at
    range.at += size
    range.bytes -= size
    if (range.bytes === 0) this.#free.splice(i, 1)
    return at
  }

  #fromEnd(size: number): number {
    const at = this.#end
    if (!Number.isSafeInteger(at + size)) throw tooLarge(size, Number.MAX_SAFE_INTEGER, 'can be addressed')
    this.memory.ensure(at + size)
    this.#end += size
    return at
  }

  #mergeWithNext(i: number): void {
    const range = this.#free[i]
    const next = this.#free[i + 1]
    if (range && next && range.at + range.bytes === next.at) {
      range.bytes += next.bytes
      this.#free.splice(i + 1, 1)
    }
  }
}

/** A memory's first page, nothing of it in use. */
const EMPTY: ArenaState = { usedBytes: 0, memoryBytes: PAGE_BYTES, end: ALIGNMENT_BYTES, free: [] }

const rounded = (bytes: number): number => Math.max(1, Math.ceil(bytes / ALIGNMENT_BYTES)) * ALIGNMENT_BYTES
