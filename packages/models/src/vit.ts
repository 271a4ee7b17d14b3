/**
 * The vision transformer (arXiv 2010.11929): pre-LN layers over CLS and image patches.
 *
 * Letters: N rows of a batch on this device, D width, A = H·d attention width, F inner width, C·P² values of a patch.
 */
import { type Activation, add, gather, linear, type Matrix, type Scope, type Tensor } from '@prismal/tensor'
import type { Config, StackShape } from './config.js'
import type { Context } from './context.js'
import { InputError, ModelError } from './errors.js'
import type { Pixels } from './image/preprocess.js'
import { cut, type Part, positionsOf } from './input.js'
import { attend, type Norm, norm, readNorm } from './layers.js'
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
}

export interface VitShape extends StackShape {
  readonly channels: number
  readonly imageSize: number
  readonly patchSize: number
}

export function loadVit({ config, weights, base }: Loading): Unread {
  const shape = vitShape(config)
  const { width: D, inner: F, heads: H, headWidth: d, patchWidth } = shape
  const A = H * d
  const eps = config.positive('layer_norm_eps', 1e-12)
  const activation = config.activation('hidden_act', 'gelu')
  const qkvBias = config.flag('qkv_bias', true)

  const cls = weights.tensor('embeddings.cls_token', [1, 1, D])
  const table = weights.tensor('embeddings.position_embeddings', [1, shape.positions, D])
  const patches = patchMatrix(weights, shape)
  const layers: Layer[] = []
  for (let i = 0; i < shape.layers; i++) {
    const at = (name: string): string => `encoder.layer.${i}.${name}`
    const attention = (name: string): string => at(`attention.attention.${name}`)
    layers.push({
      norm1: readNorm(weights, at('layernorm_before'), D, eps),
      query: weights.matrix(attention('query'), { k: D, n: A, bias: qkvBias }),
      keyValue: weights.matrix([attention('key'), attention('value')], { k: D, n: A, bias: qkvBias }),
      output: weights.matrix(at('attention.output.dense'), { k: A, n: D }),
      norm2: readNorm(weights, at('layernorm_after'), D, eps),
      up: weights.matrix(at('intermediate.dense'), { k: D, n: F }),
      down: weights.matrix(at('output.dense'), { k: F, n: D }),
    })
  }
  const last = readNorm(weights, 'layernorm', D, eps)
  const pooled = weights.shape('pooler.dense.weight')?.[0]
  const pooler = pooled ? weights.matrix('pooler.dense', { k: D, n: pooled }) : undefined
  const poolerActivation = config.activation('pooler_act', 'tanh')
  const classes = weights.shape('classifier.weight')?.[0]
  const classifier = classes ? weights.matrix('classifier', { k: D, n: classes }) : undefined
  const positions = table.reshape([shape.positions, D])

  return {
    ...base,
    shape,
    labels: classifier && config.labels(),
    ...(classes && { scores: config.scores(classes) }),
    check: sequence => checkImage(sequence, shape),
    cut: (sequence, from, to) => cut(sequence, from, to, shape.prefixRows, patchWidth),
    embed: (scope, parts) => embed(scope, parts, cls.reshape([1, D]), positions, patches),
    forward: (x, context) => forward(x, layers, shape, activation, context),
    finish: rows => norm(rows, last),
    ...(pooler && { pool: (rows: Tensor) => linear(rows, pooler, { activation: poolerActivation }) }),
    ...(classifier && { classify: (rows: Tensor) => linear(rows, classifier) }),
    headProducts: { ...(pooled && { pool: [[D, pooled]] }), ...(classes && { classify: [[D, classes]] }) },
  }
}

/** x [N, D] → the wanted rows [n, D]. */
async function forward(
  x: Tensor,
  layers: readonly Layer[],
  shape: VitShape,
  activation: Activation,
  context: Context,
): Promise<Tensor> {
  const scale = 1 / Math.sqrt(shape.headWidth)
  for (const [i, layer] of layers.entries())
    x = await x.scope.step(x, async x => {
      const { normed, blocks } = context.keys(i, x, {
        norm: rows => norm(rows, layer.norm1),
        project: rows => linear(rows, layer.keyValue), // [N, D] → [N, 2A]
      })
      const q = linear(context.wanted(i, normed), layer.query) // [n, A]
      const o = await attend(q, blocks, shape.heads, scale) // [n, A]
      const y = linear(o, layer.output, { residual: context.wanted(i, x) }) // [n, D]
      const h = linear(norm(y, layer.norm2), layer.up, { activation }) // [n, F]
      return linear(h, layer.down, { residual: y, out: y }) // [n, D]
    })
  return x
}

/** CLS and patches of each part, plus their positions → [rows, D]. */
function embed(scope: Scope, parts: readonly Part[], cls: Tensor, positions: Tensor, projection: Matrix): Tensor {
  // Every row starts as its position; what the row stands for is added to it.
  const x = gather(
    scope,
    positions,
    parts.flatMap(p => [...positionsOf(p)]),
  )
  let start = 0
  for (const part of parts) {
    const count = part.to - part.from
    const prefix = part.from === 0 && count > 0 ? 1 : 0
    if (prefix) {
      const sum = add(x.slice(start, start + 1), cls)
      x.write(sum.floats(), start)
      sum.dispose()
    }
    if (count > prefix) {
      const pixels = scope.tensor(part.patches as Float32Array, [count - prefix, projection.k])
      const target = x.slice(start + prefix, start + count)
      linear(pixels, projection, { residual: target, out: target })
      pixels.dispose()
    }
    start += count
  }
  return x
}

/**
 * pixels [C, S, S] → patches [(S/P)², C·P²], in raster order, as the patch convolution reads them. Throws {@link InputError}
 * for another number of pixels, and where sides are given for other sides.
 */
export function patchify(image: Float32Array | Pixels, shape: VitShape): Part {
  const { channels: C, imageSize: S, patchSize: P } = shape
  const { pixels, height, width } = image instanceof Float32Array ? { pixels: image, height: S, width: S } : image
  if (height !== S || width !== S)
    throw new InputError(`an image of ${height}×${width} pixels was given; the model takes ${S}×${S}`)
  if (pixels.length !== C * S * S)
    throw new InputError(`an image of ${pixels.length} values was given; the model takes [${C},${S},${S}]`)
  const grid = S / P
  const patches = new Float32Array(pixels.length)
  let at = 0
  for (let gy = 0; gy < grid; gy++)
    for (let gx = 0; gx < grid; gx++)
      for (let c = 0; c < C; c++)
        for (let y = 0; y < P; y++) {
          const from = (c * S + gy * P + y) * S + gx * P
          patches.set(pixels.subarray(from, from + P), at)
          at += P
        }
  return { from: 0, to: grid * grid + 1, patches }
}

function vitShape(config: Config): VitShape {
  const width = config.size('hidden_size')
  const heads = config.size('num_attention_heads')
  const imageSize = config.side('image_size', 224)
  const patchSize = config.side('patch_size', 16)
  const channels = config.size('num_channels', 3)
  if (imageSize % patchSize !== 0)
    throw new ModelError(`config.json: images of ${imageSize} pixels cannot be cut into patches of ${patchSize}`)
  return {
    layers: config.size('num_hidden_layers'),
    width,
    heads,
    headWidth: config.headWidth(width, heads),
    inner: config.size('intermediate_size'),
    causal: false,
    positions: (imageSize / patchSize) ** 2 + 1,
    patchWidth: channels * patchSize ** 2,
    prefixRows: 1,
    patchGrid: [imageSize / patchSize, imageSize / patchSize],
    channels,
    imageSize,
    patchSize,
  }
}

function patchMatrix(weights: WeightReader, shape: VitShape): Matrix {
  const { width: D, channels: C, patchSize: P } = shape
  const stem = 'embeddings.patch_embeddings.projection'
  const bias = weights.has(`${stem}.bias`)
  return weights.matrix(stem, { k: C * P * P, n: D, stored: [D, C, P, P], bias })
}

function checkImage(sequence: Part, shape: VitShape): void {
  const count = (sequence.patches?.length ?? 0) / shape.patchWidth
  if (sequence.to !== shape.positions || count !== shape.positions - 1)
    throw new InputError(
      `an image of ${count} patches was given; the model takes ${shape.positions - 1} (${shape.imageSize}×${shape.imageSize} pixels)`,
    )
}

export const vit: Family = {
  load: loadVit,
  shape: vitShape,
  naming: {
    prefixes: ['vit.'],
    ignored: [/^embeddings\.mask_token$/, /position_ids$/],
  },
}
