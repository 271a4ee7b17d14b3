/**
 * GPT-2: causal pre-LN layers over token and position embeddings; the output matrix is the token embedding.
 *
 * Letters: N rows of a batch on this device, D width, A = H·d attention width, F inner width, V vocabulary.
 */
import { type Activation, add, gather, linear, type Matrix, pack, type Scope, type Tensor } from '@prismal/tensor'
import type { Config, StackShape } from './config.js'
import type { Context } from './context.js'
import { cut, type Part, positionsOf } from './input.js'
import { attend, checkText, type Norm, norm, readNorm } from './layers.js'
import type { Family, Loading } from './load.js'
import type { Model } from './model.js'
import type { WeightReader } from './weights/reader.js'

interface Layer {
  readonly norm1: Norm
  readonly query: Matrix
  readonly keyValue: Matrix
  readonly output: Matrix
  readonly norm2: Norm
  readonly up: Matrix
  readonly down: Matrix
  /** What scores are multiplied by. */
  readonly scale: number
}

export async function loadGpt2({ config, weights, scope, base }: Loading): Promise<Model> {
  const shape = gpt2Shape(config)
  const { width: D, inner: F } = shape
  const A = shape.heads * shape.headWidth
  const eps = config.number('layer_norm_epsilon', 1e-5)
  const activation = config.activation('activation_function', 'gelu_new')
  const vocabularySize = config.size('vocab_size')
  const isTied = config.flag('tie_word_embeddings', true)

  const wte = await weights.tensor('wte.weight', [vocabularySize, D])
  const words = isTied ? pack(scope, wte, 'out,in') : wte // [V, D], packed as [D, V] where it is the head too
  if (isTied) wte.dispose()
  const positions = await weights.tensor('wpe.weight', [shape.positions, D])
  const layers: Layer[] = []
  for (let i = 0; i < shape.layers; i++) {
    const at = (name: string): string => `h.${i}.${name}`
    const [query, keyValue] = await queryAndKeyValue(weights, at('attn.c_attn'), D, A, scope)
    layers.push({
      norm1: await readNorm(weights, at('ln_1'), D, eps),
      query,
      keyValue,
      output: await weights.matrix(at('attn.c_proj'), A, D, 'in,out', true),
      norm2: await readNorm(weights, at('ln_2'), D, eps),
      up: await weights.matrix(at('mlp.c_fc'), D, F, 'in,out', true),
      down: await weights.matrix(at('mlp.c_proj'), F, D, 'in,out', true),
      scale: scoreScale(config, shape.headWidth, i),
    })
  }
  const last = await readNorm(weights, 'ln_f', D, eps)
  const head = isTied ? (words as Matrix) : await untiedHead(weights, D, vocabularySize)

  return {
    ...base,
    shape,
    labels: undefined,
    check: sequence => checkText(sequence, { vocabularySize, typeCount: 1, positions: shape.positions }),
    cut,
    embed: (scope, parts) => embed(scope, parts, words, positions),
    forward: (x, context) => forward(x, layers, shape.heads, activation, context),
    finish: rows => norm(rows, last),
    ...(head && { vocabulary: (rows: Tensor) => linear(rows, head) }),
    headProducts: { ...(head && { vocabulary: [[D, vocabularySize]] }) },
  }
}

/** x [N, D] → the wanted rows [n, D]. */
async function forward(
  x: Tensor,
  layers: readonly Layer[],
  heads: number,
  activation: Activation,
  context: Context,
): Promise<Tensor> {
  for (const [i, layer] of layers.entries())
    x = await x.scope.step(x, async x => {
      const { normed, blocks } = context.keys(i, x, {
        norm: rows => norm(rows, layer.norm1),
        project: rows => linear(rows, layer.keyValue), // [N, D] → [N, 2A]
      })
      const q = linear(context.wanted(i, normed), layer.query) // [n, A]
      const o = await attend(q, blocks, heads, layer.scale) // [n, A]
      const y = linear(o, layer.output, { residual: context.wanted(i, x) }) // [n, D]
      const h = linear(norm(y, layer.norm2), layer.up, { activation }) // [n, F]
      return linear(h, layer.down, { residual: y, out: y }) // [n, D]
    })
  return x
}

/** Words + positions → [rows, D]. Token types are refused before, but for 0, which tokenizers give where there are none. */
function embed(scope: Scope, parts: readonly Part[], words: Tensor | Matrix, positions: Tensor): Tensor {
  const rows = (of: (part: Part) => ArrayLike<number>): number[] => parts.flatMap(p => Array.from(of(p)))
  const tokens = gather(
    scope,
    words,
    rows(p => p.ids as Int32Array),
  )
  const places = gather(scope, positions, rows(positionsOf))
  const x = add(tokens, places)
  tokens.dispose()
  places.dispose()
  return x
}

/** c_attn [D, 3A] → the query's columns, and the keys' and values' side by side. */
async function queryAndKeyValue(
  weights: WeightReader,
  name: string,
  D: number,
  A: number,
  scope: Scope,
): Promise<[Matrix, Matrix]> {
  const weight = await weights.tensor(`${name}.weight`, [D, 3 * A])
  const bias = (await weights.tensor(`${name}.bias`, [3 * A])).reshape([1, 3 * A])
  const part = (from: number, to: number): Matrix => {
    const columns = scope.tensor(weight.slab(from, to).floats(), [D, to - from])
    const matrix = pack(scope, columns, 'in,out', bias.slab(from, to).reshape([to - from]))
    columns.dispose()
    return matrix
  }
  const matrices: [Matrix, Matrix] = [part(0, A), part(A, 3 * A)]
  weight.dispose()
  return matrices
}

async function untiedHead(weights: WeightReader, D: number, V: number): Promise<Matrix | undefined> {
  return weights.has('lm_head.weight') ? weights.matrix('lm_head', D, V, 'out,in', false) : undefined
}

function scoreScale(config: Config, headWidth: number, layer: number): number {
  const scale = config.flag('scale_attn_weights', true) ? 1 / Math.sqrt(headWidth) : 1
  return config.flag('scale_attn_by_inverse_layer_idx', false) ? scale / (layer + 1) : scale
}

function gpt2Shape(config: Config): StackShape {
  const width = config.size('n_embd')
  const heads = config.size('n_head')
  return {
    layers: config.size('n_layer'),
    width,
    heads,
    headWidth: config.headWidth(width, heads),
    inner: config.size('n_inner', 4 * width),
    causal: true,
    positions: config.size('n_positions', 1024),
    patchWidth: 0,
    prefixRows: 0,
  }
}

export const gpt2: Family = {
  load: loadGpt2,
  shape: gpt2Shape,
  naming: {
    prefixes: ['transformer.'],
    ignored: [/\.attn\.(bias|masked_bias)$/, /position_ids$/, /^lm_head\.weight$/],
  },
}
