// Rows of an embedding table by their ids.

export function gather(table: usize, ids: usize, out: usize, t: i32, m: i32, width: i32): void {
  const row = (<usize>width) << 2
  for (let i = 0; i < m; i++) {
    memory.copy(out, table + <usize>load<i32>(ids) * row, row)
    ids += 4
    out += row
  }
}

/** The table is packed for the matrix product: one column of a panel [k][8] is one row of the table. */
export function gatherPacked(packed: usize, ids: usize, out: usize, m: i32, n: i32, k: i32): void {
  for (let i = 0; i < m; i++) {
    const id = <usize>load<i32>(ids)
    let from = packed + (((id >> 3) * k) << 5) + ((id & 7) << 2)
    for (let p = 0; p < k; p++) {
      store<f32>(out, load<f32>(from))
      from += 32
      out += 4
    }
    ids += 4
  }
}
