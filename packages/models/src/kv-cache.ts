/** Keys and values of one sequence's earlier rows, layer by layer, for decoding. */
import { type KeyBlock, OperandError, type Scope, type Tensor } from '@prismal/tensor'

/** Keys and values of rows, [n, H·d] each. */
export interface Projected {
  readonly k: Tensor
  readonly v: Tensor
}

/**
 * Rows of this device grow at the end; blocks that came from other devices (their means, or their exact rows) stay as
 * they are, since nothing later can change them: the model is causal. Keys lie apart from values: decoding reads all of
 * the one, then all of the other, as they lie.
 *
 *     own rows  keys [capacity, H·d] and values [capacity, H·d] a layer
 *     kept      blocks a layer, folded after the own rows
 */
export class KvCache {
  readonly #rows: readonly Projected[]
  readonly #filled: number[]
  readonly #kept: KeyBlock[][]
  readonly #scope: Scope

  /** Room for `capacity` rows in each of `layers` layers of `width` = H·d keys and as many values, owned by `scope`. */
  constructor(scope: Scope, layers: number, width: number, capacity: number) {
    this.#scope = scope
    const room = (): Tensor => scope.empty([capacity, width])
    this.#rows = Array.from({ length: layers }, () => ({ k: room(), v: room() }))
    this.#filled = new Array<number>(layers).fill(0)
    this.#kept = Array.from({ length: layers }, () => [])
  }

  /** Adds rows to a layer and returns all that it holds, as views. */
  append(layer: number, { k, v }: Projected): Projected {
    const rows = this.#rows[layer] as Projected
    const filled = this.#filled[layer] as number
    const end = filled + k.rows
    if (end > rows.k.rows) throw new OperandError(`KV cache: ${end} rows do not fit its ${rows.k.rows}`)
    rows.k.copyFrom(k, filled)
    rows.v.copyFrom(v, filled)
    this.#filled[layer] = end
    return { k: rows.k.slice(0, end), v: rows.v.slice(0, end) }
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
