// The matrix product. B streams through the first-level cache panel by panel; a block of A's rows stays in the second.
import { FINISH, TILE_ROWS, Tile, WIDE } from './tile'

/** Elements of A in a block of rows: half of a second-level cache. */
const BLOCK: i32 = 1 << 17
/** Most bytes of panels that one row may draw into the cache for the other rows. */
const DRAWN: usize = 1 << 19

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
): void {
  const aRow = (<usize>aStride) << 2
  const cRow = (<usize>cStride) << 2
  const rRow: usize = residual == 0 ? 0 : (<usize>residualStride) << 2
  if (m == 1) {
    oneRow(a, packed, bias, residual, c, n, k, activation)
    return
  }
  // Blocks of whole tiles, all about as high as each other; so are the tiles of a block.
  const tiles = (m + TILE_ROWS - 1) / TILE_ROWS
  const tilesPerBlock = max(1, BLOCK / max(1, k * TILE_ROWS))
  for (let tile = 0, i = 0; tile < tiles;) {
    const blockEnd = min(tiles, tile + tilesPerBlock)
    const rows = blockEnd == tiles ? m - i : (blockEnd - tile) * TILE_ROWS
    if (i == 0) firstBlock(a, aRow, packed, bias, residual, rRow, c, cRow, rows, n, k, activation)
    else block(a, aRow, packed, bias, residual, rRow, c, cRow, rows, n, k, activation)
    a += <usize>rows * aRow
    c += <usize>rows * cRow
    residual += <usize>rows * rRow
    i += rows
    tile = blockEnd
  }
}

/**
 * The first block of rows finds B in no cache. Its first row goes ahead over several panels, since one row of many panels
 * draws them from memory faster than several rows of one, which wait at each page; the others then find them near.
 */
function firstBlock(
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
): void {
  const panel = (<usize>k) << 5
  let j = 0
  if (<usize>WIDE * panel <= DRAWN) {
    for (; j + 8 * WIDE <= n; j += 8 * WIDE) {
      Tile.wide(a, packed, panel, k, c, 8, bias, residual, activation)
      const kept: usize = residual == 0 ? 0 : residual + rRow
      block(a + aRow, aRow, packed, bias, kept, rRow, c + cRow, cRow, m - 1, 8 * WIDE, k, activation)
      packed += <usize>WIDE * panel
      c += 32 * WIDE
      if (bias != 0) bias += 32 * WIDE
      if (residual != 0) residual += 32 * WIDE
    }
  }
  if (j < n) block(a, aRow, packed, bias, residual, rRow, c, cRow, m, n - j, k, activation)
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
): void {
  for (let j = 0; j < n; j += 8) {
    const columns = min(8, n - j)
    let tiles = (m + TILE_ROWS - 1) / TILE_ROWS
    let left = m
    let x = a
    let y = c
    let z = residual
    while (left > 0) {
      const rows = (left + tiles - 1) / tiles
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
  if (rows == 6) Tile.product(6, FINISH, a, aRow, b, k, c, cRow, columns, bias, residual, rRow, activation)
  else if (rows == 5) Tile.product(5, FINISH, a, aRow, b, k, c, cRow, columns, bias, residual, rRow, activation)
  else if (rows == 4) Tile.product(4, FINISH, a, aRow, b, k, c, cRow, columns, bias, residual, rRow, activation)
  else if (rows == 3) Tile.product(3, FINISH, a, aRow, b, k, c, cRow, columns, bias, residual, rRow, activation)
  else if (rows == 2) Tile.product(2, FINISH, a, aRow, b, k, c, cRow, columns, bias, residual, rRow, activation)
  else Tile.product(1, FINISH, a, aRow, b, k, c, cRow, columns, bias, residual, rRow, activation)
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
  let j = 0
  for (; j + 8 * (WIDE - 1) < n; j += 8 * WIDE) {
    Tile.wide(a, packed, panel, k, c, min(8, n - j - 8 * (WIDE - 1)), bias, residual, activation)
    packed += <usize>WIDE * panel
    c += 32 * WIDE
    if (bias != 0) bias += 32 * WIDE
    if (residual != 0) residual += 32 * WIDE
  }
  for (; j < n; j += 8) {
    Tile.product(1, FINISH, a, 0, packed, k, c, 0, min(8, n - j), bias, residual, 0, activation)
    packed += panel
    c += 32
    if (bias != 0) bias += 32
    if (residual != 0) residual += 32
  }
}
