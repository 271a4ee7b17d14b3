/**
 * GPT-2: causal pre-LN layers over token and position embeddings; the output matrix is the token embedding.
 *
 * Letters: N rows of a batch on this device, D width, A = H·d attention width, F inner width, V vocabulary.
 */
import { type Activation, add, gather, linear, type Matrix, type Scope, type Tensor } from '@prismal/tensor'
import type { Config, StackShape } from './config.js'
import type { Context } from './context.js'
import { cut, type Part, positionsOf } from './input.js'
import { attend, checkText, type Norm, norm, readNorm } from './layers.js'
import type { Family, Loading, Unread } from './load.js'
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

export function loadGpt2({ config, weights, base }: Loading): Unread {
  const shape = gpt2Shape(config)
  const { width: D, inner: F } = shape
  const A = shape.heads * shape.headWidth
  const eps = config.positive('layer_norm_epsilon', 1e-5)
  const activation = config.activation('activation_function', 'gelu_new')
  const vocabularySize = config.size('vocab_size')
  const isTied = config.flag('tie_word_embeddings', true)

  // [V, D], packed as [D, V] where it is the head too, under whose name alone some tools store it.
  const stored = !weights.has('wte.weight') && weights.has('lm_head.weight') ? 'lm_head' : 'wte'
  const tied = isTied ? weights.matrix(stored, { k: D, n: vocabularySize, bias: false }) : undefined
  const words = tied ?? weights.tensor('wte.weight', [vocabularySize, D])
  const positions = weights.tensor('wpe.weight', [shape.positions, D])
  const layers: Layer[] = []
  for (let i = 0; i < shape.layers; i++) {
    const at = (name: string): string => `h.${i}.${name}`
    layers.push({
      norm1: readNorm(weights, at('ln_1'), D, eps),
      // c_attn [D, 3A] → the query's columns, and the keys' and values' side by side.
      query: weights.matrix(at('attn.c_attn'), { k: D, n: A, layout: 'in,out', columns: { from: 0, of: 3 * A } }),
      keyValue: weights.matrix(at('attn.c_attn'), {
        k: D,
        n: 2 * A,
        layout: 'in,out',
        columns: { from: A, of: 3 * A },
      }),
      output: weights.matrix(at('attn.c_proj'), { k: A, n: D, layout: 'in,out' }),
      norm2: readNorm(weights, at('ln_2'), D, eps),
      up: weights.matrix(at('mlp.c_fc'), { k: D, n: F, layout: 'in,out' }),
      down: weights.matrix(at('mlp.c_proj'), { k: F, n: D, layout: 'in,out' }),
      scale: scoreScale(config, shape.headWidth, i),
    })
  }
  const last = readNorm(weights, 'ln_f', D, eps)
  const head = tied ?? untiedHead(weights, D, vocabularySize)

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

function untiedHead(weights: WeightReader, D: number, V: number): Matrix | undefined {
  return weights.has('lm_head.weight') ? weights.matrix('lm_head', { k: D, n: V, bias: false }) : undefined
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
