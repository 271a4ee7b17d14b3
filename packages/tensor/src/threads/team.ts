/** The threads of an engine: the one that calls it and its helpers, which take parts of each call. */
import { KERNEL_NAMES, type KernelName, type Kernels } from '@prismal/kernels/catalogue'
import { ThreadError } from '../errors.js'
import type { WasmMemory } from '../memory.js'
import { unlessAborted } from '../unless-aborted.js'
import { ControlBlock, DONE, PartTaker } from './control.js'
import { maySleep, spinWhile } from './idle.js'
import { GRAIN, type Grain, type Grid, splitsOf } from './split.js'
import { type OwnScript, startThread, type Thread, type ThreadScript } from './start-thread.js'
import type { HelperAnswer, HelperStart } from './thread.js'

export interface TeamOptions {
  /** Built for shared memory. */
  readonly module: WebAssembly.Module
  readonly memory: WasmMemory
  /** The module's kernels over the memory, for the calling thread. */
  readonly kernels: Kernels
  /** Threads, the calling one included: 2 or more. */
  readonly threads: number
  /** The helpers' script; default: the one beside this file. */
  readonly script?: ThreadScript | undefined
  /** How long a helper may take for a part, in ms; default 5,000. */
  readonly partTimeoutMs?: number | undefined
  readonly grain?: Grain | undefined
}

const PART_TIMEOUT_MS = 5000
/** How long the caller looks for the last parts before it sleeps, in ms. */
const SPIN_MS = 0.2
/** A sleep of the caller, after which it looks at the clock. */
const SLEEP_MS = 10
/** Helpers that ended and were replaced, at most: a machine that keeps ending them wants fewer. */
const MOST_RESTARTS = 16

const OWN: OwnScript = {
  // Not for bundlers: they would keep the script once more, as a file that nothing reads.
  url: () => new URL(/* webpackIgnore: true */ /* @vite-ignore */ './thread.js', import.meta.url),
  start: () => new Worker(new URL('./thread.js', import.meta.url), { type: 'module' }),
}

interface Helper {
  readonly thread: Thread
  readonly number: number
  state: 'starting' | 'ready' | 'gone'
}

/** Starts the helpers. Rejects with the reason where one cannot be had; none is left running then. */
export async function startTeam(options: TeamOptions, signal?: AbortSignal): Promise<Team> {
  const team = new Team(options)
  try {
    await unlessAborted(team.start(), signal)
  } catch (cause) {
    team.end()
    throw cause
  }
  return team
}

export class Team {
  /** The catalogue's kernels, computed by all threads. */
  readonly kernels: Kernels
  readonly memory: WasmMemory
  /** Most threads that may compute at a time: so many scratch buffers are needed. */
  readonly most: number
  readonly #options: TeamOptions
  readonly #grain: Grain
  readonly #partTimeoutMs: number
  readonly #splits = splitsOf(KERNEL_NAMES)
  readonly #grid: Grid = { across: 1, down: 1, rowUnit: 1 }
  readonly #maySleep = maySleep()
  #block: ControlBlock
  #taker: PartTaker
  #helpers: Helper[] = []
  readonly #starting = new Set<Promise<void>>()
  #ready = 0
  #generation = 0
  #restarts = 0
  #lack: string | undefined
  #ended = false

  /** @internal Use {@link startTeam}. */
  constructor(options: TeamOptions) {
    this.#options = options
    this.memory = options.memory
    this.most = options.threads
    this.#grain = options.grain ?? GRAIN
    this.#partTimeoutMs = options.partTimeoutMs ?? PART_TIMEOUT_MS
    this.#block = new ControlBlock(options.threads - 1)
    this.#taker = this.#newTaker()
    this.kernels = Object.fromEntries(
      KERNEL_NAMES.map((name, i) => [name, this.#shared(name, i)]),
    ) as unknown as Kernels
  }

  /** Threads that compute at this moment. */
  get threads(): number {
    return 1 + this.#ready
  }
  /** Why these are not as many as were asked for; undefined where they are. */
  get lack(): string | undefined {
    return this.threads === this.most ? undefined : (this.#lack ?? 'helper threads are being started')
  }

  /** @internal */
  async start(): Promise<void> {
    await Promise.all(Array.from({ length: this.most - 1 }, (_, i) => this.#startHelper(i + 1)))
  }

  /** Ends the helpers. */
  end(): void {
    this.#ended = true
    this.#dismiss()
  }

  /** @internal Resolves when every helper that was being started is ready or could not be had. */
  async settled(): Promise<void> {
    while (this.#starting.size > 0) await Promise.allSettled(this.#starting)
  }

  /** @internal The helpers' threads, for tests that end them. */
  get helperThreads(): readonly Thread[] {
    return this.#helpers.map(({ thread }) => thread)
  }

  #newTaker(): PartTaker {
    return new PartTaker(this.#block, 0, this.#options.kernels, this.#splits)
  }

  #shared(name: KernelName, number: number): (...parameters: number[]) => number {
    const alone = this.#options.kernels[name]
    const split = this.#splits[number]
    if (!split) return alone
    const grid = this.#grid
    return (...parameters) => {
      if (this.#ready === 0) return alone(...parameters)
      split.plan(parameters, 1 + this.#ready, this.#grain, grid)
      if (grid.across * grid.down === 1) return alone(...parameters)
      return this.#run(name, number, parameters)
    }
  }

  #run(name: string, kernel: number, parameters: readonly number[]): number {
    const block = this.#block
    const grid = this.#grid
    block.open(++this.#generation, kernel, grid, parameters)
    this.#taker.take()
    if (!this.#finished(grid.across * grid.down)) this.#lose(name)
    const failure = block.failure()
    if (failure !== undefined) throw new ThreadError(`threads: a part of ${name} failed: ${failure}`)
    return block.first()
  }

  /** Waits for the parts that helpers hold; false where they do not come. */
  #finished(parts: number): boolean {
    const { words } = this.#block
    let until = 0
    for (;;) {
      const done = Atomics.load(words, DONE)
      if (done === parts || spinWhile(words, DONE, done, SPIN_MS)) {
        if (done === parts) return true
        until = 0
        continue
      }
      if (this.#maySleep) this.#block.waitForParts(done, SLEEP_MS)
      if (Atomics.load(words, DONE) !== done) until = 0
      else if (until === 0) until = performance.now() + this.#partTimeoutMs
      else if (performance.now() > until) return false
    }
  }

  /** A helper died, or hangs, with a part in its hands. Those that are left cannot be told apart from it: all go. */
  #lose(name: string): never {
    this.#dismiss()
    this.#block = new ControlBlock(this.most - 1)
    this.#taker = this.#newTaker()
    for (let number = 1; number < this.most; number++) this.#replace(number, `it did not finish a part of ${name}`)
    throw new ThreadError(
      `threads: a helper did not finish its part of ${name} within ${this.#partTimeoutMs} ms, so the result is lost; ` +
        'the engine goes on with one thread while others are started',
    )
  }

  #dismiss(): void {
    this.#block.leave()
    for (const helper of this.#helpers.splice(0)) {
      helper.state = 'gone'
      void helper.thread.terminate()
    }
    this.#ready = 0
  }

  /** Resolves when the helper is ready; rejects with the reason where it cannot be had. */
  #startHelper(number: number): Promise<void> {
    const { module, script } = this.#options
    return new Promise((resolve, reject) => {
      const helper: Helper = { thread: startThread('prismal', script, OWN), number, state: 'starting' }
      this.#helpers.push(helper)
      helper.thread.onMessage(message => {
        if (helper.state !== 'starting') return
        const answer = message as HelperAnswer
        if ('error' in answer) {
          this.#left(helper, answer.error, reject)
          return
        }
        helper.state = 'ready'
        this.#ready++
        helper.thread.hold(false)
        resolve()
      })
      void helper.thread.ended.then(reason => this.#left(helper, reason, reject))
      const { buffer, helpers } = this.#block
      const memory = this.memory.wasm
      helper.thread.post({ module, memory, control: buffer, helper: number, helpers } satisfies HelperStart)
    })
  }

  #left(helper: Helper, reason: string, reject: (error: Error) => void): void {
    const { state } = helper
    if (state !== 'ready') reject(new Error(reason))
    if (state === 'gone') return
    helper.state = 'gone'
    void helper.thread.terminate()
    this.#helpers = this.#helpers.filter(other => other !== helper)
    if (state === 'starting') return
    this.#ready--
    this.#replace(helper.number, reason)
  }

  /** Starts a helper in the background for one that is gone. */
  #replace(number: number, reason: string): void {
    if (this.#ended) return
    if (this.#restarts++ >= MOST_RESTARTS) {
      this.#lack = `a helper thread ended again and again: ${reason}`
      return
    }
    this.#lack = `a helper thread is being replaced: ${reason}`
    const starting = new Promise<void>(resolve => resolve(this.#startHelper(number)))
      .catch(cause => {
        this.#lack = `a helper thread could not be replaced: ${(cause as Error).message}`
      })
      .finally(() => this.#starting.delete(starting))
    this.#starting.add(starting)
    for (const helper of this.#helpers) if (helper.number === number) helper.thread.hold(false)
  }
}
