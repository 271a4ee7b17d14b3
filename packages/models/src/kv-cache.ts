/** Keys and values of one sequence's earlier rows, layer by layer, for decoding. */
import { type KeyBlock, OperandError, type Scope, type Tensor } from '@prismal/tensor'

/**
 * Rows of this device grow at the end; blocks that came from other devices (their means, or their exact rows) stay as
 * they are, since nothing later can change them: the model is causal.
 *
 *     own rows  [capacity, 2·H·d] a layer:   key | value of row 0, row 1, …
 *     kept      blocks a layer, folded after the own rows
 */
export class KvCache {
  readonly #rows: readonly Tensor[]
  readonly #filled: number[]
  readonly #kept: KeyBlock[][]
  readonly #scope: Scope

  /** Room for `capacity` rows in each of `layers` layers of `width` = 2·H·d values, owned by `scope`. */
  constructor(scope: Scope, layers: number, width: number, capacity: number) {
    this.#scope = scope
    this.#rows = Array.from({ length: layers }, () => scope.empty([capacity, width]))
    this.#filled = new Array<number>(layers).fill(0)
    this.#kept = Array.from({ length: layers }, () => [])
  }

  /** Adds projected rows to a layer and returns all that it holds, as a view. */
  append(layer: number, projected: Tensor): Tensor {
    const rows = this.#rows[layer] as Tensor
    const filled = this.#filled[layer] as number
    if (filled + projected.rows > rows.rows)
      throw new OperandError(`KV cache: ${filled + projected.rows} rows do not fit its ${rows.rows}`)
    rows.copyFrom(projected, filled)
    this.#filled[layer] = filled + projected.rows
    return rows.slice(0, filled + projected.rows)
  }

  /** Blocks of a layer that other devices sent. */
  kept(layer: number): readonly KeyBlock[] {
    return this.#kept[layer] as KeyBlock[]
  }

  /** Keeps a block that another device sent; its tensors move to the cache's scope. */
  keep(layer: number, block: KeyBlock): void {
    block.k.moveTo(this.#scope)
    block.v.moveTo(this.#scope)
    this.#kept[layer]?.push(block)
  }
}
