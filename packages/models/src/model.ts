/** What every model family offers to pipelines, runners and the distribution layer. */
import type { Engine, Precision, Scope, Tensor } from '@prismal/tensor'
import type { ClassScores, StackShape } from './config.js'
import type { Context } from './context.js'
import type { Part } from './input.js'

export interface Model {
  readonly family: 'vit' | 'bert' | 'gpt2'
  /** The folder or URL that it was loaded from, as another device would open it. */
  readonly location: string
  /** Where each of its files is, where that is not below the location. */
  readonly urls?: Readonly<Record<string, string>>
  readonly engine: Engine
  /** How its weight matrices are stored. */
  readonly precision: Precision
  readonly shape: StackShape
  /** Names of the classes, where the model classifies. */
  readonly labels: readonly string[] | undefined
  /** SHA-256 over config and weights, for devices to know that they hold the same model. */
  readonly digest: string

  /** Throws `InputError` where a whole sequence does not fit the model. */
  check(sequence: Part): void
  /** Rows [from, to) of a whole sequence. */
  cut(sequence: Part, from: number, to: number): Part
  /** Parts → block input x [rows, D], part after part, owned by `scope`. */
  embed(scope: Scope, parts: readonly Part[]): Tensor
  /** All layers: x [rows, D] → the wanted rows [wanted, D], before the final norm. One for every context. */
  forward(x: Tensor, context: Context): Promise<Tensor>
  /** What the stack is said to output, [n, D]: the final norm, where the family has one. */
  finish(rows: Tensor): Tensor
  /** Finished first rows [B, D] → [B, D], where there is a pooler. */
  readonly pool?: (rows: Tensor) => Tensor
  /** Finished first rows [B, D] → class logits [B, classes]. */
  readonly classify?: (rows: Tensor) => Tensor
  /** What makes scores of those logits. */
  readonly scores?: ClassScores
  /** Finished rows [n, D] → logits over the vocabulary [n, V]. */
  readonly vocabulary?: (rows: Tensor) => Tensor
  /** The matrix products a head executes a row, for cost: `[k, n]` each. */
  readonly headProducts: {
    readonly [head in 'pool' | 'classify' | 'vocabulary']?: readonly (readonly [number, number])[]
  }

  dispose(): void
}
