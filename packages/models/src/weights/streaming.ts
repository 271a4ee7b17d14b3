/**
 * Streams stored tensors from their files into the engine's memory, in the order in which they lie there:
 *
 *     file → chunk → staging: bytes → f32 → whole rows → receivers (a tensor's memory, a matrix's panels)
 *
 * What is held beside the weights is the staging memory and the file's chunks, a few MB whatever the tensors' sizes.
 */
import { fromBf16, fromF16, fromI8, PANEL, type Scope, type Tensor } from '@prismal/tensor'
import { CHUNK_BYTES, chunksOf, type ModelFiles } from '../files.js'
import { sha256 } from '../sha256.js'
import type { StoredTensor } from './safetensors.js'

/** Takes the values of a stored tensor as they come. */
export interface Receiver {
  /** Values of a row; rows come whole. */
  readonly width: number
  begin?(): void
  /** f32 rows [count, width] from `first` on. Their memory is used again afterwards. */
  add(rows: Tensor, first: number): void
  end?(): void
}

/** A stored tensor, and who wants its values. */
export interface Job {
  readonly entry: StoredTensor
  readonly receivers: Receiver[]
}

/** How far loading is: bytes of the weights' files that the model uses. */
export interface LoadProgress {
  readonly loadedBytes: number
  readonly totalBytes: number
  /** The file that is being read. */
  readonly file: string
}

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((progress: LoadProgress) => void) | undefined
}

/** f32 values that are staged at a time: small enough to stay in a core's cache between two steps. */
const STAGED_VALUES = 1 << 18
/** Bytes that are rather read and dropped than jumped over. */
const SMALL_GAP_BYTES = 1 << 18
/** First and last bytes of each tensor that the digest covers. */
const END_BYTES = 64

/** Bytes of a value, for the dtypes that weights may have. */
const BYTES: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2, I8: 1 }
const isRead = (dtype: string): boolean => Object.hasOwn(BYTES, dtype)
export const isFloat = (dtype: string): boolean => isRead(dtype) && dtype !== 'I8'
const valuesOf = (entry: StoredTensor): number => entry.shape.reduce((a, b) => a * b, 1)
const widthOf = (job: Job): number => Math.max(1, ...job.receivers.map(r => r.width))

/** Memory that chunks pass through: as stored, where that is 16 or 8 bits, and as f32. */
export class Staging {
  readonly #scope: Scope
  #floats: Tensor
  #halves: Tensor | undefined
  #codes: Tensor | undefined

  /** Room for the largest of these tensors, up to 1 MB of f32. Throws `MemoryError`. */
  constructor(scope: Scope, jobs: readonly Job[]) {
    this.#scope = scope
    const most = (of: readonly Job[]): number =>
      Math.min(
        STAGED_VALUES,
        of.reduce((most, { entry }) => Math.max(most, valuesOf(entry)), 0),
      )
    const stored = jobs.filter(({ entry }) => isRead(entry.dtype))
    const [halves, codes] = [2, 1].map(bytes => most(stored.filter(({ entry }) => BYTES[entry.dtype] === bytes)))
    this.#floats = scope.empty([most(stored), 1])
    this.#halves = halves ? scope.empty([halves, 1], 'f16') : undefined
    this.#codes = codes ? scope.empty([codes, 1], 'i8') : undefined
  }

  /** Whether memory is only counted. */
  get rehearses(): boolean {
    return this.#scope.engine.rehearses
  }
  get values(): number {
    return this.#floats.size
  }
  /** Where a tensor of this dtype is staged. */
  area(dtype: string): Tensor {
    return (BYTES[dtype] === 2 && this.#halves) || (BYTES[dtype] === 1 && this.#codes) || this.#floats
  }
  /** Staged values as f32 [rows, width]. */
  rows(dtype: string, rows: number, width: number): Tensor {
    const floats = this.#floats.slice(0, rows * width)
    if (this.#halves && BYTES[dtype] === 2) {
      const halves = this.#halves.slice(0, rows * width)
      if (dtype === 'F16') fromF16(this.#scope, halves, floats)
      else fromBf16(this.#scope, halves, floats)
    }
    if (this.#codes && BYTES[dtype] === 1) fromI8(this.#scope, this.#codes.slice(0, rows * width), floats)
    return floats.reshape([rows, width])
  }
  /** Makes room where rows are so wide that a panel's worth of them does not fit. */
  widen(jobs: readonly Job[]): void {
    const values = jobs.reduce((most, job) => {
      const width = widthOf(job)
      return Math.max(most, Math.min(valuesOf(job.entry), width * PANEL))
    }, 0)
    if (values <= this.values) return
    this.dispose()
    this.#floats = this.#scope.empty([values, 1])
    if (this.#halves) this.#halves = this.#scope.empty([values, 1], 'f16')
    if (this.#codes) this.#codes = this.#scope.empty([values, 1], 'i8')
  }
  dispose(): void {
    this.#floats.dispose()
    this.#halves?.dispose()
    this.#codes?.dispose()
  }
}

/** The first and last bytes of a stored tensor. */
export class Ends {
  readonly head: Uint8Array
  readonly tail: Uint8Array
  readonly #entry: StoredTensor
  constructor(entry: StoredTensor) {
    this.#entry = entry
    this.head = new Uint8Array(Math.min(END_BYTES, entry.end - entry.begin))
    this.tail = new Uint8Array(this.head.length)
  }
  /** Keeps what of the file's bytes from `at` on belongs to the ends. */
  see(bytes: Uint8Array, at: number): void {
    const { begin, end } = this.#entry
    keep(this.head, begin, bytes, at)
    keep(this.tail, end - this.tail.length, bytes, at)
  }
}

function keep(to: Uint8Array, begin: number, bytes: Uint8Array, at: number): void {
  const from = Math.max(begin, at)
  const until = Math.min(begin + to.length, at + bytes.length)
  if (from < until) to.set(bytes.subarray(from - at, until - at), from - begin)
}

/** Hands the rows of one tensor on, staging by staging. */
class Delivery {
  readonly #job: Job
  readonly #staging: Staging
  readonly #width: number
  /** Bytes that fill the staging with whole rows, panels of them where they fit. */
  readonly #fullBytes: number
  #stagedBytes = 0
  #row = 0

  constructor(job: Job, staging: Staging) {
    this.#job = job
    this.#staging = staging
    this.#width = widthOf(job)
    const most = Math.floor(staging.area(job.entry.dtype).size / this.#width)
    const rows = most < PANEL ? most : most - (most % PANEL)
    this.#fullBytes = rows * this.#width * (BYTES[job.entry.dtype] ?? 0)
    for (const receiver of job.receivers) receiver.begin?.()
  }

  take(bytes: Uint8Array): void {
    while (bytes.length > 0) {
      const part = bytes.subarray(0, this.#fullBytes - this.#stagedBytes)
      const { engine, address } = this.#staging.area(this.#job.entry.dtype)
      new Uint8Array(engine.memory.buffer, address + this.#stagedBytes, part.length).set(part)
      this.#stagedBytes += part.length
      bytes = bytes.subarray(part.length)
      if (this.#stagedBytes === this.#fullBytes) this.#handOn()
    }
  }
  /** All of it, without any bytes. */
  rehearse(): void {
    const { begin, end } = this.#job.entry
    for (let at = begin; at < end; at += this.#fullBytes) {
      this.#stagedBytes = Math.min(end - at, this.#fullBytes)
      this.#handOn()
    }
    this.end()
  }
  end(): void {
    this.#handOn()
    for (const receiver of this.#job.receivers) receiver.end?.()
  }

  #handOn(): void {
    const { entry, receivers } = this.#job
    const count = this.#stagedBytes / (this.#width * (BYTES[entry.dtype] ?? 1))
    if (count === 0) return
    const rows = this.#staging.rows(entry.dtype, count, this.#width)
    for (const receiver of receivers) receiver.add(rows, this.#row)
    this.#row += count
    this.#stagedBytes = 0
  }
}

/** Bytes [begin, end) of a file that somebody wants. */
interface Window {
  readonly job: Job
  readonly begin: number
  readonly end: number
}

/**
 * Gives all receivers their values and returns the ends of every tensor. Each file is read forwards once; what nobody
 * asked for is left out but for its ends. Throws `ModelError` where a file ends early, and the signal's reason.
 */
export async function readJobs(
  files: ModelFiles,
  jobs: readonly Job[],
  staging: Staging,
  { signal, progress }: ReadOptions,
): Promise<ReadonlyMap<StoredTensor, Ends>> {
  const ends = new Map(jobs.map(({ entry }) => [entry, new Ends(entry)]))
  const wanted = jobs.filter(job => job.receivers.length > 0)
  const totalBytes = wanted.reduce((sum, { entry }) => sum + entry.end - entry.begin, 0)
  let [loadedBytes, toldBytes] = [0, 0]
  staging.widen(wanted)
  if (staging.rehearses) {
    for (const { job } of runsOf(wanted).flatMap(([, run]) => run)) new Delivery(job, staging).rehearse()
    return ends
  }
  for (const job of wanted) if (job.entry.end === job.entry.begin) new Delivery(job, staging).end()
  for (const [file, run] of runsOf(jobs)) {
    const [first, last] = [run[0] as Window, run[run.length - 1] as Window]
    let at = first.begin
    let i = 0
    let delivery: Delivery | undefined
    for await (const chunk of chunksOf(files, file, first.begin, last.end, signal)) {
      const until = at + chunk.length
      for (let window = run[i]; window && window.begin < until; window = run[i]) {
        const from = Math.max(at, window.begin)
        const bytes = chunk.subarray(from - at, window.end - at)
        const { job } = window
        ends.get(job.entry)?.see(bytes, from)
        if (job.receivers.length > 0) {
          delivery ??= new Delivery(job, staging)
          delivery.take(bytes)
          loadedBytes += bytes.length
        }
        if (window.end > until) break
        delivery?.end()
        delivery = undefined
        i++
      }
      at = until
      if (loadedBytes - toldBytes >= CHUNK_BYTES || (loadedBytes === totalBytes && toldBytes < totalBytes)) {
        toldBytes = loadedBytes
        progress?.({ loadedBytes, totalBytes, file })
      }
    }
  }
  return ends
}

/** What is to be read of each file, in order, cut where much lies between that nobody wants. */
function runsOf(jobs: readonly Job[]): (readonly [file: string, run: Window[]])[] {
  const byFile = new Map<string, Window[]>()
  for (const job of jobs) {
    const { file, begin, end } = job.entry
    const windows = byFile.get(file) ?? []
    byFile.set(file, windows)
    if (end === begin) continue
    if (job.receivers.length > 0 || end - begin <= SMALL_GAP_BYTES) windows.push({ job, begin, end })
    else windows.push({ job, begin, end: begin + END_BYTES }, { job, begin: end - END_BYTES, end })
  }
  return [...byFile].flatMap(([file, windows]) => {
    const runs: Window[][] = []
    for (const window of windows.sort((a, b) => a.begin - b.begin)) {
      const before = runs[runs.length - 1]
      const last = before?.[before.length - 1]
      if (before && last && window.begin - last.end <= SMALL_GAP_BYTES) before.push(window)
      else runs.push([window])
    }
    return runs.map(run => [file, run] as const)
  })
}

/** SHA-256 over the configuration and each tensor's name, dtype, shape and ends, as hex. */
export async function digestOf(
  config: unknown,
  tensors: readonly (readonly [name: string, entry: StoredTensor])[],
  ends: ReadonlyMap<StoredTensor, Ends>,
): Promise<string> {
  const lines = [JSON.stringify(config)]
  for (const [name, entry] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const { head, tail } = ends.get(entry) ?? new Ends(entry)
    lines.push(`${name} ${entry.dtype} [${entry.shape}] ${head.join()} ${tail.join()}`)
  }
  return sha256(new TextEncoder().encode(lines.join('\n')))
}
