/**
 * The control block: a small shared memory of its own through which an engine's threads agree on who computes what.
 *
 *     ticket    generation of the job (20 bits) | number of its next part (12 bits; CLOSED: it is being written)
 *     done      parts that are finished
 *     kernel, across, down, row unit, failed, first, waiting, leaving
 *     asleep    one word a helper: 1 while it may need to be woken
 *     arguments of the call, f64
 *     message   of the part that failed, UTF-16
 *
 * The caller closes the ticket under the next generation, writes the job, then opens it. A thread takes a part by
 * exchanging the ticket it has read for the next one, which fails where anything has happened in between: so whatever it
 * read of the job before belongs to that job. A helper that comes late, or never, holds nobody up: the caller takes
 * parts too.
 */
import { KERNEL_NAMES, type Kernels } from '@prismal/kernels/catalogue'
import { type Grid, type Split, splitsOf } from './split.js'

export const TICKET = 0
export const DONE = 1
const KERNEL = 2
const ACROSS = 3
const DOWN = 4
const ROW_UNIT = 5
const FAILED = 6
const FIRST = 7
const WAITING = 8
const LEAVING = 9
const ASLEEP = 16

const PART_BITS = 12
const CLOSED = (1 << PART_BITS) - 1
const LAST_GENERATION = (1 << (32 - PART_BITS)) - 1
const MOST_ARGUMENTS = 32
const MOST_MESSAGE = 200

/** Views of a control block. */
export class ControlBlock {
  readonly buffer: SharedArrayBuffer
  readonly words: Int32Array
  readonly args: Float64Array
  readonly message: Uint16Array
  readonly helpers: number

  /** A block for so many helpers, or views of one that another thread made. */
  constructor(helpers: number, buffer?: SharedArrayBuffer) {
    const argsAt = Math.ceil((ASLEEP + helpers + 1) / 16) * 64
    const messageAt = argsAt + MOST_ARGUMENTS * 8
    this.helpers = helpers
    this.buffer = buffer ?? new SharedArrayBuffer(messageAt + 2 * (MOST_MESSAGE + 1))
    this.words = new Int32Array(this.buffer, 0, ASLEEP + helpers + 1)
    this.args = new Float64Array(this.buffer, argsAt, MOST_ARGUMENTS)
    this.message = new Uint16Array(this.buffer, messageAt, MOST_MESSAGE + 1)
    if (!buffer) this.words[TICKET] = CLOSED
  }

  /** Publishes a job and wakes whoever sleeps. Every part of the job before is finished. */
  open(generation: number, kernel: number, grid: Readonly<Grid>, args: ArrayLike<number>): void {
    const { words } = this
    const ticket = (generation & LAST_GENERATION) << PART_BITS
    Atomics.store(words, TICKET, ticket | CLOSED)
    words[KERNEL] = kernel
    words[ACROSS] = grid.across
    words[DOWN] = grid.down
    words[ROW_UNIT] = grid.rowUnit
    words[FAILED] = 0
    words[FIRST] = 0
    for (let i = 0; i < args.length; i++) this.args[i] = args[i] as number
    Atomics.store(words, DONE, 0)
    Atomics.store(words, TICKET, ticket)
    let asleep = 0
    for (let helper = 1; helper <= this.helpers; helper++) asleep |= Atomics.load(words, ASLEEP + helper)
    if (asleep !== 0) Atomics.notify(words, TICKET)
  }

  /** Has helpers leave, and computes no more: Deno frees none that is terminated in its sleep, nor the memory it shares. */
  leave(): void {
    const { words } = this
    Atomics.store(words, LEAVING, 1)
    // Another one than any of them has seen, and no part of a job.
    Atomics.store(words, TICKET, (Atomics.load(words, TICKET) ^ (1 << PART_BITS)) | CLOSED)
    Atomics.notify(words, TICKET)
  }

  get isLeft(): boolean {
    return Atomics.load(this.words, LEAVING) !== 0
  }

  /** Sleeps until the ticket is another one than `seen`. */
  sleep(helper: number, seen: number): void {
    Atomics.store(this.words, ASLEEP + helper, 1)
    Atomics.wait(this.words, TICKET, seen)
    Atomics.store(this.words, ASLEEP + helper, 0)
  }

  /** Sleeps until all of `parts` are done, or something else than `done` of them, or the time is over. */
  waitForParts(done: number, timeoutMs: number): void {
    Atomics.store(this.words, WAITING, 1)
    Atomics.wait(this.words, DONE, done, timeoutMs)
    Atomics.store(this.words, WAITING, 0)
  }

  /** What the first failed part of the job threw, once all are done. */
  failure(): string | undefined {
    if (Atomics.load(this.words, FAILED) === 0) return undefined
    const length = Math.min(this.message[0] as number, MOST_MESSAGE)
    return String.fromCharCode(...this.message.subarray(1, 1 + length))
  }

  /** 1 + the first row that a part reported, 0 where none did. */
  first(): number {
    return Atomics.load(this.words, FIRST)
  }

  /** @internal */
  fail(error: unknown): void {
    if (Atomics.compareExchange(this.words, FAILED, 0, 1) !== 0) return
    const text = (error instanceof Error ? error.message : String(error)).slice(0, MOST_MESSAGE)
    for (let i = 0; i < text.length; i++) this.message[i + 1] = text.charCodeAt(i)
    this.message[0] = text.length
  }

  /** @internal The smallest report wins. */
  report(first: number): void {
    for (;;) {
      const before = Atomics.load(this.words, FIRST)
      if (before !== 0 && before <= first) return
      if (Atomics.compareExchange(this.words, FIRST, before, first) === before) return
    }
  }

  /** @internal */
  finish(parts: number): void {
    const done = Atomics.add(this.words, DONE, 1) + 1
    if (done === parts && Atomics.load(this.words, WAITING) !== 0) Atomics.notify(this.words, DONE)
  }
}

/** Computes parts of jobs: what the calling thread (number 0) and helpers (1, 2, …) do alike. */
export class PartTaker {
  readonly #block: ControlBlock
  readonly #thread: number
  readonly #kernels: readonly ((...parameters: number[]) => number)[]
  readonly #splits: readonly (Split | undefined)[]
  readonly #parameters: readonly number[][]
  readonly #grid: Grid = { across: 1, down: 1, rowUnit: 1 }

  constructor(block: ControlBlock, thread: number, kernels: Kernels, splits = splitsOf(KERNEL_NAMES)) {
    this.#block = block
    this.#thread = thread
    this.#kernels = KERNEL_NAMES.map(name => kernels[name])
    this.#splits = splits
    this.#parameters = splits.map(split => new Array<number>(split?.parameters ?? 0).fill(0.5))
  }

  /** Takes parts of the job at hand until none is left; returns the ticket seen last. */
  take(): number {
    const { words } = this.#block
    const grid = this.#grid
    let read = NONE
    let kernel = 0
    let parts = 0
    for (;;) {
      const ticket = Atomics.load(words, TICKET)
      const part = ticket & CLOSED
      if (part === CLOSED) return ticket
      const generation = ticket >>> PART_BITS
      if (generation !== read) {
        kernel = words[KERNEL] as number
        grid.across = words[ACROSS] as number
        grid.down = words[DOWN] as number
        grid.rowUnit = words[ROW_UNIT] as number
        parts = grid.across * grid.down
        read = generation
      }
      if (part >= parts) return ticket
      const split = this.#splits[kernel]
      const parameters = this.#parameters[kernel]
      // Of a job that ends meanwhile these may be nonsense; the ticket then tells.
      if (split && parameters) split.part(this.#block.args, grid, part, this.#thread, parameters)
      if (Atomics.compareExchange(words, TICKET, ticket, ticket + 1) !== ticket) continue
      if (split && parameters) this.#compute(kernel, split, parameters)
      this.#block.finish(parts)
    }
  }

  #compute(kernel: number, split: Split, parameters: number[]): void {
    if (Atomics.load(this.#block.words, FAILED) !== 0) return
    try {
      const first = this.#kernels[kernel]?.(...parameters) ?? 0
      if (first > 0) this.#block.report(split.rowFrom + first)
    } catch (error) {
      this.#block.fail(error)
    }
  }
}

/** No generation. */
const NONE = -1
