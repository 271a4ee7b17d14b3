/**
 * BERT (arXiv 1810.04805): post-LN layers over token, type and position embeddings.
 *
 * Letters: N rows of a batch on this device, D width, A = H·d attention width, F inner width, V vocabulary.
 */
import { type Activation, add, gather, linear, type Matrix, type Scope, type Tensor, tanh } from '@prismal/tensor'
import type { Config, StackShape } from './config.js'
import type { Context } from './context.js'
import { cut, type Part, positionsOf } from './input.js'
import { attend, checkText, type Norm, norm, readNorm } from './layers.js'
import type { Family, Loading, Unread } from './load.js'
import type { Model } from './model.js'
import type { WeightReader } from './weights/reader.js'

interface Layer {
  readonly query: Matrix
  readonly keyValue: Matrix
  readonly output: Matrix
  readonly norm1: Norm
  readonly up: Matrix
  readonly down: Matrix
  readonly norm2: Norm
}

interface Embeddings {
  /** [V, D], or packed [D, V] where the vocabulary head shares it. */
  readonly words: Tensor | Matrix
  readonly types: Tensor
  readonly positions: Tensor
  readonly norm: Norm
}

export function loadBert({ config, weights, base }: Loading): Unread {
  const shape = bertShape(config)
  const { width: D, inner: F, heads: H, headWidth: d } = shape
  const A = H * d
  const eps = config.positive('layer_norm_eps', 1e-12)
  const activation = config.activation('hidden_act', 'gelu')
  const vocabularySize = config.size('vocab_size')
  const typeCount = config.size('type_vocab_size', 2)

  const isMasked = weights.has('cls.predictions.transform.dense.weight')
  const isTied = isMasked && config.flag('tie_word_embeddings', true)
  const words = 'embeddings.word_embeddings'
  const tied = isTied ? weights.matrix(words, { k: D, n: vocabularySize, bias: 'cls.predictions.bias' }) : undefined
  // A table as large as the layers: as a matrix it is stored in fewer bits.
  const table = (): Tensor | Matrix =>
    weights.precision === 'f32'
      ? weights.tensor(`${words}.weight`, [vocabularySize, D])
      : weights.matrix(words, { k: D, n: vocabularySize, bias: false })
  const embeddings: Embeddings = {
    words: tied ?? table(),
    types: weights.tensor('embeddings.token_type_embeddings.weight', [typeCount, D]),
    positions: weights.tensor('embeddings.position_embeddings.weight', [shape.positions, D]),
    norm: readNorm(weights, 'embeddings.LayerNorm', D, eps),
  }
  const layers: Layer[] = []
  for (let i = 0; i < shape.layers; i++) {
    const at = (name: string): string => `encoder.layer.${i}.${name}`
    layers.push({
      query: weights.matrix(at('attention.self.query'), { k: D, n: A }),
      keyValue: weights.matrix([at('attention.self.key'), at('attention.self.value')], { k: D, n: A }),
      output: weights.matrix(at('attention.output.dense'), { k: A, n: D }),
      norm1: readNorm(weights, at('attention.output.LayerNorm'), D, eps),
      up: weights.matrix(at('intermediate.dense'), { k: D, n: F }),
      down: weights.matrix(at('output.dense'), { k: F, n: D }),
      norm2: readNorm(weights, at('output.LayerNorm'), D, eps),
    })
  }
  const decoder = isMasked ? (tied ?? untiedDecoder(weights, D, vocabularySize)) : undefined
  const heads = readHeads(weights, config, D, eps, decoder, activation)

  return {
    ...base,
    shape,
    labels: heads.classify && config.labels(),
    check: sequence => checkText(sequence, { vocabularySize, typeCount, positions: shape.positions }),
    cut,
    embed: (scope, parts) => embed(scope, parts, embeddings),
    forward: (x, context) => forward(x, layers, shape, activation, context),
    finish: rows => rows,
    ...heads,
  }
}

/** x [N, D] → the wanted rows [n, D]. */
async function forward(
  x: Tensor,
  layers: readonly Layer[],
  shape: StackShape,
  activation: Activation,
  context: Context,
): Promise<Tensor> {
  const scale = 1 / Math.sqrt(shape.headWidth)
  for (const [i, layer] of layers.entries())
    x = await x.scope.step(x, async x => {
      const { normed, blocks } = context.keys(i, x, {
        norm: rows => rows, // post-LN: the block input is normed already
        project: rows => linear(rows, layer.keyValue), // [N, D] → [N, 2A]
      })
      const q = linear(context.wanted(i, normed), layer.query) // [n, A]
      const o = await attend(q, blocks, shape.heads, scale) // [n, A]
      const y = norm(linear(o, layer.output, { residual: context.wanted(i, x) }), layer.norm1) // [n, D]
      const h = linear(y, layer.up, { activation }) // [n, F]
      return norm(linear(h, layer.down, { residual: y }), layer.norm2) // [n, D]
    })
  return x
}

/** Words + types + positions, normed → [rows, D]. */
function embed(scope: Scope, parts: readonly Part[], embeddings: Embeddings): Tensor {
  const rows = (of: (part: Part) => ArrayLike<number>): number[] => parts.flatMap(p => Array.from(of(p)))
  const words = gather(
    scope,
    embeddings.words,
    rows(p => p.ids as Int32Array),
  )
  const types = gather(
    scope,
    embeddings.types,
    rows(p => p.types ?? new Int32Array(p.to - p.from)),
  )
  const positions = gather(scope, embeddings.positions, rows(positionsOf))
  const sum = add(add(words, types), positions)
  const x = norm(sum, embeddings.norm)
  for (const used of [words, types, positions, sum]) used.dispose()
  return x
}

type Heads = Pick<Model, 'pool' | 'classify' | 'scores' | 'vocabulary' | 'headProducts'>

/** The matrix of a vocabulary head that does not share the words'; its bias is stored with it, or beside it. */
function untiedDecoder(weights: WeightReader, D: number, V: number): Matrix {
  const stem = 'cls.predictions.decoder'
  const bias = weights.has(`${stem}.bias`) ? `${stem}.bias` : 'cls.predictions.bias'
  return weights.matrix(stem, { k: D, n: V, bias })
}

function readHeads(
  weights: WeightReader,
  config: Config,
  D: number,
  eps: number,
  decoder: Matrix | undefined,
  activation: Activation,
): Heads {
  const square = [D, D] as const
  let heads: Heads = { headProducts: {} }
  if (weights.has('pooler.dense.weight')) {
    const pooler = weights.matrix('pooler.dense', { k: D, n: D })
    const pool = (rows: Tensor): Tensor => tanh(linear(rows, pooler))
    heads = { pool, headProducts: { pool: [square] } }
    const classes = weights.shape('classifier.weight')?.[0]
    if (classes) {
      const classifier = weights.matrix('classifier', { k: D, n: classes })
      heads = {
        pool,
        classify: rows => linear(pool(rows), classifier),
        scores: config.scores(classes),
        headProducts: { pool: [square], classify: [square, [D, classes]] },
      }
    }
  }
  if (decoder) {
    const transform = weights.matrix('cls.predictions.transform.dense', { k: D, n: D })
    const transformNorm = readNorm(weights, 'cls.predictions.transform.LayerNorm', D, eps)
    heads = {
      ...heads,
      vocabulary: rows => linear(norm(linear(rows, transform, { activation }), transformNorm), decoder),
      headProducts: { ...heads.headProducts, vocabulary: [square, [D, decoder.n]] },
    }
  }
  return heads
}

function bertShape(config: Config): StackShape {
  const width = config.size('hidden_size')
  const heads = config.size('num_attention_heads')
  return {
    layers: config.size('num_hidden_layers'),
    width,
    heads,
    headWidth: config.headWidth(width, heads),
    inner: config.size('intermediate_size'),
    causal: false,
    positions: config.size('max_position_embeddings', 512),
    patchWidth: 0,
    prefixRows: 0,
  }
}

export const bert: Family = {
  load: loadBert,
  shape: bertShape,
  naming: {
    prefixes: ['bert.'],
    ignored: [
      /position_ids$/,
      /token_type_ids$/,
      /^cls\.predictions\.(bias|decoder\.(weight|bias))$/,
      /^cls\.seq_relationship\./,
    ],
  },
}
