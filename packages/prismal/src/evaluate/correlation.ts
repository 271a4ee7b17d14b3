/** Correlations over resampled rows, without sorting anything again. */

type Rows = ArrayLike<number>

/** Pearson's correlation of two columns over these rows; 0 where one of them is constant. */
export function pearsonOf(a: readonly number[], b: readonly number[], rows: Rows): number {
  const n = rows.length
  let [meanA, meanB] = [0, 0]
  for (let i = 0; i < n; i++) {
    const row = rows[i] as number
    meanA += a[row] as number
    meanB += b[row] as number
  }
  meanA /= n
  meanB /= n
  let [aa, bb, ab] = [0, 0, 0]
  for (let i = 0; i < n; i++) {
    const row = rows[i] as number
    const x = (a[row] as number) - meanA
    const y = (b[row] as number) - meanB
    aa += x * x
    bb += y * y
    ab += x * y
  }
  return aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : 0
}

/** Rows of a column in ascending order of its values, and where each run of equal values ends. */
interface Order {
  readonly rows: Int32Array
  readonly ends: Int32Array
}
const orders = new WeakMap<readonly number[], Order>()

function orderOf(values: readonly number[]): Order {
  const known = orders.get(values)
  if (known) return known
  const rows = Int32Array.from(values, (_, i) => i).sort((a, b) => (values[a] as number) - (values[b] as number))
  const ends: number[] = []
  for (let i = 0; i < rows.length; i++)
    if (i + 1 === rows.length || values[rows[i] as number] !== values[rows[i + 1] as number]) ends.push(i + 1)
  const order = { rows, ends: Int32Array.from(ends) }
  orders.set(values, order)
  return order
}

/**
 * Ranks (from 1, equal values sharing their mean) of values that stand there `counts[row]` times each: the column was sorted
 * once, so a resample's ranks are counted rather than sorted.
 */
function ranks({ rows, ends }: Order, counts: Float64Array): Float64Array {
  const out = new Float64Array(counts.length)
  let before = 0
  let at = 0
  for (const end of ends) {
    let count = 0
    for (let i = at; i < end; i++) count += counts[rows[i] as number] as number
    const rank = before + (count + 1) / 2
    for (; at < end; at++) out[rows[at] as number] = rank
    before += count
  }
  return out
}

/** Spearman's correlation of two columns over these rows; 0 where one of them is constant. Columns must not change meanwhile. */
export function spearmanOf(a: readonly number[], b: readonly number[], rows: Rows): number {
  const counts = new Float64Array(a.length)
  for (let i = 0; i < rows.length; i++) counts[rows[i] as number] = (counts[rows[i] as number] as number) + 1
  const ranksA = ranks(orderOf(a), counts)
  const ranksB = ranks(orderOf(b), counts)
  const mean = (rows.length + 1) / 2
  let [aa, bb, ab] = [0, 0, 0]
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number
    if (count === 0) continue
    const x = (ranksA[i] as number) - mean
    const y = (ranksB[i] as number) - mean
    aa += count * x * x
    bb += count * y * y
    ab += count * x * y
  }
  return aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : 0
}
