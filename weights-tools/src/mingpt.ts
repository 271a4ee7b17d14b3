/**
 * Karpathy's minGPT (https://github.com/karpathy/minGPT) as a Hugging Face GPT-2.
 *
 * Names and computation agree; minGPT's Linear weights are [out, in] where GPT-2's Conv1D are [in, out], its causal mask
 * is stored as `attn.bias`, its GELU is the tanh form, and `lm_head` is not tied to the token embedding.
 *
 * Besides state dicts, the JSON form that llm-viz publishes is read: `{ config, "<name>": { shape, dtype, data } }`
 * with base64 of little-endian float32.
 *
 * Letters: V vocabulary, N positions, D width, I inner width of the MLP.
 */
import { type CheckpointTensor, type ConvertedModel, elementsOf, type StateDict, Taker, view } from './checkpoint.js'
import { CheckpointError, ConversionError } from './errors.js'

/** What the weights do not tell. */
export interface MingptOptions {
  /** Heads; needed where the checkpoint comes without its config. */
  heads?: number
}

/** `nn.LayerNorm`'s, which minGPT never changes. */
const LAYER_NORM_EPS = 1e-5

/** Whether these are minGPT's names and layout: fused q, k, v with the rows of a Linear, [3 D, D]. */
export function looksLikeMingpt(tensors: StateDict): boolean {
  const [rows, columns] = tensors.get('transformer.h.0.attn.c_attn.weight')?.shape ?? []
  return rows !== undefined && columns !== undefined && rows === 3 * columns
}

/** Reads llm-viz' JSON form. `heads` comes from its config. Throws `CheckpointError`. */
export function readMingptJson(text: string): { tensors: StateDict; heads: number } {
  let root: unknown
  try {
    root = JSON.parse(text)
  } catch (cause) {
    throw new CheckpointError('the file is no JSON', { cause })
  }
  const { config, ...rest } = isRecord(root) ? root : {}
  const heads = isRecord(config) ? config.n_head : undefined
  if (typeof heads !== 'number') throw new CheckpointError('the JSON file has no config with n_head: no minGPT model')
  return { tensors: new Map(Object.entries(rest).map(([name, entry]) => [name, jsonTensor(name, entry)])), heads }
}

function jsonTensor(name: string, entry: unknown): CheckpointTensor {
  const { shape, dtype, data } = isRecord(entry) ? entry : {}
  if (dtype !== 'torch.float32')
    throw new CheckpointError(`${name}: dtype ${JSON.stringify(dtype)}, expected torch.float32`)
  if (!Array.isArray(shape) || typeof data !== 'string') throw new CheckpointError(`${name}: no shape or no data`)
  // A copy, since Buffer's slice() means something else than Uint8Array's.
  const bytes = Uint8Array.from(Buffer.from(data, 'base64'))
  if (bytes.length !== 4 * elementsOf(shape))
    throw new CheckpointError(`${name}: ${bytes.length} bytes of data for [${shape}]`)
  return view({ dtype: 'F32', length: bytes.length / 4, bytes: () => bytes }, shape)
}

/** Converts the tensors. Throws `ConversionError` where they are another model. */
export function convertMingpt(tensors: StateDict, options: MingptOptions = {}): ConvertedModel {
  const from = new Taker(tensors)
  const [V, D] = from.shape('transformer.wte.weight', 2) as [number, number]
  const [N] = from.shape('transformer.wpe.weight', 2) as [number, number]
  const H = options.heads
  if (H === undefined) throw new ConversionError('a state dict does not tell the number of heads; give it')
  if (!Number.isInteger(D / H)) throw new ConversionError(`a width of ${D} is not ${H} heads`)

  const to = new Map<string, CheckpointTensor>()
  const keep = (name: string, shape: readonly number[]) => to.set(name, view(from.take(name, shape), shape))
  const keepNorm = (name: string) => {
    keep(`${name}.weight`, [D])
    keep(`${name}.bias`, [D])
  }
  const transpose = (name: string, outputs: number, inputs: number) => {
    const weight = from.take(`${name}.weight`, [outputs, inputs]) // [out, in] → [in, out]
    to.set(`${name}.weight`, view(weight, [inputs, outputs], [1, inputs]))
    keep(`${name}.bias`, [outputs])
  }

  keep('transformer.wte.weight', [V, D])
  keep('transformer.wpe.weight', [N, D])
  let layers = 0
  let I = 0
  for (; from.has(`transformer.h.${layers}.ln_1.weight`); layers++) {
    const name = `transformer.h.${layers}`
    keepNorm(`${name}.ln_1`)
    if (from.has(`${name}.attn.bias`)) from.take(`${name}.attn.bias`, [1, 1, N, N]) // the causal mask, a constant
    transpose(`${name}.attn.c_attn`, 3 * D, D)
    transpose(`${name}.attn.c_proj`, D, D)
    keepNorm(`${name}.ln_2`)
    ;[I] = from.shape(`${name}.mlp.c_fc.weight`, 2) as [number, number]
    transpose(`${name}.mlp.c_fc`, I, D)
    transpose(`${name}.mlp.c_proj`, D, I)
  }
  if (layers === 0) throw new ConversionError('the checkpoint has no transformer.h.0.ln_1')
  keepNorm('transformer.ln_f')
  keep('lm_head.weight', [V, D])
  from.finish()

  return {
    tensors: to,
    files: {
      'config.json': {
        activation_function: 'gelu_new',
        architectures: ['GPT2LMHeadModel'],
        attn_pdrop: 0,
        bos_token_id: null,
        embd_pdrop: 0,
        eos_token_id: null,
        layer_norm_epsilon: LAYER_NORM_EPS,
        model_type: 'gpt2',
        n_embd: D,
        n_head: H,
        n_inner: I,
        n_layer: layers,
        n_positions: N,
        resid_pdrop: 0,
        tie_word_embeddings: false,
        vocab_size: V,
      },
    },
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
