/**
 * The kernels: one entry each, from which the bindings, the property tests and the benchmarks come.
 *
 * A kernel works on byte offsets into one linear memory. Its parameters are numbers: an `address` (bytes, 0 where an
 * optional buffer is absent), a `size` (a count of elements, rows, …), or a `real`. Every backend implements every
 * entry with this signature, so that an entry cannot exist untested.
 *
 * Shape letters: m rows, n columns, k inner width (as BLAS has them); H heads of width d.
 */
import {
  at,
  attentionScratch,
  buffer,
  COLUMNS,
  derived,
  elementwise,
  exactly,
  INNER,
  type Kernel,
  PANEL,
  packedLength,
  paddedK,
  paddedN,
  ROWS,
  real,
  size,
  WIDTHS,
} from './kernel.js'

export {
  ACTIVATIONS,
  type Activation,
  attentionScratch,
  type Buffer,
  ELEMENT_BYTES,
  type ElementType,
  type Fill,
  KEY_CHUNK,
  type Kernel,
  PANEL,
  type Parameter,
  packedLength,
  paddedK,
  paddedN,
  QUERY_TILE,
  type Real,
  type Size,
  type Sizes,
} from './kernel.js'

/** Of a matrix product: the left operand, and what it ends with. */
const LEFT = [
  buffer('a', 'f32', 'in', s => at(s, 'm') * at(s, 'aStride'), { perRow: s => at(s, 'aStride') }),
  derived('aStride', s => at(s, 'k')),
]
const FINISH = [
  buffer('bias', 'f32', 'in', s => at(s, 'n'), { optional: true, perColumn: () => 1 }),
  buffer('residual', 'f32', 'in', s => at(s, 'm') * at(s, 'residualStride'), {
    optional: true,
    perRow: s => at(s, 'residualStride'),
    perColumn: () => 1,
  }),
  derived('residualStride', s => at(s, 'n')),
  buffer('c', 'f32', 'out', s => at(s, 'm') * at(s, 'cStride'), { perRow: s => at(s, 'cStride'), perColumn: () => 1 }),
  derived('cStride', s => at(s, 'n')),
]
/** Rows of a register tile at most, 0: as many as the build has. No bit depends on it, but speed does, by engine. */
const TILE = size('tile', [0, 4, 5, 6], 6)
/** Of a look-up of columns in a packed matrix: which, where to, and sizes. */
const GATHERED = [
  buffer('ids', 'i32', 'in', s => at(s, 'm'), {
    perRow: () => 1,
    fill: { kind: 'indices', below: s => at(s, 'n') },
  }),
  buffer('out', 'f32', 'out', s => at(s, 'm') * at(s, 'k'), { perRow: s => at(s, 'k') }),
  size('m', ROWS, 40),
  size('n', COLUMNS, 100),
  size('k', INNER, 130),
]

export const catalogue = {
  /**
   * Packs B [k, n], whose element (p, j) lies at p·rowStride + j·columnStride, into panels [⌈n/8⌉][k][8] that begin
   * panelStride apart.
   */
  packPanels: {
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
    tolerance: 0, // values are only moved
  },
  /** C [m, n] = activation(A [m, k] · B [k, n] + bias [n]) + residual [m, n], B packed in panels. */
  gemm: {
    parameters: [
      ...LEFT,
      buffer('packed', 'f32', 'in', s => packedLength(at(s, 'k'), at(s, 'n')), {
        perColumn: s => at(s, 'k'),
        fill: { kind: 'variance', of: s => 1 / at(s, 'k') },
      }),
      ...FINISH,
      size('m', ROWS, 40),
      size('n', COLUMNS, 100),
      size('k', INNER, 400),
      size('activation', [0, 1, 2, 3, 4], 4),
      TILE,
    ],
    rows: 'm',
    columns: 'n',
    tolerance: 1e-6, // k products are summed in f32, in eight parts that are then added
    flops: s => 2 * at(s, 'm') * at(s, 'n') * at(s, 'k'),
  },
  /**
   * C [m, n] = activation(A [m, k] · B [k, n] + bias [n]) + residual [m, n], B packed in panels of finite binary16
   * values.
   */
  gemmF16: {
    parameters: [
      ...LEFT,
      buffer('packed', 'f16', 'in', s => packedLength(at(s, 'k'), at(s, 'n')), {
        perColumn: s => at(s, 'k'),
        fill: 'finite',
      }),
      ...FINISH,
      size('m', ROWS, 40),
      size('n', COLUMNS, 100),
      size('k', INNER, 400),
      size('activation', [0, 1, 2, 3, 4], 4),
      TILE,
      buffer('scratch', 'f32', 'scratch', s => PANEL * at(s, 'k')),
    ],
    rows: 'm',
    columns: 'n',
    tolerance: 1e-6, // as the product in f32: every f16 value is an f32 value
    flops: s => 2 * at(s, 'm') * at(s, 'n') * at(s, 'k'),
  },
  /**
   * C [m, n] = activation((Σ codes of A [m, k] · codes of B [k, n] − zero · sums [n]) · scales [n] · scale + bias [n])
   * + residual [m, n]; quanta [m, 2] are scale and code of zero of A's rows, codes of B lie in panels
   * [⌈n/8⌉][⌈k/4⌉][8][4], sums are those of its columns.
   */
  gemmQ8: {
    parameters: [
      buffer('a', 'u8', 'in', s => at(s, 'm') * paddedK(at(s, 'k')), { perRow: s => paddedK(at(s, 'k')) }),
      buffer('quanta', 'f32', 'in', s => at(s, 'm') * 2, {
        perRow: () => 2,
        fill: 'quanta',
      }),
      buffer('packed', 'i8', 'in', s => paddedN(at(s, 'n')) * paddedK(at(s, 'k')), {
        perColumn: s => paddedK(at(s, 'k')),
      }),
      buffer('scales', 'f32', 'in', s => paddedN(at(s, 'n')), {
        perColumn: () => 1,
        fill: { kind: 'variance', of: s => 1 / (paddedK(at(s, 'k')) * 127 ** 4) },
      }),
      buffer('sums', 'i32', 'in', s => paddedN(at(s, 'n')), {
        perColumn: () => 1,
        fill: { kind: 'indices', below: () => 100 },
      }),
      ...FINISH,
      size('m', ROWS, 40),
      size('n', COLUMNS, 100),
      size('k', INNER, 400),
      size('activation', [0, 1, 2, 3, 4], 4),
    ],
    rows: 'm',
    columns: 'n',
    tolerance: 1e-6, // codes are summed exactly; the sum is rounded to f32, then by two scales and what follows them
    flops: s => 2 * at(s, 'm') * at(s, 'n') * at(s, 'k'),
    arithmetic: 'int8',
  },
  /**
   * codes [m, ⌈k/4⌉·4] = rint(x · 255 / range) + zero, from 0 to 255; quanta [m, 2] = (range / 255, zero), NaN for a
   * row that is not finite; a range reaches from the least to the largest value of a row, 0 included, whose code is
   * zero.
   */
  quantiseOperand: {
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'm') * at(s, 'xStride'), { perRow: s => at(s, 'xStride') }),
      derived('xStride', s => at(s, 'k')),
      buffer('codes', 'u8', 'out', s => at(s, 'm') * paddedK(at(s, 'k')), { perRow: s => paddedK(at(s, 'k')) }),
      buffer('quanta', 'f32', 'out', s => at(s, 'm') * 2, { perRow: () => 2 }),
      size('m', ROWS, 40),
      size('k', [...INNER, 15, 16, 17, 63], 400),
    ],
    rows: 'm',
    tolerance: 0, // each step is rounded as the definition says
  },
  /**
   * codes [⌈n/8⌉][⌈k/4⌉][8][4] = rint(b · 127 / max|column|) of f32 panels [⌈n/8⌉][k][8], scales [⌈n/8⌉·8] =
   * max|column| / 127, sums [⌈n/8⌉·8] of the codes of each column.
   */
  quantisePanels: {
    parameters: [
      buffer('panels', 'f32', 'in', s => packedLength(at(s, 'k'), at(s, 'n')), { perColumn: s => at(s, 'k') }),
      buffer('packed', 'i8', 'out', s => paddedN(at(s, 'n')) * paddedK(at(s, 'k')), {
        perColumn: s => paddedK(at(s, 'k')),
      }),
      buffer('scales', 'f32', 'out', s => paddedN(at(s, 'n')), { perColumn: () => 1 }),
      buffer('sums', 'i32', 'out', s => paddedN(at(s, 'n')), { perColumn: () => 1 }),
      size('k', INNER, 130),
      size('n', COLUMNS, 100),
    ],
    rows: '',
    columns: 'n',
    tolerance: 0, // each step is rounded as the definition says
  },
  /** Clears the running state of n query rows: (maximum, sum) [n, H, 2] and weighted values [n, H·d]. */
  attentionBegin: {
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
    tolerance: 0, // constants are stored
  },
  /**
   * Folds m keys and values into the running state of n query rows, for the heads [headFrom, headTo): query i sees the
   * first visible[i] keys (all where absent), key j weighs exp(q·k·scale + logGain[j]).
   */
  attentionFold: {
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
      TILE,
    ],
    rows: 'n',
    range: ['headFrom', 'headTo'],
    tolerance: 4e-6, // scores are f32 dot products over d, which exp magnifies; weights are summed in f32 over m keys
    flops: s => 4 * at(s, 'n') * at(s, 'm') * at(s, 'H') * at(s, 'd'),
  },
  /** out [n, H·d] = weighted values / sum, zeros for a row that saw no key. */
  attentionEnd: {
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
    tolerance: 3e-7, // one division, or a reciprocal and a product
  },
  /** out [r, width] = column means of the runs [from, to) of rows of x; runs need not be even (PRISM, eq. of Z_p). */
  segmentMeans: {
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
    tolerance: 5e-7, // the rows of a run are summed in f32
  },
  /** out [m, width] = (x − mean) / √(variance + eps) · gain + bias, row by row (biased variance). */
  layerNorm: {
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
    // F32 sums over the width; two-pass, and the rounding of the mean is taken out, so an offset does not cancel.
    tolerance: 1e-6,
  },
  /** out [m, width] = exp(x − max) / sum, row by row. */
  softmax: {
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      buffer('out', 'f32', 'out', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      size('m', ROWS, 40),
      size('width', WIDTHS, 300),
    ],
    rows: 'm',
    tolerance: 6e-7, // polynomial exp within 2 ulp, f32 sum over the width
  },
  /** out = x·Φ(x), the erf form of GELU. */
  // Φ by a minimax quotient, |error| ≤ 2.5e-8, whose coefficients and sums f32 rounds.
  gelu: elementwise(6e-7),
  /** out = x / (1 + exp(−2u)), u = √(2/π)(x + 0.044715 x³): the tanh form of GELU. */
  // Polynomial exp within 2 ulp and one division.
  geluTanh: elementwise(3e-7),
  /** out = tanh(x). */
  // Odd polynomial near 0, exp elsewhere.
  tanh: elementwise(3e-7),
  /** out = max(x, 0). */
  // Values are only selected.
  relu: elementwise(0),
  /** out = x + y. */
  add: {
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'count'), { perRow: () => 1 }),
      buffer('y', 'f32', 'in', s => at(s, 'count'), { perRow: () => 1 }),
      buffer('out', 'f32', 'out', s => at(s, 'count'), { perRow: () => 1 }),
      size('count', [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17], 300),
    ],
    rows: 'count',
    tolerance: 0, // one rounding, the same everywhere
  },
  /** out [m, width] = table [t, width] at the rows named by ids. */
  gather: {
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
    tolerance: 0, // values are only moved
  },
  /**
   * out [m, k] = the columns named by ids of B [k, n] packed in panels: an embedding table that is also the tied output
   * matrix.
   */
  gatherPacked: {
    parameters: [buffer('packed', 'f32', 'in', s => packedLength(at(s, 'k'), at(s, 'n'))), ...GATHERED],
    rows: 'm',
    tolerance: 0, // values are only moved
  },
  /** As gatherPacked, of B packed in panels of finite binary16 values. */
  gatherPackedF16: {
    parameters: [
      buffer('packed', 'f16', 'in', s => packedLength(at(s, 'k'), at(s, 'n')), { fill: 'finite' }),
      ...GATHERED,
    ],
    rows: 'm',
    tolerance: 0, // every f16 value is an f32 value
  },
  /** As gatherPacked, of B in 8-bit codes: code · scale of the column. */
  gatherQ8: {
    parameters: [
      buffer('packed', 'i8', 'in', s => paddedN(at(s, 'n')) * paddedK(at(s, 'k'))),
      buffer('scales', 'f32', 'in', s => paddedN(at(s, 'n')), { fill: 'positive' }),
      ...GATHERED,
    ],
    rows: 'm',
    tolerance: 0, // one rounding, the same everywhere
  },
  /** out [n, m] = x [m, n] transposed. */
  transpose: {
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'm') * at(s, 'n')),
      buffer('out', 'f32', 'out', s => at(s, 'm') * at(s, 'n')),
      size('m', ROWS, 40),
      size('n', COLUMNS, 100),
    ],
    rows: '',
    tolerance: 0, // values are only moved
  },
  /** out (f32) = x (IEEE binary16), exactly; subnormals, infinities and NaN included. */
  f16ToF32: {
    parameters: [
      buffer('x', 'f16', 'in', s => at(s, 'count'), { perRow: () => 1 }),
      buffer('out', 'f32', 'out', s => at(s, 'count'), { perRow: () => 1 }),
      size('count', [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17], 300),
    ],
    rows: 'count',
    tolerance: 0, // every f16 value is an f32 value
  },
  /** out (f32) = x (bfloat16), exactly. */
  bf16ToF32: {
    parameters: [
      buffer('x', 'bf16', 'in', s => at(s, 'count'), { perRow: () => 1 }),
      buffer('out', 'f32', 'out', s => at(s, 'count'), { perRow: () => 1 }),
      size('count', [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17], 300),
    ],
    rows: 'count',
    tolerance: 0, // every bf16 value is an f32 value
  },
  /**
   * out (IEEE binary16) = x (f32) rounded to nearest even; returns 1 + the index of the first finite value beyond
   * ±65504 (or non-finite one), 0 where there is none.
   */
  f32ToF16: {
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'count'), { perRow: () => 1 }),
      buffer('out', 'f16', 'out', s => at(s, 'count'), { perRow: () => 1 }),
      size('count', [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17], 300),
    ],
    rows: 'count',
    tolerance: 0, // rounding is fixed by IEEE 754
  },
  /**
   * codes [m, width] (int8) = rint(x / scale) clamped to ±127, scales [m] (f32) = max|row| / 127, 1 where that is 0; a
   * row that is not finite becomes zeros with scale 1; returns 1 + the first such row, else 0.
   */
  quantiseRows: {
    parameters: [
      buffer('x', 'f32', 'in', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      buffer('codes', 'i8', 'out', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      buffer('scales', 'f32', 'out', s => at(s, 'm'), { perRow: () => 1 }),
      size('m', ROWS, 40),
      size('width', WIDTHS, 130),
    ],
    rows: 'm',
    tolerance: 0, // the quotient is taken in f64 and rounded to nearest even, as the wire format defines
  },
  /** out [m, width] = codes · scale of the row. */
  dequantiseRows: {
    parameters: [
      buffer('codes', 'i8', 'in', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      buffer('scales', 'f32', 'in', s => at(s, 'm'), { perRow: () => 1, fill: 'positive' }),
      buffer('out', 'f32', 'out', s => at(s, 'm') * at(s, 'width'), { perRow: s => at(s, 'width') }),
      size('m', ROWS, 40),
      size('width', WIDTHS, 130),
    ],
    rows: 'm',
    tolerance: 0, // one rounding, the same everywhere
  },
} as const satisfies Record<string, Kernel>

export type KernelName = keyof typeof catalogue
export const KERNEL_NAMES = Object.keys(catalogue) as KernelName[]

/** One function per catalogue entry, arguments in the entry's order. */
export type Kernels = { readonly [K in KernelName]: (...parameters: number[]) => number }
