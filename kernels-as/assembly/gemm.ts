// The matrix product. Six panels of B at a time are drawn into the second-level cache, where blocks of A's rows meet them;
// a panel, or a part of it, stays in the first.
import { FINISH, Tile, tileRows } from './tile'
import { WIDE, Wide } from './wide'

/** Elements of A in a block of rows: a quarter of a second-level cache of 1 MB. */
const BLOCK: i32 = 1 << 16
/** Most bytes of panels that one row may draw into that cache for the others. */
const DRAWN: usize = 3 << 18
/** Matrices of so many elements come from memory when one row meets them … */
const STREAMED: usize = 1 << 19
/** … and panels of so few bytes are then faster one after another, as they lie, than six at a time. */
const STREAMED_PANEL: usize = 1 << 16
/** Fewer rows are faster one by one, over many panels. */
const LEAST_TILE: i32 = 4

export function gemm(
  a: usize,
  aStride: i32,
  packed: usize,
  bias: usize,
  residual: usize,
  residualStride: i32,
  c: usize,
  cStride: i32,
  m: i32,
  n: i32,
  k: i32,
  activation: i32,
  tile: i32,
): void {
  if (m == 1) {
    oneRow(a, packed, bias, residual, c, n, k, activation)
    return
  }
  const aRow = (<usize>aStride) << 2
  const cRow = (<usize>cStride) << 2
  const rRow: usize = residual == 0 ? 0 : (<usize>residualStride) << 2
  const panel = (<usize>k) << 5
  const most = tileRows(tile)
  for (let j = 0; j < n; j += 8 * WIDE) {
    const columns = min(8 * WIDE, n - j)
    // B comes from memory, as a rule. One row of many panels draws them faster than several rows of one, which wait at each
    // page; the other rows then find them near.
    let drawn = 0
    if (columns == 8 * WIDE && <usize>WIDE * panel <= DRAWN) {
      const ahead = m < LEAST_TILE ? m : 1
      for (; drawn < ahead; drawn++) {
        const row = <usize>drawn
        const kept: usize = residual == 0 ? 0 : residual + row * rRow
        Wide.product(a + row * aRow, packed, panel, k, c + row * cRow, 8, bias, kept, activation)
      }
    }
    // Blocks of whole tiles, all about as high as each other; so are the tiles of a block.
    let tiles = (m - drawn + most - 1) / most
    const tilesPerBlock = max(1, BLOCK / max(1, k * most))
    for (let i = drawn; i < m;) {
      const rows = tiles <= tilesPerBlock ? m - i : tilesPerBlock * most
      const row = <usize>i
      const kept: usize = residual == 0 ? 0 : residual + row * rRow
      block(a + row * aRow, aRow, packed, bias, kept, rRow, c + row * cRow, cRow, rows, columns, k, activation, most)
      i += rows
      tiles -= tilesPerBlock
    }
    packed += <usize>WIDE * panel
    c += 32 * WIDE
    if (bias != 0) bias += 32 * WIDE
    if (residual != 0) residual += 32 * WIDE
  }
}

function block(
  a: usize,
  aRow: usize,
  packed: usize,
  bias: usize,
  residual: usize,
  rRow: usize,
  c: usize,
  cRow: usize,
  m: i32,
  n: i32,
  k: i32,
  activation: i32,
  most: i32,
): void {
  for (let j = 0; j < n; j += 8) {
    const columns = min(8, n - j)
    let tiles = (m + most - 1) / most
    let left = m
    let x = a
    let y = c
    let z = residual
    while (left > 0) {
      // Who asks for five computes four at three quarters of their speed: full tiles first.
      const rows = most == 5 ? min(most, left) : (left + tiles - 1) / tiles
      finish(rows, x, aRow, packed, k, y, cRow, columns, bias, z, rRow, activation)
      x += <usize>rows * aRow
      y += <usize>rows * cRow
      z += <usize>rows * rRow
      left -= rows
      tiles--
    }
    packed += (<usize>k) << 5
    c += 32
    if (bias != 0) bias += 32
    if (residual != 0) residual += 32
  }
}

function finish(
  rows: i32,
  a: usize,
  aRow: usize,
  b: usize,
  k: i32,
  c: usize,
  cRow: usize,
  columns: i32,
  bias: usize,
  residual: usize,
  rRow: usize,
  activation: i32,
): void {
  Tile.product(rows, FINISH, a, aRow, b, k, c, cRow, columns, bias, residual, rRow, activation)
}

/** Decoding: one row, limited by how fast B arrives. */
function oneRow(
  a: usize,
  packed: usize,
  bias: usize,
  residual: usize,
  c: usize,
  n: i32,
  k: i32,
  activation: i32,
): void {
  const panel = (<usize>k) << 5
  const isStreamed = panel <= STREAMED_PANEL && <usize>n * <usize>k >= STREAMED
  let j = 0
  for (; !isStreamed && j + 8 * (WIDE - 1) < n; j += 8 * WIDE) {
    Wide.product(a, packed, panel, k, c, min(8, n - j - 8 * (WIDE - 1)), bias, residual, activation)
    packed += <usize>WIDE * panel
    c += 32 * WIDE
    if (bias != 0) bias += 32 * WIDE
    if (residual != 0) residual += 32 * WIDE
  }
  for (; j < n; j += 8) {
    Tile.ofRows(1, FINISH, a, 0, packed, k, c, 0, min(8, n - j), bias, residual, 0, activation)
    packed += panel
    c += 32
    if (bias != 0) bias += 32
    if (residual != 0) residual += 32
  }
}
