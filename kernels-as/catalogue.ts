/**
 * The kernels: one entry each, from which the bindings, the property tests and the benchmarks come.
 *
 * A kernel works on byte offsets into one linear memory. Its parameters are numbers: an `address` (bytes, 0 where an
 * optional buffer is absent), a `size` (a count of elements, rows, …), or a `real`. Every backend implements every
 * entry with this signature, so that an entry cannot exist untested.
 *
 * Shape letters: m rows, n columns, k inner width (as BLAS has them); H heads of width d.
 */

export type Sizes = Readonly<Record<string, number>>
export type ElementType = 'f32' | 'f16' | 'bf16' | 'i32' | 'i8'
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

export interface Kernel {
  /** What it computes, in one sentence with shapes. */
  readonly does: string
  readonly parameters: readonly Parameter[]
  /** The size that counts rows: a row's bits must not depend on it. */
  readonly rows: string
  /** The size that counts columns, where a call may be cut between panels of {@link PANEL} columns too. */
  readonly columns?: string
  /** The sizes that name a range [from, to), where a call may be cut into smaller ranges. */
  readonly range?: readonly [from: string, to: string]
  /**
   * Largest `max|got − want| / scale` against the reference backend, and why that much. The scale is the largest |want|
   * or, where terms cancel, the largest |output| of the reference for the absolute values of the inputs.
   */
  readonly tolerance: number
  readonly because: string
  /** Floating-point operations (a multiply-add is two); absent where bytes are what counts. */
  readonly flops?: (s: Sizes) => number
}

/** Columns of a packed panel: B is stored as `[⌈n/8⌉][k][8]`, the last panel padded with zeros. */
export const PANEL = 8
/** Keys that block-wise attention folds at a time, counted from the start of a key block. */
export const KEY_CHUNK = 128
/** Query rows that block-wise attention scores at a time, at most; only its scratch depends on it. */
export const QUERY_TILE = 6

/** Elements of an n-column, k-row matrix once packed. */
export const packedLength = (k: number, n: number): number => Math.ceil(n / PANEL) * PANEL * k
/** Scratch elements of `attentionFold`: a chunk's keys and values as panels, its gains, one tile of scores. */
export const attentionScratch = (d: number): number =>
  KEY_CHUNK * d + packedLength(KEY_CHUNK, d) + KEY_CHUNK + QUERY_TILE * KEY_CHUNK + 8

/** Activations by the number kernels know them by. */
export const ACTIVATIONS = ['none', 'gelu', 'gelu-tanh', 'relu', 'tanh'] as const
export type Activation = (typeof ACTIVATIONS)[number]

const buffer = (
  name: string,
  type: ElementType,
  use: Buffer['use'],
  length: Buffer['length'],
  more: Partial<Pick<Buffer, 'perRow' | 'perColumn' | 'optional' | 'fill'>> = {},
): Buffer => ({ kind: 'buffer', name, type, use, length, ...more })
const size = (name: string, edges: readonly number[], most: number): Size => ({ kind: 'size', name, edges, most })
const derived = (name: string, value: (s: Sizes) => number): Size => ({
  kind: 'size',
  name,
  edges: [],
  most: 0,
  derived: value,
})
const exactly = (name: string, value: (s: Sizes) => number): Size => ({ ...derived(name, value), isExact: true })
const real = (name: string, ...values: number[]): Real => ({ kind: 'real', name, values })
const at = (s: Sizes, name: string): number => {
  const value = s[name]
  if (value === undefined) throw new Error(`catalogue: no size named ${name}`)
  return value
}

const ROWS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13]
const COLUMNS = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33]
const INNER = [1, 2, 3, 4, 5, 7, 8, 9, 64, 65]
const WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 15, 16, 17, 64, 100]

const elementwise = (does: string, tolerance: number, because: string): Kernel => ({
  does,
  parameters: [
    buffer('x', 'f32', 'in', s => at(s, 'count'), { perRow: () => 1 }),
    buffer('out', 'f32', 'out', s => at(s, 'count'), { perRow: () => 1 }),
    size('count', [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17], 300),
  ],
  rows: 'count',
  tolerance,
  because,
})

export const catalogue = {
  packPanels: {
    does: 'Packs B [k, n], whose element (p, j) lies at p·rowStride + j·columnStride, into panels [⌈n/8⌉][k][8] that begin panelStride apart.',
    parameters: [
      buffer(
        'b',
        'f32',
        'in',
        s => (at(s, 'k') - 1) * at(s, 'rowStride') + (at(s, 'n') - 1) * at(s, 'columnStride') + 1,
        { perColumn: s => at(s, 'columnStride') },
      ),
      buffer(
        'packed',
        'f32',
        'out',
        s => (Math.ceil(at(s, 'n') / PANEL) - 1) * at(s, 'panelStride') + PANEL * at(s, 'k'),
        { perColumn: s => at(s, 'panelStride') / PANEL },
      ),
      size('k', INNER, 130),
      size('n', COLUMNS, 100),
      derived('rowStride', s => at(s, 'n')),
      exactly('columnStride', () => 1),
      derived('panelStride', s => PANEL * at(s, 'k')),
    ],
    rows: '',
    columns: 'n',
    tolerance: 0,
    because: 'values are only moved',
  },
  gemm: {
    does: 'C [m, n] = activation(A [m, k] · B [k, n] + bias [n]) + residual [m, n], B packed in panels.',
    parameters: [
      buffer('a', 'f32', 'in', s => at(s, 'm') * at(s, 'aStride'), { perRow: s => at(s, 'aStride') }),
      derived('aStride', s => at(s, 'k')),
      buffer('packed', 'f32', 'in', s => packedLength(at(s, 'k'), at(s, 'n')), {
        perColumn: s => at(s, 'k'),
        fill: { kind: 'variance', of: s => 1 / at(s, 'k') },
      }),
      buffer('bias', 'f32', 'in', s => at(s, 'n'), { optional: true, perColumn: () => 1 }),
      buffer('residual', 'f32', 'in', s => at(s, 'm') * at(s, 'residualStride'), {
        optional: true,
        perRow: s => at(s, 'residualStride'),
        perColumn: () => 1,
      }),
      derived('residualStride', s => at(s, 'n')),
      buffer('c', 'f32', 'out', s => at(s, 'm') * at(s, 'cStride'), {
        perRow: s => at(s, 'cStride'),
        perColumn: () => 1,
      }),
      derived('cStride', s => at(s, 'n')),
      size('m', ROWS, 40),
      size('n', COLUMNS, 100),
      size('k', INNER, 400),
      size('activation', [0, 1, 2, 3, 4], 4),
    ],
    rows: 'm',
    columns: 'n',
    tolerance: 1e-6,
    because: 'k products are summed in f32, in eight parts that are then added',
    flops: s => 2 * at(s, 'm') * at(s, 'n') * at(s, 'k'),
  },
  attentionBegin: {
    does: 'Clears the running state of n query rows: (maximum, sum) [n, H, 2] and weighted values [n, H·d].',
    parameters: [
      buffer('state', 'f32', 'out', s => at(s, 'n') * at(s, 'H') * 2, { perRow: s => at(s, 'H') * 2 }),
      buffer('weighted', 'f32', 'out', s => at(s, 'n') * at(s, 'H') * at(s, 'd'), {
        perRow: s => at(s, 'H') * at(s, 'd'),
      }),
      size('n', ROWS, 40),
      size('H', [1, 2, 3, 12], 12),
      size('d', WIDTHS, 130),
    ],
    rows: 'n',
    tolerance: 0,
    because: 'constants are stored',
  },
  attentionFold: {
    does:
      'Folds m keys and values into the running state of n query rows, for the heads [headFrom, headTo): query i sees ' +
      'the first visible[i] keys (all where absent), key j weighs exp(q·k·scale + logGain[j]).',
    parameters: [
      buffer('q', 'f32', 'in', s => at(s, 'n') * at(s, 'qStride'), {
        perRow: s => at(s, 'qStride'),
        fill: { kind: 'variance', of: s => 9 / at(s, 'd') },
      }),
      derived('qStride', s => at(s, 'H') * at(s, 'd')),
      buffer('keys', 'f32', 'in', s => at(s, 'm') * at(s, 'kStride')),
      derived('kStride', s => at(s, 'H') * at(s, 'd')),
      buffer('values', 'f32', 'in', s => at(s, 'm') * at(s, 'vStride')),
      derived('vStride', s => at(s, 'H') * at(s, 'd')),
      buffer('logGain', 'f32', 'in', s => at(s, 'm'), { optional: true, fill: 'log-counts' }),
      buffer('visible', 'i32', 'in', s => at(s, 'n'), {
        optional: true,
        perRow: () => 1,
        fill: { kind: 'visible', below: s => at(s, 'm') },
      }),
      buffer('state', 'f32', 'inout', s => at(s, 'n') * at(s, 'H') * 2, {
        perRow: s => at(s, 'H') * 2,
        fill: 'positive',
      }),
      buffer('weighted', 'f32', 'inout', s => at(s, 'n') * at(s, 'H') * at(s, 'd'), {
        perRow: s => at(s, 'H') * at(s, 'd'),
      }),
      buffer('scratch', 'f32', 'scratch', s => attentionScratch(at(s, 'd'))),
      size('n', ROWS, 30),
      size('m', [0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 127, 128, 129], 150),
      size('H', [1, 2, 3], 4),
      size('d', WIDTHS, 70),
      real('scale', 0.125, 1, 0.5),
      exactly('headFrom', () => 0),
      exactly('headTo', s => at(s, 'H')),
    ],
    rows: 'n',
    range: ['headFrom', 'headTo'],
    tolerance: 4e-6,
    because: 'scores are f32 dot products over d, which exp magnifies; weights are summed in f32 over m keys',
    flops: s => 4 * at(s, 'n') * at(s, 'm') * at(s, 'H') * at(s, 'd'),
  },
  attentionEnd: {
    does: 'out [n, H·d] = weighted values / sum, zeros for a row that saw no key.',
    parameters: [
      buffer('state', 'f32', 'in', s => at(s, 'n') * at(s, 'H') * 2, {
        perRow: s => at(s, 'H') * 2,
        fill: 'positive',
      }),
      buffer('weighted', 'f32', 'in', s => at(s, 'n') * at(s, 'H') * at(s, 'd'), {
        perRow: s => at(s, 'H') * at(s, 'd'),
      }),
      buffer('out', 'f32', 'out', s => at(s, 'n') * at(s, 'H') * at(s, 'd'), { perRow: s => at(s, 'H') * at(s, 'd') }),
      size('n', ROWS, 40),
      size('H', [1, 2, 3, 12], 12),
      size('d', WIDTHS, 130),
    ],
    rows: 'n',
    tolerance: 3e-7,
    because: 'one division, or a reciprocal and a product',
  },
  segmentMeans: {
    does: 'out [r, width] = column means of the runs [from, to) of rows of x; runs need not be even (PRISM, eq. of Z_p).',
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'm') * at(s, 'width')),
      buffer('runs', 'i32', 'in', s => 2 * at(s, 'r'), {
        perRow: () => 2,
        fill: { kind: 'runs', of: s => at(s, 'm'), count: s => at(s, 'r') },
      }),
      buffer('out', 'f32', 'out', s => at(s, 'r') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      size('m', [1, 2, 3, 4, 5, 8, 17], 100),
      size('r', [0, 1, 2, 3, 4, 5], 20),
      size('width', WIDTHS, 130),
    ],
    rows: 'r',
    tolerance: 5e-7,
    because: 'the rows of a run are summed in f32',
  },
  layerNorm: {
    does: 'out [m, width] = (x − mean) / √(variance + eps) · gain + bias, row by row (biased variance).',
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      buffer('gain', 'f32', 'in', s => at(s, 'width')),
      buffer('bias', 'f32', 'in', s => at(s, 'width')),
      buffer('out', 'f32', 'out', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      size('m', ROWS, 40),
      size('width', WIDTHS, 300),
      real('eps', 1e-12, 1e-6, 1e-5),
    ],
    rows: 'm',
    tolerance: 1e-6,
    because:
      'f32 sums over the width; two-pass, and the rounding of the mean is taken out, so an offset does not cancel',
  },
  softmax: {
    does: 'out [m, width] = exp(x − max) / sum, row by row.',
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      buffer('out', 'f32', 'out', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      size('m', ROWS, 40),
      size('width', WIDTHS, 300),
    ],
    rows: 'm',
    tolerance: 6e-7,
    because: 'polynomial exp within 2 ulp, f32 sum over the width',
  },
  gelu: elementwise(
    'out = x·Φ(x), the erf form of GELU.',
    6e-7,
    'Φ by Abramowitz & Stegun 7.1.26, |error| ≤ 0.75e-7, whose alternating coefficients f32 rounds; polynomial exp',
  ),
  geluTanh: elementwise(
    'out = x / (1 + exp(−2u)), u = √(2/π)(x + 0.044715 x³): the tanh form of GELU.',
    3e-7,
    'polynomial exp within 2 ulp and one division',
  ),
  tanh: elementwise('out = tanh(x).', 3e-7, 'odd polynomial near 0, exp elsewhere'),
  relu: elementwise('out = max(x, 0).', 0, 'values are only selected'),
  add: {
    does: 'out = x + y.',
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'count'), { perRow: () => 1 }),
      buffer('y', 'f32', 'in', s => at(s, 'count'), { perRow: () => 1 }),
      buffer('out', 'f32', 'out', s => at(s, 'count'), { perRow: () => 1 }),
      size('count', [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17], 300),
    ],
    rows: 'count',
    tolerance: 0,
    because: 'one rounding, the same everywhere',
  },
  gather: {
    does: 'out [m, width] = table [t, width] at the rows named by ids.',
    parameters: [
      buffer('table', 'f32', 'in', s => at(s, 't') * at(s, 'width')),
      buffer('ids', 'i32', 'in', s => at(s, 'm'), {
        perRow: () => 1,
        fill: { kind: 'indices', below: s => at(s, 't') },
      }),
      buffer('out', 'f32', 'out', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      size('t', [1, 2, 9], 50),
      size('m', ROWS, 40),
      size('width', WIDTHS, 130),
    ],
    rows: 'm',
    tolerance: 0,
    because: 'values are only moved',
  },
  gatherPacked: {
    does: 'out [m, k] = the columns named by ids of B [k, n] packed in panels: an embedding table that is also the tied output matrix.',
    parameters: [
      buffer('packed', 'f32', 'in', s => packedLength(at(s, 'k'), at(s, 'n'))),
      buffer('ids', 'i32', 'in', s => at(s, 'm'), {
        perRow: () => 1,
        fill: { kind: 'indices', below: s => at(s, 'n') },
      }),
      buffer('out', 'f32', 'out', s => at(s, 'm') * at(s, 'k'), { perRow: s => at(s, 'k') }),
      size('m', ROWS, 40),
      size('n', COLUMNS, 100),
      size('k', INNER, 130),
    ],
    rows: 'm',
    tolerance: 0,
    because: 'values are only moved',
  },
  transpose: {
    does: 'out [n, m] = x [m, n] transposed.',
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'm') * at(s, 'n')),
      buffer('out', 'f32', 'out', s => at(s, 'm') * at(s, 'n')),
      size('m', ROWS, 40),
      size('n', COLUMNS, 100),
    ],
    rows: '',
    tolerance: 0,
    because: 'values are only moved',
  },
  f16ToF32: {
    does: 'out (f32) = x (IEEE binary16), exactly; subnormals, infinities and NaN included.',
    parameters: [
      buffer('x', 'f16', 'in', s => at(s, 'count'), { perRow: () => 1 }),
      buffer('out', 'f32', 'out', s => at(s, 'count'), { perRow: () => 1 }),
      size('count', [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17], 300),
    ],
    rows: 'count',
    tolerance: 0,
    because: 'every f16 value is an f32 value',
  },
  bf16ToF32: {
    does: 'out (f32) = x (bfloat16), exactly.',
    parameters: [
      buffer('x', 'bf16', 'in', s => at(s, 'count'), { perRow: () => 1 }),
      buffer('out', 'f32', 'out', s => at(s, 'count'), { perRow: () => 1 }),
      size('count', [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17], 300),
    ],
    rows: 'count',
    tolerance: 0,
    because: 'every bf16 value is an f32 value',
  },
  f32ToF16: {
    does: 'out (IEEE binary16) = x (f32) rounded to nearest even; returns 1 + the index of the first finite value beyond ±65504 (or non-finite one), 0 where there is none.',
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'count'), { perRow: () => 1 }),
      buffer('out', 'f16', 'out', s => at(s, 'count'), { perRow: () => 1 }),
      size('count', [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17], 300),
    ],
    rows: 'count',
    tolerance: 0,
    because: 'rounding is fixed by IEEE 754',
  },
  quantiseRows: {
    does: 'codes [m, width] (int8) = rint(x / scale) clamped to ±127, scales [m] (f32) = max|row| / 127, 1 where that is 0; a row that is not finite becomes zeros with scale 1; returns 1 + the first such row, else 0.',
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      buffer('codes', 'i8', 'out', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      buffer('scales', 'f32', 'out', s => at(s, 'm'), { perRow: () => 1 }),
      size('m', ROWS, 40),
      size('width', WIDTHS, 130),
    ],
    rows: 'm',
    tolerance: 0,
    because: 'the quotient is taken in f64 and rounded to nearest even, as the wire format defines',
  },
  dequantiseRows: {
    does: 'out [m, width] = codes · scale of the row.',
    parameters: [
      buffer('codes', 'i8', 'in', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      buffer('scales', 'f32', 'in', s => at(s, 'm'), { perRow: () => 1, fill: 'positive' }),
      buffer('out', 'f32', 'out', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      size('m', ROWS, 40),
      size('width', WIDTHS, 130),
    ],
    rows: 'm',
    tolerance: 0,
    because: 'one rounding, the same everywhere',
  },
} as const satisfies Record<string, Kernel>

export type KernelName = keyof typeof catalogue
export const KERNEL_NAMES = Object.keys(catalogue) as KernelName[]

/** One function per catalogue entry, arguments in the entry's order. */
export type Kernels = { readonly [K in KernelName]: (...parameters: number[]) => number }
