/**
 * A ViT with lucidrains' `vit-pytorch` names (https://github.com/lucidrains/vit-pytorch, the pre-LN ViT up to 0.35 and
 * the many copies of it) as a Hugging Face ViT.
 *
 * Both compute the same; they differ in names, in fused q, k and v, and in how a patch is laid out: (p1 p2 c) there,
 * [C, P, P] here. Heads may be wider than D / H: `head_dim` says so. Not in the weights, and so to be given where it
 * differs from that library's default: the activation, the number of heads, mean pooling (which is not supported).
 *
 * Letters: N rows, D width, H heads of width d, I inner width of the MLP, C channels, P patch side.
 */
import { type CheckpointTensor, type ConvertedModel, type StateDict, Taker, view } from './checkpoint.js'
import { ConversionError } from './errors.js'

/** What the weights do not tell. */
export interface VitPytorchOptions {
  /** Heads H. Default: as many of width 64 as fit, which is what `dim_head=64` makes. */
  heads?: number
  /** Default `gelu` (exact), the library's. */
  activation?: 'gelu' | 'relu'
  /** Default: the mean and standard deviation of 0.5 that transformers assumes. One value per channel. */
  imageMean?: readonly number[]
  imageStd?: readonly number[]
  /** Names of the classes. Default: their numbers. */
  labels?: readonly string[]
}

const DEFAULT_HEAD_WIDTH = 64
/** `nn.LayerNorm`'s, which the library never changes. */
const LAYER_NORM_EPS = 1e-5
const BILINEAR = 2

/** Whether these are that library's names. */
export function looksLikeVitPytorch(tensors: StateDict): boolean {
  return tensors.has('to_patch_embedding.1.weight')
}

/** Converts the tensors. Throws `ConversionError` where they are another variant. */
export function convertVitPytorch(tensors: StateDict, options: VitPytorchOptions = {}): ConvertedModel {
  const from = new Taker(tensors)
  if (tensors.get('to_patch_embedding.1.weight')?.shape.length === 1)
    throw new ConversionError(
      'to_patch_embedding.1 is a LayerNorm over pixels (vit-pytorch 0.36 and newer), which a Hugging Face ViT does not have',
    )
  const [D, patchLength] = from.shape('to_patch_embedding.1.weight', 2) as [number, number]
  const { channels: C, patchSize: P } = patchOf(patchLength)
  const [, N] = from.shape('pos_embedding', 3) as [number, number, number]
  const imageSize = P * Math.sqrt(N - 1)
  if (!Number.isInteger(imageSize))
    throw new ConversionError(`${N} positions are not a square of patches and a class token`)

  const to = new Map<string, CheckpointTensor>()
  const keep = (name: string, source: string, shape: readonly number[]) =>
    to.set(name, view(from.take(source, shape), shape))
  const keepAffine = (name: string, source: string, shape: readonly number[]) => {
    keep(`${name}.weight`, `${source}.weight`, shape)
    keep(`${name}.bias`, `${source}.bias`, shape.slice(0, 1))
  }

  keep('vit.embeddings.cls_token', 'cls_token', [1, 1, D])
  keep('vit.embeddings.position_embeddings', 'pos_embedding', [1, N, D])
  const projection = 'vit.embeddings.patch_embeddings.projection'
  const patches = from.take('to_patch_embedding.1.weight', [D, patchLength])
  to.set(`${projection}.weight`, view(patches, [D, C, P, P], [patchLength, 1, P * C, C])) // [D, P P C] → [D, C, P, P]
  keep(`${projection}.bias`, 'to_patch_embedding.1.bias', [D])

  let layers = 0
  let attentionWidth = 0 // H d
  let I = 0
  for (; from.has(`transformer.layers.${layers}.0.norm.weight`); layers++) {
    const source = `transformer.layers.${layers}`
    const name = `vit.encoder.layer.${layers}`
    const [fused] = from.shape(`${source}.0.fn.to_qkv.weight`, 2) as [number, number]
    attentionWidth = fused / 3
    if (!Number.isInteger(attentionWidth))
      throw new ConversionError(`${source}.0.fn.to_qkv has ${fused} rows, not 3 H d`)
    const qkv = from.take(`${source}.0.fn.to_qkv.weight`, [fused, D]) // [3 H d, D] → q, k, v
    for (const [part, projected] of ['query', 'key', 'value'].entries())
      to.set(
        `${name}.attention.attention.${projected}.weight`,
        view(qkv, [attentionWidth, D], [D, 1], part * attentionWidth * D),
      )
    keepAffine(`${name}.attention.output.dense`, `${source}.0.fn.to_out.0`, [D, attentionWidth])
    keepAffine(`${name}.layernorm_before`, `${source}.0.norm`, [D])
    keepAffine(`${name}.layernorm_after`, `${source}.1.norm`, [D])
    ;[I] = from.shape(`${source}.1.fn.net.0.weight`, 2) as [number, number]
    keepAffine(`${name}.intermediate.dense`, `${source}.1.fn.net.0`, [I, D])
    keepAffine(`${name}.output.dense`, `${source}.1.fn.net.3`, [D, I])
  }
  if (layers === 0) throw new ConversionError('the checkpoint has no transformer.layers.0.0.norm')

  const [classes] = from.shape('mlp_head.1.weight', 2) as [number, number]
  keepAffine('vit.layernorm', 'mlp_head.0', [D])
  keepAffine('classifier', 'mlp_head.1', [classes, D])
  from.finish()

  const H = options.heads ?? attentionWidth / DEFAULT_HEAD_WIDTH
  if (!Number.isInteger(H) || H < 1 || !Number.isInteger(attentionWidth / H))
    throw new ConversionError(`attention is ${attentionWidth} wide, which is not ${H} heads; give their number`)
  const mean = options.imageMean ?? new Array<number>(C).fill(0.5)
  const std = options.imageStd ?? new Array<number>(C).fill(0.5)
  const labels = options.labels ?? Array.from({ length: classes }, (_, i) => String(i))
  if (mean.length !== C || std.length !== C)
    throw new ConversionError(`the model has ${C} channels, the mean ${mean.length} and the deviation ${std.length}`)
  if (!std.every(value => value > 0))
    throw new ConversionError(`the standard deviations are ${std.join(', ')}: pixels are divided by them`)
  if (labels.length !== classes)
    throw new ConversionError(`the model has ${classes} classes, ${labels.length} are named`)

  return {
    tensors: to,
    files: {
      'config.json': {
        architectures: ['ViTForImageClassification'],
        attention_probs_dropout_prob: 0,
        head_dim: attentionWidth / H,
        hidden_act: options.activation ?? 'gelu',
        hidden_dropout_prob: 0,
        hidden_size: D,
        id2label: Object.fromEntries(labels.map((label, i) => [i, label])),
        image_size: imageSize,
        intermediate_size: I,
        label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
        layer_norm_eps: LAYER_NORM_EPS,
        model_type: 'vit',
        num_attention_heads: H,
        num_channels: C,
        num_hidden_layers: layers,
        patch_size: P,
        qkv_bias: false,
      },
      'preprocessor_config.json': {
        do_normalize: true,
        do_rescale: true,
        do_resize: true,
        image_mean: mean,
        image_processor_type: 'ViTImageProcessor',
        image_std: std,
        resample: BILINEAR,
        rescale_factor: 1 / 255,
        size: { height: imageSize, width: imageSize },
      },
    },
  }
}

// A patch is P · P · C numbers. No number is a square and three squares, so that gray and colour cannot be confused.
function patchOf(patchLength: number): { channels: number; patchSize: number } {
  for (const channels of [1, 3]) {
    const patchSize = Math.sqrt(patchLength / channels)
    if (Number.isInteger(patchSize)) return { channels, patchSize }
  }
  throw new ConversionError(`patches of ${patchLength} numbers are neither gray nor RGB squares`)
}
