/** What a catalogue entry is made of: sizes, buffers and the layouts that kernels share. */

export type Sizes = Readonly<Record<string, number>>
export type ElementType = 'f32' | 'f16' | 'bf16' | 'i32' | 'i8' | 'u8'
export const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = { f32: 4, i32: 4, f16: 2, bf16: 2, i8: 1, u8: 1 }
/** How a test or benchmark fills a buffer; `default` is normally distributed around 0 with variance 1. */
export type Fill =
  | 'default'
  | { kind: 'variance'; of: (s: Sizes) => number }
  | 'positive'
  | { kind: 'indices'; below: (s: Sizes) => number }
  | { kind: 'runs'; of: (s: Sizes) => number; count: (s: Sizes) => number }
  | 'log-counts'
  | { kind: 'visible'; below: (s: Sizes) => number }
  | 'zero'
  | 'finite'
  /** Pairs: a scale, and a whole number from 0 to 255. */
  | 'quanta'

export interface Buffer {
  readonly kind: 'buffer'
  readonly name: string
  readonly type: ElementType
  readonly use: 'in' | 'out' | 'inout' | 'scratch'
  /** Elements. */
  readonly length: (s: Sizes) => number
  /** Elements that belong to one row of the kernel's row dimension; 0 or absent: shared by all rows. */
  readonly perRow?: (s: Sizes) => number
  /** Elements from one column of the kernel's column dimension to the next; 0 or absent: shared by all columns. */
  readonly perColumn?: (s: Sizes) => number
  readonly optional?: true
  readonly fill?: Fill
}
export interface Size {
  readonly kind: 'size'
  readonly name: string
  /** Sizes at and around the kernel's tile, which tests choose from besides random ones up to `most`. */
  readonly edges: readonly number[]
  readonly most: number
  /** Where a size follows from others: its value, or, of a stride, the least that it can be. */
  readonly derived?: (s: Sizes) => number
  /** A derived size that is never larger. */
  readonly isExact?: true
}
export interface Real {
  readonly kind: 'real'
  readonly name: string
  readonly values: readonly number[]
}
export type Parameter = Buffer | Size | Real

/** What a kernel computes stands above its entry, and why its tolerance is what it is beside that: code carries neither. */
export interface Kernel {
  readonly parameters: readonly Parameter[]
  /** The size that counts rows: a row's bits must not depend on it. */
  readonly rows: string
  /** The size that counts columns, where a call may be cut between panels of {@link PANEL} columns too. */
  readonly columns?: string
  /** The sizes that name a range [from, to), where a call may be cut into smaller ranges. */
  readonly range?: readonly [from: string, to: string]
  /**
   * Largest `max|got − want| / scale` against the reference backend. The scale is the largest |want|
   * or, where terms cancel, the largest |output| of the reference for the absolute values of the inputs.
   */
  readonly tolerance: number
  /** Floating-point operations (a multiply-add is two); absent where bytes are what counts. */
  readonly flops?: (s: Sizes) => number
  /** What the operations are on; default f32. */
  readonly arithmetic?: 'int8'
}

/** Columns of a packed panel: B is stored as `[⌈n/8⌉][k][8]`, the last panel padded with zeros. */
export const PANEL = 8
/** Keys that block-wise attention folds at a time, counted from the start of a key block. */
export const KEY_CHUNK = 128
/** Query rows that block-wise attention scores at a time, at most; only its scratch depends on it. */
export const QUERY_TILE = 6

/** Elements of an n-column, k-row matrix once packed. */
export const packedLength = (k: number, n: number): number => Math.ceil(n / PANEL) * PANEL * k
/** Elements of k once padded for products of 8-bit codes, four of which are summed at a time. */
export const paddedK = (k: number): number => Math.ceil(k / 4) * 4
/** Columns once padded to whole panels. */
export const paddedN = (n: number): number => Math.ceil(n / PANEL) * PANEL
/** Scratch elements of `attentionFold`: a chunk's keys and values as panels, its gains, one tile of scores. */
export const attentionScratch = (d: number): number =>
  KEY_CHUNK * d + packedLength(KEY_CHUNK, d) + KEY_CHUNK + QUERY_TILE * KEY_CHUNK + 8

/** Activations by the number kernels know them by. */
export const ACTIVATIONS = ['none', 'gelu', 'gelu-tanh', 'relu', 'tanh'] as const
export type Activation = (typeof ACTIVATIONS)[number]

export const buffer = (
  name: string,
  type: ElementType,
  use: Buffer['use'],
  length: Buffer['length'],
  more: Partial<Pick<Buffer, 'perRow' | 'perColumn' | 'optional' | 'fill'>> = {},
): Buffer => ({ kind: 'buffer', name, type, use, length, ...more })
export const size = (name: string, edges: readonly number[], most: number): Size => ({
  kind: 'size',
  name,
  edges,
  most,
})
export const derived = (name: string, value: (s: Sizes) => number): Size => ({
  kind: 'size',
  name,
  edges: [],
  most: 0,
  derived: value,
})
export const exactly = (name: string, value: (s: Sizes) => number): Size => ({ ...derived(name, value), isExact: true })
export const real = (name: string, ...values: number[]): Real => ({ kind: 'real', name, values })
export const at = (s: Sizes, name: string): number => {
  const value = s[name]
  if (value === undefined) throw new Error(`catalogue: no size named ${name}`)
  return value
}

export const ROWS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13]
export const COLUMNS = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33]
export const INNER = [1, 2, 3, 4, 5, 7, 8, 9, 64, 65]
export const WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 15, 16, 17, 64, 100]

/** A kernel from x to out, element by element. */
export const elementwise = (tolerance: number): Kernel => ({
  parameters: [
    buffer('x', 'f32', 'in', s => at(s, 'count'), { perRow: () => 1 }),
    buffer('out', 'f32', 'out', s => at(s, 'count'), { perRow: () => 1 }),
    size('count', [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17], 300),
  ],
  rows: 'count',
  tolerance,
})
