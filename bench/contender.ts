/**
 * A contender is a process of its own that computes when it is told to, so that each has its memory and its threads to
 * itself and still takes turns with the others. Both sides speak JSON, an object a line, over stdin and stdout:
 *
 *     → {"load":{…}}     ← {"loaded":{"milliseconds":…,…}}
 *     → {"output":true}  ← {"output":"base64 of f32"}
 *     → {"turn":3}       ← {"turn":{"milliseconds":[…,…,…],"flops":…}}
 *     → {"memory":true}  ← {"memory":[{"bytes":…,"peakBytes":…},…]}, its own and those of processes that it started
 *     anything may be answered by ← {"error":"…"}; the end of stdin ends the process
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { LineProcess, serveLines } from './line-process.js'

/** What a contender may tell of what it loaded. */
export interface Loaded {
  readonly milliseconds: number
  /** Bytes of weights as they lie in memory, or in the file where that is not known. */
  readonly weightBytes?: number
  /** Bytes that a run must read from memory, where that bounds it. */
  readonly streamedBytes?: number
}

export interface Turn {
  /** Of each run. */
  readonly milliseconds: readonly number[]
  /** Operations of a run, where they are counted. */
  readonly flops?: number
}

/** Resident memory of a process; `peakBytes` since the last time it was asked. */
export interface ResidentMemory {
  readonly bytes: number
  readonly peakBytes: number
}

/** What a contender computes, once loaded. */
export interface Running {
  readonly loaded?: Omit<Loaded, 'milliseconds'>
  output(): Promise<Float32Array>
  turn(runs: number): Promise<Turn>
  /** Memory of other processes that share the work. */
  others?(): Promise<ResidentMemory[]>
}

type Message = { load: unknown } | { output: true } | { turn: number } | { memory: true }

/** `runs` runs, each timed. */
export async function timedRuns(runs: number, run: () => unknown): Promise<{ milliseconds: number[] }> {
  const milliseconds: number[] = []
  for (let i = 0; i < runs; i++) {
    const started = performance.now()
    await run()
    milliseconds.push(performance.now() - started)
  }
  return { milliseconds }
}

/** The contender's side: answers messages until stdin ends. */
export async function serveContender<Load>(open: (load: Load) => Promise<Running>): Promise<void> {
  let running: Running | undefined
  const answer = async (message: Message): Promise<object> => {
    if ('load' in message) {
      const started = performance.now()
      running = await open(message.load as Load)
      return { loaded: { milliseconds: performance.now() - started, ...running.loaded } satisfies Loaded }
    }
    if ('memory' in message) return { memory: [residentMemory(), ...((await running?.others?.()) ?? [])] }
    if (!running) throw new Error('nothing is loaded')
    if ('turn' in message) return { turn: await running.turn(message.turn) }
    const { buffer, byteOffset, byteLength } = await running.output()
    return { output: Buffer.from(buffer, byteOffset, byteLength).toString('base64') }
  }
  await serveLines(answer, quiet)
}

const LOOK_MS = 5
const MOST_LOOKS = 60

/** Resolves when this process has stopped computing: threads that still spin would slow whoever is next. */
async function quiet(): Promise<void> {
  for (let look = 0; look < MOST_LOOKS; look++) {
    const before = process.cpuUsage()
    await new Promise(resolve => setTimeout(resolve, LOOK_MS))
    const { user, system } = process.cpuUsage(before)
    if (user + system < (1000 * LOOK_MS) / 5) return
  }
}

/** From Linux's own books; elsewhere the peak is the present use. Begins a new peak. */
export function residentMemory(): ResidentMemory {
  const bytes = process.memoryUsage().rss
  try {
    const kilobytes = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    writeFileSync('/proc/self/clear_refs', '5')
    return { bytes, peakBytes: Number(kilobytes) * 1024 }
  } catch {
    return { bytes, peakBytes: bytes }
  }
}

/** A contender that cannot take part here, and why: not an error. */
export class Unavailable extends Error {}

/** The other side: a process that runs a contender. */
export class Contender {
  readonly name: string
  readonly #process: LineProcess

  constructor(name: string, command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
    this.name = name
    this.#process = new LineProcess(name, command, args, environment)
  }

  /** Throws {@link Unavailable} where it cannot be loaded. */
  async load(load: object): Promise<Loaded> {
    try {
      const { loaded } = await this.#ask<{ loaded: Loaded }>({ load })
      return loaded
    } catch (error) {
      await this.end()
      throw new Unavailable((error as Error).message.replace(`${this.name}: `, ''))
    }
  }
  async output(): Promise<Float32Array> {
    const { output } = await this.#ask<{ output: string }>({ output: true })
    return new Float32Array(new Uint8Array(Buffer.from(output, 'base64')).buffer)
  }
  async turn(runs: number): Promise<Turn> {
    return (await this.#ask<{ turn: Turn }>({ turn: runs })).turn
  }
  /** Of the process and of those that it started, each since the last time. */
  async memory(): Promise<readonly ResidentMemory[]> {
    return (await this.#ask<{ memory: readonly ResidentMemory[] }>({ memory: true })).memory
  }
  /** Resolves when the process is gone. */
  end(): Promise<void> {
    return this.#process.end()
  }

  #ask<Reply>(message: Message): Promise<Reply> {
    return this.#process.ask<Reply>(message)
  }
}
