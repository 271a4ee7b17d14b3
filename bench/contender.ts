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
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

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
  for await (const line of createInterface({ input: process.stdin })) {
    const reply = await answer(JSON.parse(line)).catch((error: Error) => ({ error: error.message }))
    await quiet()
    process.stdout.write(`${JSON.stringify(reply)}\n`)
  }
  process.exit(0)
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
  readonly #process: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #complaints: string[] = []

  constructor(name: string, command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
    this.name = name
    const env = { ...process.env, ...environment }
    this.#process = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env })
    this.#process.on('error', error => this.#complaints.push(error.message))
    this.#process.stdin?.on('error', () => {}) // of a process that is gone: its end tells
    this.#process.stderr?.on('data', data => this.#complaints.push(String(data)))
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]()
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
  async end(): Promise<void> {
    const { exitCode, signalCode, pid } = this.#process
    if (exitCode !== null || signalCode !== null || pid === undefined) return
    const ended = new Promise(resolve => this.#process.once('exit', resolve))
    this.#process.stdin?.end()
    await ended
  }

  async #ask<Reply>(message: Message): Promise<Reply> {
    this.#process.stdin?.write(`${JSON.stringify(message)}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error(`${this.name} ended: ${lastWords(this.#complaints.join(''))}`)
    const reply = JSON.parse(value as string) as Reply | { error: string }
    if (typeof reply === 'object' && reply !== null && 'error' in reply)
      throw new Error(`${this.name}: ${(reply as { error: string }).error}`)
    return reply as Reply
  }
}

/** The line that names an error, which a stack trace follows or precedes; else the last lines. */
function lastWords(text: string): string {
  const lines = text.trim().split('\n')
  return lines.findLast(line => /^\w*Error\b/.test(line)) ?? (lines.slice(-3).join(' | ') || 'without a word')
}
