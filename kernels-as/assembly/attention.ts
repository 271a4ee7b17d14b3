// Block-wise attention: keys are folded, a chunk at a time, into a running (maximum, sum, weighted values) per query row
// and head. The score matrix never exists; scratch holds one tile of it.
import { FewQueries } from './few-queries'
import { Lanes } from './lanes'
import { Functions } from './math'
import { packPanels } from './pack'
import { FOLD, STORE, Tile, tileRows } from './tile'

/** As in the catalogue. A chunk's keys and values of one head stay in the first-level cache. */
const KEY_CHUNK: i32 = 128
const QUERY_TILE: i32 = 6

/** Query rows that meet a head's keys at a time: they and what they sum stay in the second-level cache. */
const QUERY_BLOCK: i32 = 240
/** Up to so many query rows are not worth packing keys and values for. */
const FEW_QUERIES: i32 = 2

const LOWEST: f32 = -3.4028234663852886e38

export function attentionBegin(state: usize, weighted: usize, n: i32, H: i32, d: i32): void {
  const end = state + ((<usize>(n * H)) << 3)
  for (; state < end; state += 8) {
    store<f32>(state, LOWEST)
    store<f32>(state, 0, 4)
  }
  memory.fill(weighted, 0, (<usize>(n * H * d)) << 2)
}

/**
 * Heads [headFrom, headTo) of every query row. Scratch, in f32:
 *   keys   [16 panels][d][8]      the chunk's keys of one head, key j in column j
 *   values [⌈d/8⌉ panels][128][8] its values, key j in line j
 *   scores [6][128]               then weights, of a tile of query rows
 *   gains  [128]                  the chunk's logGain
 *   rescale [6]                  what each row's state is multiplied by
 */
export function attentionFold(
  q: usize,
  qStride: i32,
  keys: usize,
  kStride: i32,
  values: usize,
  vStride: i32,
  logGain: usize,
  visible: usize,
  state: usize,
  weighted: usize,
  scratch: usize,
  n: i32,
  m: i32,
  H: i32,
  d: i32,
  scale: f32,
  headFrom: i32,
  headTo: i32,
  tile: i32,
): void {
  const qRow = (<usize>qStride) << 2
  const kRow = (<usize>kStride) << 2
  const vRow = (<usize>vStride) << 2
  const stateRow = (<usize>H) << 3
  const weightedRow = (<usize>(H * d)) << 2
  const head = (<usize>d) << 2
  const keyPanels = scratch
  const valuePanels = keyPanels + ((<usize>(KEY_CHUNK * d)) << 2)
  const scores = valuePanels + ((<usize>(KEY_CHUNK * ((d + 7) & ~7))) << 2)
  const gains = scores + ((QUERY_TILE * KEY_CHUNK) << 2)
  const rescale = gains + (KEY_CHUNK << 2)
  const most = tileRows(tile)
  if (
    n <= FEW_QUERIES &&
    FewQueries.take(d) &&
    FewQueries.scratch(headTo - headFrom, d, KEY_CHUNK) <= 2 * KEY_CHUNK * d
  ) {
    const skip = <usize>headFrom * head
    for (let i = 0; i < n; i++) {
      const own = visible == 0 ? m : min(m, load<i32>(visible + ((<usize>i) << 2)))
      foldRow(
        q + <usize>i * qRow + skip,
        keys + skip,
        kRow,
        values + skip,
        vRow,
        logGain,
        state + <usize>i * stateRow + ((<usize>headFrom) << 3),
        weighted + <usize>i * weightedRow + skip,
        scratch,
        gains,
        own,
        headTo - headFrom,
        d,
        scale,
      )
    }
    return
  }
  for (let h = headFrom; h < headTo; h++) {
    const skip = <usize>h * head
    for (let block = 0; block < n; block += QUERY_BLOCK) {
      const end = min(n, block + QUERY_BLOCK)
      for (let first = 0; first < m; first += KEY_CHUNK) {
        const count = min(KEY_CHUNK, m - first)
        if (visible != 0 && !anySees(visible, block, end, first)) continue
        chunkGains(gains, logGain, first, count)
        const chunkKeys = keys + <usize>first * kRow + skip
        const chunkValues = values + <usize>first * vRow + skip
        packPanels(chunkKeys, keyPanels, d, count, 1, kStride, d << 3)
        packPanels(chunkValues, valuePanels, count, d, vStride, 1, count << 3)
        let tiles = (end - block + most - 1) / most
        for (let i = block; i < end; tiles--) {
          const rows = (end - i + tiles - 1) / tiles
          let seen = count
          if (visible != 0) {
            seen = 0
            for (let r = 0; r < rows; r++) seen = max(seen, load<i32>(visible + ((<usize>(i + r)) << 2)) - first)
            seen = min(seen, count)
          }
          if (seen > 0) {
            const query = q + <usize>i * qRow + skip
            const sums = weighted + <usize>i * weightedRow + skip
            scoreTile(rows, query, qRow, keyPanels, d, scores, seen)
            for (let r = 0; r < rows; r++) {
              const mine = visible == 0 ? seen : load<i32>(visible + ((<usize>(i + r)) << 2)) - first
              weigh(
                scores + ((<usize>(r * KEY_CHUNK)) << 2),
                gains,
                seen,
                max(0, min(seen, mine)),
                scale,
                state + <usize>(i + r) * stateRow + ((<usize>h) << 3),
                rescale + ((<usize>r) << 2),
              )
            }
            valueTile(rows, scores, valuePanels, count, seen, sums, weightedRow, d, rescale)
          }
          i += rows
        }
      }
    }
  }
}

/** One query row: the first `own` keys, all heads of a chunk at a time. */
function foldRow(
  q: usize,
  keys: usize,
  kRow: usize,
  values: usize,
  vRow: usize,
  logGain: usize,
  state: usize,
  weighted: usize,
  scratch: usize,
  gains: usize,
  own: i32,
  heads: i32,
  d: i32,
  scale: f32,
): void {
  const scores = scratch
  const sums = scores + ((<usize>(heads * KEY_CHUNK)) << 2)
  const rescale = sums + ((<usize>(heads * d)) << 2)
  for (let first = 0; first < own; first += KEY_CHUNK) {
    const count = min(KEY_CHUNK, own - first)
    chunkGains(gains, logGain, first, count)
    FewQueries.score(q, keys + <usize>first * kRow, kRow, heads, d, KEY_CHUNK, count, scores)
    for (let h = 0; h < heads; h++) {
      const row = <usize>h
      weigh(scores + row * (KEY_CHUNK << 2), gains, count, count, scale, state + (row << 3), rescale + (row << 2))
    }
    FewQueries.sum(scores, values + <usize>first * vRow, vRow, heads, d, KEY_CHUNK, count, sums)
    FewQueries.fold(weighted, sums, rescale, heads, d)
  }
}

/** gains [128] = logGain of the chunk's keys, 0 where there is none. */
function chunkGains(gains: usize, logGain: usize, first: i32, count: i32): void {
  memory.fill(gains, 0, KEY_CHUNK << 2)
  if (logGain != 0) memory.copy(gains, logGain + ((<usize>first) << 2), (<usize>count) << 2)
}

/** Whether a query row of [from, to) sees key `first`. */
function anySees(visible: usize, from: i32, to: i32, first: i32): bool {
  for (let i = from; i < to; i++) {
    if (load<i32>(visible + ((<usize>i) << 2)) > first) return true
  }
  return false
}

/** scores [rows, ≥ seen] = q [rows, d] · keys of the chunk. */
function scoreTile(rows: i32, q: usize, qRow: usize, panels: usize, d: i32, scores: usize, seen: i32): void {
  const panel = (<usize>d) << 5
  const row: usize = KEY_CHUNK << 2
  for (let j = 0; j < seen; j += 8) {
    Tile.product(rows, STORE, q, qRow, panels, d, scores, row, 8, 0, 0, 0, 0)
    panels += panel
    scores += 32
  }
}

/**
 * Turns one row's `seen` scores into weights exp(score·scale + gain − maximum) of which those from `own` on are exactly
 * 0, updates the row's (maximum, sum), and stores by how much what was summed before shrinks.
 */
function weigh(scores: usize, gains: usize, seen: i32, own: i32, scale: f32, state: usize, rescale: usize): void {
  const scales = f32x4.splat(scale)
  const before = load<f32>(state)
  let largest = f32x4.splat(before)
  const end = scores + ((<usize>((seen + 3) & ~3)) << 2)
  const whole = scores + ((<usize>(own & ~3)) << 2)
  let at = scores
  for (; at < whole; at += 16) {
    const s = Lanes.madd(v128.load(at), scales, v128.load(gains))
    v128.store(at, s)
    largest = f32x4.pmax(largest, s)
    gains += 16
  }
  for (let left = own & 3; at < end; at += 16) {
    const s = Lanes.madd(v128.load(at), scales, v128.load(gains))
    const kept = v128.bitselect(s, f32x4.splat(-Infinity), Lanes.before(left, 0))
    v128.store(at, kept)
    largest = f32x4.pmax(largest, kept)
    gains += 16
    left = 0
  }
  const maximum = Lanes.max(largest)
  const shift = f32x4.splat(maximum)
  let sums = Lanes.zero()
  for (at = scores; at < end; at += 16) {
    const p = Functions.exp(f32x4.sub(v128.load(at), shift))
    v128.store(at, p)
    sums = f32x4.add(sums, p)
  }
  const shrink = f32x4.extract_lane(Functions.exp(f32x4.splat(before - maximum)), 0)
  store<f32>(rescale, shrink)
  store<f32>(state, maximum)
  store<f32>(state, load<f32>(state, 4) * shrink + Lanes.sum(sums), 4)
}

/** weighted [rows, d] = weighted · rescale + weights [rows, seen] · values of the chunk, `count` lines to a panel. */
function valueTile(
  rows: i32,
  weights: usize,
  panels: usize,
  count: i32,
  seen: i32,
  weighted: usize,
  weightedRow: usize,
  d: i32,
  rescale: usize,
): void {
  const panel = (<usize>count) << 5
  const row: usize = KEY_CHUNK << 2
  for (let e = 0; e < d; e += 8) {
    const columns = min(8, d - e)
    Tile.product(rows, FOLD, weights, row, panels, seen, weighted, weightedRow, columns, rescale, 0, 0, 0)
    panels += panel
    weighted += 32
  }
}

/** out [n, H·d] = weighted / sum; zeros where nothing was summed. */
export function attentionEnd(state: usize, weighted: usize, out: usize, n: i32, H: i32, d: i32): void {
  const rows = n * H
  for (let row = 0; row < rows; row++) {
    const sum = load<f32>(state, 4)
    const inverse: f32 = sum > 0 ? 1 / sum : 0
    const factors = f32x4.splat(inverse)
    let e = 0
    for (; e + 4 <= d; e += 4) {
      v128.store(out, f32x4.mul(v128.load(weighted), factors))
      weighted += 16
      out += 16
    }
    for (; e < d; e++) {
      store<f32>(out, load<f32>(weighted) * inverse)
      weighted += 4
      out += 4
    }
    state += 8
  }
}
