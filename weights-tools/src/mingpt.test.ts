import { describe, expect, it } from 'vitest'
import { sharedFolder } from '../../test/shared-folder.js'
import { contiguousBytes, elementsOf, type StateDict } from './checkpoint.js'
import { convert } from './convert.js'
import { CheckpointError, ConversionError } from './errors.js'
import { convertMingpt, looksLikeMingpt, readMingptJson } from './mingpt.js'

// V 3, N 5, D 4, I 6, one layer.
const layer = 'transformer.h.0'
const SHAPES: Record<string, number[]> = {
  'transformer.wte.weight': [3, 4],
  'transformer.wpe.weight': [5, 4],
  [`${layer}.ln_1.weight`]: [4],
  [`${layer}.ln_1.bias`]: [4],
  [`${layer}.attn.bias`]: [1, 1, 5, 5],
  [`${layer}.attn.c_attn.weight`]: [12, 4],
  [`${layer}.attn.c_attn.bias`]: [12],
  [`${layer}.attn.c_proj.weight`]: [4, 4],
  [`${layer}.attn.c_proj.bias`]: [4],
  [`${layer}.ln_2.weight`]: [4],
  [`${layer}.ln_2.bias`]: [4],
  [`${layer}.mlp.c_fc.weight`]: [6, 4],
  [`${layer}.mlp.c_fc.bias`]: [6],
  [`${layer}.mlp.c_proj.weight`]: [4, 6],
  [`${layer}.mlp.c_proj.bias`]: [4],
  'transformer.ln_f.weight': [4],
  'transformer.ln_f.bias': [4],
  'lm_head.weight': [3, 4],
}
const counted = (shape: number[], first: number) =>
  Float32Array.from({ length: elementsOf(shape) }, (_, i) => first + i)
const first = (name: string) => 1000 * Object.keys(SHAPES).indexOf(name)
const json = (change: Record<string, unknown> = {}) =>
  JSON.stringify({
    config: { n_head: 2 },
    ...Object.fromEntries(
      Object.entries(SHAPES).map(([name, shape]) => {
        const data = Buffer.from(counted(shape, first(name)).buffer).toString('base64')
        return [name, { shape, dtype: 'torch.float32', data }]
      }),
    ),
    ...change,
  })
const values = (tensors: StateDict, name: string) => [
  ...new Float32Array(contiguousBytes(tensors.get(name)!).slice().buffer),
]

describe('minGPT to Hugging Face GPT-2', () => {
  const { tensors: source, heads } = readMingptJson(json())
  const { tensors, files } = convertMingpt(source, { heads })

  it('is told apart by the layout of its fused weights', () => {
    expect(looksLikeMingpt(source)).toBe(true)
    expect(looksLikeMingpt(tensors)).toBe(false)
  })

  it('reads the sizes off the shapes', () => {
    expect(files['config.json']).toMatchObject({
      model_type: 'gpt2',
      n_embd: 4,
      n_head: 2,
      n_inner: 6,
      n_layer: 1,
      n_positions: 5,
      vocab_size: 3,
      activation_function: 'gelu_new',
      tie_word_embeddings: false,
    })
  })

  it.each(['attn.c_attn', 'attn.c_proj', 'mlp.c_fc', 'mlp.c_proj'])('transposes %s to [in, out]', part => {
    const name = `${layer}.${part}.weight`
    const [outputs, inputs] = SHAPES[name] as [number, number]
    const wanted = Array.from({ length: inputs * outputs }, (_, i) => {
      const [input, output] = [Math.floor(i / outputs), i % outputs]
      return first(name) + output * inputs + input
    })
    expect(tensors.get(name)?.shape).toEqual([inputs, outputs])
    expect(values(tensors, name)).toEqual(wanted)
  })

  it('keeps everything else, and only leaves out the causal mask', () => {
    expect([...tensors.keys()].sort()).toEqual(
      Object.keys(SHAPES)
        .filter(name => name !== `${layer}.attn.bias`)
        .sort(),
    )
    for (const name of ['transformer.wte.weight', 'transformer.wpe.weight', 'transformer.ln_f.bias', 'lm_head.weight'])
      expect(values(tensors, name)).toEqual([...counted(SHAPES[name]!, first(name))])
  })

  it('refuses what it does not know', () => {
    expect(() => convertMingpt(source)).toThrow(/does not tell the number of heads/)
    expect(() => convertMingpt(source, { heads: 3 })).toThrow(/a width of 4 is not 3 heads/)
    const extra = new Map([...source, ['rotary.weight', source.get('lm_head.weight')!]])
    expect(() => convertMingpt(extra, { heads })).toThrow(
      new ConversionError('no place in the model for 1 tensor of the checkpoint: rotary.weight'),
    )
  })

  it.each<[string, string]>([
    ['no JSON', '{"config": '],
    ['no config', '{}'],
    ['an array', '[]'],
    ['another dtype', json({ 'lm_head.weight': { shape: [1], dtype: 'torch.float16', data: 'AAA=' } })],
    ['too few bytes', json({ 'lm_head.weight': { shape: [2], dtype: 'torch.float32', data: 'AAAAAA==' } })],
    ['a shape of strings', json({ 'lm_head.weight': { shape: ['1'], dtype: 'torch.float32', data: 'AAAAAA==' } })],
    ['no data', json({ 'lm_head.weight': { shape: [1], dtype: 'torch.float32' } })],
    ['null for a tensor', json({ 'lm_head.weight': null })],
  ])('refuses JSON with %s', (_, text) => {
    expect(() => readMingptJson(text)).toThrow(CheckpointError)
  })
})

const folder = sharedFolder('data/gpt-nano-sort')
const SHARED = `${folder}/gpt-nano-sort-model.json`

describe.skipIf(!folder)('the sorting model in ../shared/data', () => {
  it('is recognised and converted whole', () => {
    const { model, source } = convert(SHARED)
    expect(source).toBe('mingpt')
    expect(model.files['config.json']).toMatchObject({
      n_layer: 3,
      n_head: 3,
      n_embd: 48,
      vocab_size: 3,
      n_positions: 11,
    })
    expect(model.tensors.size).toBe(41)
  })
})
