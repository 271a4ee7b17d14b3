// Panels: B [k, n] stored as [⌈n/8⌉][k][8], the layout that the matrix kernel streams through.

/**
 *   panel 0             panel 1
 *   B[0, 0…7]           B[0, 8…15]      k lines of 8 columns each,
 *   B[1, 0…7]           …               columns beyond n are zeros
 *   …
 *
 * Panels lie `panelStride` elements apart: 8·k where the matrix is packed whole, more where k lines of a taller one are.
 */
export function packPanels(
  b: usize,
  packed: usize,
  k: i32,
  n: i32,
  rowStride: i32,
  columnStride: i32,
  panelStride: i32,
): void {
  const row = (<usize>rowStride) << 2
  const column = (<usize>columnStride) << 2
  for (let j = 0; j < n; j += 8) {
    const from = b + <usize>j * column
    if (n - j < 8) packEdge(from, packed, k, n - j, row, column)
    else if (columnStride == 1) packRows(from, packed, k, row)
    else if (rowStride == 1) packColumns(from, packed, k, column)
    else packEdge(from, packed, k, 8, row, column)
    packed += (<usize>panelStride) << 2
  }
}

/** A panel of up to 8 columns, element by element. */
function packEdge(from: usize, to: usize, k: i32, columns: i32, row: usize, column: usize): void {
  for (let p = 0; p < k; p++) {
    v128.store(to, f32x4.splat(0))
    v128.store(to, f32x4.splat(0), 16)
    let source = from
    for (let j = 0; j < columns; j++) {
      store<f32>(to + ((<usize>j) << 2), load<f32>(source))
      source += column
    }
    from += row
    to += 32
  }
}

/** A panel whose 8 columns lie side by side in B. */
function packRows(from: usize, to: usize, k: i32, row: usize): void {
  for (let p = 0; p < k; p++) {
    v128.store(to, v128.load(from))
    v128.store(to, v128.load(from, 16), 16)
    from += row
    to += 32
  }
}

/** A panel whose columns are contiguous in B (a weight stored [out, in]; keys): blocks of 4 × 4 are transposed. */
function packColumns(from: usize, to: usize, k: i32, column: usize): void {
  let p = 0
  for (; p + 4 <= k; p += 4) {
    Block.transpose(from, column, to, 32)
    Block.transpose(from + 4 * column, column, to + 16, 32)
    from += 16
    to += 128
  }
  packEdge(from, to, k - p, 8, 4, column)
}

export abstract class Block {
  /** Writes the 4 × 4 block at `from` transposed to `to`; strides in bytes. */
  @inline static transpose(from: usize, stride: usize, to: usize, toStride: usize): void {
    const a = v128.load(from)
    const b = v128.load(from + stride)
    const c = v128.load(from + 2 * stride)
    const d = v128.load(from + 3 * stride)
    const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5)
    const cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5)
    const AB = v128.shuffle<f32>(a, b, 2, 6, 3, 7)
    const CD = v128.shuffle<f32>(c, d, 2, 6, 3, 7)
    v128.store(to, v128.shuffle<f32>(ab, cd, 0, 1, 4, 5))
    v128.store(to + toStride, v128.shuffle<f32>(ab, cd, 2, 3, 6, 7))
    v128.store(to + 2 * toStride, v128.shuffle<f32>(AB, CD, 0, 1, 4, 5))
    v128.store(to + 3 * toStride, v128.shuffle<f32>(AB, CD, 2, 3, 6, 7))
  }
}

/** out [n, m] = x [m, n] transposed. */
export function transpose(x: usize, out: usize, m: i32, n: i32): void {
  const row = (<usize>n) << 2
  const outRow = (<usize>m) << 2
  const wholeRows = m & ~3
  const wholeColumns = n & ~3
  for (let i = 0; i < wholeRows; i += 4) {
    for (let j = 0; j < wholeColumns; j += 4) {
      Block.transpose(x + <usize>i * row + ((<usize>j) << 2), row, out + <usize>j * outRow + ((<usize>i) << 2), outRow)
    }
  }
  for (let i = 0; i < m; i++) {
    for (let j = i < wholeRows ? wholeColumns : 0; j < n; j++) {
      store<f32>(out + <usize>j * outRow + ((<usize>i) << 2), load<f32>(x + <usize>i * row + ((<usize>j) << 2)))
    }
  }
}
