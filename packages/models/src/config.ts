/** Reads config.json: what a transformer stack looks like, checked field by field. */
import type { Activation } from '@prismal/tensor'
import { ModelError } from './errors.js'

/** The dimensions that a stack's cost and memory follow from. Letters as in the method: D, H, d, F. */
export interface StackShape {
  readonly layers: number
  /** D, the model's width. */
  readonly width: number
  /** H. */
  readonly heads: number
  /** d, the width of a head; H·d need not equal D. */
  readonly headWidth: number
  /** F, the inner width of the feed-forward part. */
  readonly inner: number
  readonly causal: boolean
  /** Most rows of a sequence. */
  readonly positions: number
  /** Inner width of the patch embedding (C·patch²), 0 for token ids. */
  readonly patchWidth: number
  /** Rows that come before the patches (CLS). */
  readonly prefixRows: number
  /** Rows and columns of patches, which lie in raster order after those; absent for token ids. */
  readonly patchGrid?: readonly [height: number, width: number]
}

/** What makes scores of class logits: probabilities of one another (`softmax`), one each (`sigmoid`), or `none`: they are values. */
export type ClassScores = 'softmax' | 'sigmoid' | 'none'

export type Json = Readonly<Record<string, unknown>>

/** Fields that change what a model computes, and the only value that is implemented. */
const FIXED: Readonly<Record<string, readonly unknown[]>> = {
  position_embedding_type: ['absolute'],
  is_decoder: [false],
  is_encoder_decoder: [false],
  add_cross_attention: [false],
  quantization_config: [],
  rope_theta: [],
  rope_scaling: [],
  sliding_window: [],
  use_swiglu_ffn: [false],
  layerscale_value: [],
  num_key_value_heads: [],
  parallel_attention: [false],
  cross_attention_hidden_size: [],
  problem_type: ['single_label_classification', 'multi_label_classification', 'regression'],
}

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'gelu-tanh',
  gelu_fast: 'gelu-tanh',
  gelu_pytorch_tanh: 'gelu-tanh',
  relu: 'relu',
  tanh: 'tanh',
}

/** config.json's fields, with errors that name file and field. */
export class Config {
  readonly #json: Json
  readonly #where: string
  constructor(json: Json, where: string) {
    this.#json = json
    this.#where = where
    for (const [field, allowed] of Object.entries(FIXED)) {
      const value = json[field]
      if (value !== undefined && value !== null && !allowed.includes(value))
        throw new ModelError(`${where}: ${field} ${JSON.stringify(value)} is not supported`)
    }
  }

  has(field: string): boolean {
    return this.#json[field] !== undefined && this.#json[field] !== null
  }
  /** A whole number of at least 1. */
  size(field: string, otherwise?: number): number {
    const value = this.has(field) ? this.#json[field] : otherwise
    if (!Number.isSafeInteger(value) || (value as number) < 1) throw this.#bad(field, value, 'a whole number ≥ 1')
    return value as number
  }
  /** A {@link size}, or two that are the same, as sides of a square are written too. */
  side(field: string, otherwise: number): number {
    const value = this.#json[field]
    if (!Array.isArray(value)) return this.size(field, otherwise)
    const [side] = value
    if (value.length !== 2 || side !== value[1] || !Number.isSafeInteger(side) || side < 1)
      throw this.#bad(field, value, 'one whole number ≥ 1, or the same twice: only squares are supported')
    return side
  }
  /** A number above 0. */
  positive(field: string, otherwise: number): number {
    const value = this.has(field) ? this.#json[field] : otherwise
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
      throw this.#bad(field, value, 'a positive number')
    return value
  }
  flag(field: string, otherwise: boolean): boolean {
    const value = this.has(field) ? this.#json[field] : otherwise
    if (typeof value !== 'boolean') throw this.#bad(field, value, 'true or false')
    return value
  }
  activation(field: string, otherwise: string): Activation {
    const value = this.has(field) ? this.#json[field] : otherwise
    const activation = typeof value === 'string' && Object.hasOwn(ACTIVATIONS, value) ? ACTIVATIONS[value] : undefined
    if (!activation)
      throw new ModelError(
        `${this.#where}: ${field} ${JSON.stringify(value)} is not supported (${Object.keys(ACTIVATIONS).join(', ')})`,
      )
    return activation
  }
  /** Width of a head: `head_dim` where it is given, else width / heads, which must be whole. */
  headWidth(width: number, heads: number): number {
    const headWidth = this.has('head_dim') ? this.size('head_dim') : width / heads
    if (!Number.isInteger(headWidth))
      throw new ModelError(`${this.#where}: a width of ${width} cannot be cut into ${heads} heads`)
    return headWidth
  }
  /** How so many class logits are meant: by `problem_type`, as transformers' pipelines have it. */
  scores(classes: number): ClassScores {
    const problem = this.#json.problem_type
    if (problem === 'regression') return 'none'
    return problem === 'multi_label_classification' || classes === 1 ? 'sigmoid' : 'softmax'
  }
  /** `id2label` in the order of the ids, or undefined where there is none. */
  labels(): readonly string[] | undefined {
    const map = this.#json.id2label
    if (typeof map !== 'object' || map === null) return undefined
    const labels: string[] = []
    for (const [id, label] of Object.entries(map)) labels[Number(id)] = String(label)
    return labels
  }

  #bad(field: string, value: unknown, wanted: string): ModelError {
    return new ModelError(
      `${this.#where}: ${field} is ${value === undefined ? 'missing' : JSON.stringify(value)}, not ${wanted}`,
    )
  }
}
