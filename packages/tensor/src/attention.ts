/**
 * Block-wise softmax attention: key blocks are folded one after another into a running (maximum, sum, weighted values)
 * per query row, so the score matrix is never stored and a block may come from anywhere: local rows, a cache, means
 * that came over a network.
 */
import { attentionScratch } from '@prismal/kernels/catalogue'
import { OperandError } from './errors.js'
import { describe, type Tensor } from './tensor.js'

export interface KeyBlock {
  /** [m, H·d], contiguous or a slab of columns. */
  readonly k: Tensor
  /** [m, H·d]. */
  readonly v: Tensor
  /** Added to the logits of each key, m values: ln(rows that it stands for), times an exponent perhaps; absent: one row each. */
  readonly logGain?: ArrayLike<number> | undefined
  /** How many of the block's keys each query row may see (a prefix: keys are sorted); absent: all. */
  readonly visible?: ArrayLike<number> | undefined
}

/** The running state of the query rows of one attention. */
export interface AttentionState {
  readonly q: Tensor
  readonly heads: number
  readonly headWidth: number
  readonly scale: number
  readonly sums: Tensor
  readonly weighted: Tensor
}

/** Starts attention for q [n, H·d]; scores are multiplied by `scale`. Everything belongs to q's scope. */
export function attentionBegin(q: Tensor, heads: number, scale: number): AttentionState {
  const headWidth = q.columns / heads
  if (!(Number.isInteger(headWidth) && heads > 0 && q.dtype === 'f32'))
    throw new OperandError(`attention: ${describe(q)} cannot be cut into ${heads} heads, f32`)
  const sums = q.scope.empty([q.rows, heads, 2])
  const weighted = q.scope.empty([q.rows, q.columns])
  q.engine.kernels.attentionBegin(sums.address, weighted.address, q.rows, heads, headWidth)
  return { q, heads, headWidth, scale, sums, weighted }
}

/**
 * Folds a block into the query rows [from, to). Keys are taken in fixed-size chunks from the block's start, so a row's
 * bits depend on the blocks and their order alone. Counts 4·H·d operations for every key that a query sees.
 */
export function attentionFold(state: AttentionState, block: KeyBlock, from = 0, to = state.q.rows): void {
  const { heads, headWidth } = state
  const m = block.k.rows
  const n = to - from
  for (const [name, x] of Object.entries({ k: block.k, v: block.v }))
    if (x.rows !== m || x.columns !== state.q.columns || x.dtype !== 'f32' || !state.q.engine.reaches(x.engine))
      throw new OperandError(
        `attention: ${name} is ${describe(x)} for ${m} keys of ${heads} heads of ${headWidth} in one engine, f32`,
      )
  if (block.logGain && block.logGain.length !== m)
    throw new OperandError(`attention: ${block.logGain.length} gains for ${m} keys`)
  if (block.visible && block.visible.length !== n)
    throw new OperandError(`attention: visibility of ${block.visible.length} rows for ${n} queries`)
  if (m === 0 || n === 0) return
  const q = state.q.slice(from, to)
  const { scope, engine } = q
  const logGain = block.logGain && scope.tensor(Float32Array.from(block.logGain), [m])
  const visible = block.visible && scope.tensor(Int32Array.from(block.visible), [n])
  const scratch = scope.empty([engine.mostThreads * attentionScratch(headWidth)])
  engine.kernels.attentionFold(
    q.address,
    q.rowStride,
    block.k.address,
    block.k.rowStride,
    block.v.address,
    block.v.rowStride,
    logGain?.address ?? 0,
    visible?.address ?? 0,
    state.sums.reshape([state.q.rows, heads * 2]).slice(from, to).address,
    state.weighted.slice(from, to).address,
    scratch.address,
    n,
    m,
    heads,
    headWidth,
    state.scale,
    0,
    heads,
    engine.tileRows,
  )
  for (const temporary of [scratch, logGain, visible]) temporary?.dispose()
  const pairs = block.visible ? Array.from(block.visible).reduce((sum, seen) => sum + Math.min(seen, m), 0) : n * m
  scope.meter?.count(4 * heads * headWidth * pairs)
}

/** The attention output [n, H·d]; zeros for a row that saw no key. Gives the state back. */
export function attentionEnd(state: AttentionState): Tensor {
  const { q, heads, headWidth, sums, weighted } = state
  const out = q.scope.empty([q.rows, q.columns])
  q.engine.kernels.attentionEnd(sums.address, weighted.address, out.address, q.rows, heads, headWidth)
  sums.dispose()
  weighted.dispose()
  return out
}
