/**
 * How a kernel's call is cut into parts that threads compute side by side: into runs of rows, of columns (whole panels
 * of the packed matrix) and of a range such as heads, as the catalogue tells them apart. Rows are stable, columns and
 * heads independent, so the parts together have the bits of the whole call.
 */
import { type Buffer, catalogue, ELEMENT_BYTES, type Kernel, type KernelName, PANEL } from '@prismal/kernels/catalogue'

/** Parts of a call: `across` runs of columns or of a range, each in `down` runs of rows. */
export interface Grid {
  across: number
  down: number
  /** A part's rows are a multiple of this, but for the last part's. */
  rowUnit: number
}

/** What decides whether a call is cut, and how finely; nanoseconds of estimated work. */
export interface Grain {
  /** A call of less work than this is not cut. */
  readonly inlineNs: number
  /** A part has about this much work at least, … */
  readonly leastNs: number
  /** … and at most: a thread that does not answer for long after it is lost. */
  readonly mostNs: number
  /** Rows shorter than a cache line of so many bytes are cut where lines end: two threads do not write to one. */
  readonly lineBytes: number
}

export const GRAIN: Grain = { inlineNs: 30_000, leastNs: 12_000, mostNs: 20_000_000, lineBytes: 64 }

/** More parts than threads, so that a thread that is disturbed holds the others up for a part of its share only. */
const PARTS_PER_THREAD = 3
/** Most parts of a call: their numbers have 12 bits, of which the highest value says that a job is closed. */
export const MOST_PARTS = 4000

/** Rough speeds of one thread, per nanosecond: only how finely a call is cut depends on them. */
const FLOPS_PER_NS = 40
const BYTES_PER_NS = { streamed: 16, computed: 8 }

/** Rows that a matrix kernel's part has whole multiples of: those of its register tiles. */
const TILE_ROWS = 12
/** One row of A is multiplied by so many columns at a time. */
const WIDE_COLUMNS = 6 * PANEL

/** The place of a parameter that a kernel lacks. */
const NOWHERE = -1

/** A parameter, and its place among the arguments. */
interface PlacedBuffer {
  readonly at: number
  readonly buffer: Buffer
  readonly bytes: number
}
interface PlacedSize {
  readonly at: number
  readonly name: string
}

/** Cuts the calls of one kernel. Holds state of the call at hand, so each thread has its own. */
export class Split {
  /** How many arguments a call has. */
  readonly parameters: number
  /** The first row of the part made last. */
  rowFrom = 0
  readonly #kernel: Kernel
  readonly #rowsAt: number
  readonly #columnsAt: number
  readonly #fromAt: number
  readonly #toAt: number
  readonly #buffers: readonly PlacedBuffer[]
  readonly #sizesAt: readonly PlacedSize[]
  readonly #sizes: Record<string, number> = {}

  constructor(kernel: Kernel) {
    const indexOf = (name: string | undefined): number => kernel.parameters.findIndex(p => p.name === name)
    this.parameters = kernel.parameters.length
    this.#kernel = kernel
    this.#rowsAt = indexOf(kernel.rows)
    this.#columnsAt = indexOf(kernel.columns)
    this.#fromAt = indexOf(kernel.range?.[0])
    this.#toAt = indexOf(kernel.range?.[1])
    this.#buffers = kernel.parameters.flatMap((p, at) =>
      p.kind === 'buffer' ? [{ at, buffer: p, bytes: ELEMENT_BYTES[p.type] }] : [],
    )
    this.#sizesAt = kernel.parameters.flatMap((p, at) => (p.kind === 'size' ? [{ at, name: p.name }] : []))
  }

  /** Decides how a call with these arguments is cut for so many threads; a grid of one part: not at all. */
  plan(args: ArrayLike<number>, threads: number, grain: Grain, grid: Grid): void {
    grid.across = 1
    grid.down = 1
    grid.rowUnit = 1
    this.#read(args)
    const work = this.#workNs(args)
    if (!(work >= grain.inlineNs)) return
    const useful = Math.min(threads * PARTS_PER_THREAD, Math.floor(work / grain.leastNs))
    let parts = Math.max(Math.min(useful, MOST_PARTS), Math.min(MOST_PARTS, Math.ceil(work / grain.mostNs)))
    if (parts > threads) parts -= parts % threads
    if (parts < 2) return
    grid.rowUnit = this.#rowUnit(args, grain)
    const rowUnits = Math.floor(this.#rows(args) / grid.rowUnit)
    if (this.#fromAt !== NOWHERE) {
      // A part of one head packs as few keys as a part of many; parts of fewer rows pack the same keys again.
      const range = this.#at(args, this.#toAt) - this.#at(args, this.#fromAt)
      const most = Math.max(parts, Math.floor(work / grain.leastNs))
      grid.across = Math.max(1, Math.ceil(range / Math.ceil(range / Math.min(range, most))))
      const balanced = grid.across >= threads * PARTS_PER_THREAD || grid.across % threads === 0
      const wanted = balanced && parts <= threads * PARTS_PER_THREAD ? 1 : Math.ceil(parts / grid.across)
      grid.down = Math.max(1, Math.min(wanted, rowUnits))
    } else if (this.#columnsAt !== NOWHERE) {
      const units = Math.floor(this.#at(args, this.#columnsAt) / PANEL)
      grid.across = Math.max(1, Math.min(parts, units, threads * PARTS_PER_THREAD))
      grid.down = Math.max(1, Math.min(Math.ceil(parts / grid.across), rowUnits))
    } else grid.down = Math.max(1, Math.min(parts, rowUnits))
    if (grid.across * grid.down > MOST_PARTS) grid.down = Math.max(1, Math.floor(MOST_PARTS / grid.across))
  }

  /** The arguments of part `i` of a call, computed by thread number `thread`. */
  part(args: ArrayLike<number>, grid: Readonly<Grid>, i: number, thread: number, out: number[]): void {
    const { across, down, rowUnit } = grid
    this.#read(args)
    for (let p = 0; p < out.length; p++) out[p] = this.#at(args, p)
    const column = i % across
    const row = (i - column) / across
    let rowFrom = 0
    let columnFrom = 0
    if (down > 1) {
      const rows = this.#rows(args)
      rowFrom = cut(rows, rowUnit, down, row)
      out[this.#rowsAt] = cut(rows, rowUnit, down, row + 1) - rowFrom
    }
    if (across > 1 && this.#fromAt !== NOWHERE) {
      const from = this.#at(args, this.#fromAt)
      const range = this.#at(args, this.#toAt) - from
      out[this.#fromAt] = from + cut(range, 1, across, column)
      out[this.#toAt] = from + cut(range, 1, across, column + 1)
    } else if (across > 1) {
      const columns = this.#at(args, this.#columnsAt)
      const unit = columns >= 2 * across * WIDE_COLUMNS ? WIDE_COLUMNS : PANEL
      columnFrom = cut(columns, unit, across, column)
      out[this.#columnsAt] = cut(columns, unit, across, column + 1) - columnFrom
    }
    for (let b = 0; b < this.#buffers.length; b++) {
      const { at, buffer, bytes } = this.#buffers[b] as PlacedBuffer
      const address = out[at] as number
      if (buffer.optional && address === 0) continue
      let elements = 0
      if (buffer.use === 'scratch') elements = thread * buffer.length(this.#sizes)
      if (rowFrom > 0 && buffer.perRow) elements += rowFrom * buffer.perRow(this.#sizes)
      if (columnFrom > 0 && buffer.perColumn) elements += columnFrom * buffer.perColumn(this.#sizes)
      out[at] = address + elements * bytes
    }
    this.rowFrom = rowFrom
  }

  #workNs(args: ArrayLike<number>): number {
    const { flops } = this.#kernel
    const rows = this.#rows(args)
    let bytes = 0
    if (flops) {
      for (const { buffer, bytes: each } of this.#buffers)
        if (buffer.use === 'in' && !buffer.perRow) bytes += buffer.length(this.#sizes) * each
      return rows === 0 ? 0 : Math.max(flops(this.#sizes) / FLOPS_PER_NS, bytes / BYTES_PER_NS.streamed)
    }
    for (const { buffer, bytes: each } of this.#buffers) {
      if (this.#rowsAt !== NOWHERE) bytes += rows * (buffer.perRow?.(this.#sizes) ?? 0) * each
      else if (buffer.perColumn) bytes += buffer.length(this.#sizes) * each
    }
    return bytes / BYTES_PER_NS.computed
  }

  #rows(args: ArrayLike<number>): number {
    return this.#rowsAt === NOWHERE ? 1 : this.#at(args, this.#rowsAt)
  }

  #rowUnit(args: ArrayLike<number>, grain: Grain): number {
    if (this.#columnsAt !== NOWHERE || this.#fromAt !== NOWHERE)
      return this.#rows(args) < TILE_ROWS ? Math.max(1, this.#rows(args)) : TILE_ROWS
    let widest = 1
    for (const { buffer, bytes } of this.#buffers)
      if (buffer.use !== 'in') widest = Math.max(widest, (buffer.perRow?.(this.#sizes) ?? 0) * bytes)
    return Math.ceil(grain.lineBytes / widest)
  }

  #read(args: ArrayLike<number>): void {
    for (let s = 0; s < this.#sizesAt.length; s++) {
      const { at, name } = this.#sizesAt[s] as PlacedSize
      this.#sizes[name] = this.#at(args, at)
    }
  }

  #at(args: ArrayLike<number>, at: number): number {
    return args[at] as number
  }
}

/** Where part `i` of `parts` of `length` begins, at a multiple of `unit`; the last part ends at `length`. */
const cut = (length: number, unit: number, parts: number, i: number): number =>
  i === parts ? length : Math.floor((i * Math.floor(length / unit)) / parts) * unit

/** A split for each kernel that can be cut, by the kernel's place in `names`. */
export const splitsOf = (names: readonly KernelName[]): readonly (Split | undefined)[] =>
  names.map(name => {
    const kernel: Kernel = catalogue[name]
    return kernel.rows === '' && !kernel.columns ? undefined : new Split(kernel)
  })
