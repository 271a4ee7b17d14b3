import { describe, expect, it } from 'vitest'
import { Config } from './config.js'
import { ModelError } from './errors.js'
import { shapeOf } from './families.js'

const BERT = {
  model_type: 'bert',
  hidden_size: 24,
  num_attention_heads: 3,
  num_hidden_layers: 2,
  intermediate_size: 48,
  max_position_embeddings: 64,
  vocab_size: 100,
}
const GPT2 = { model_type: 'gpt2', n_embd: 24, n_head: 3, n_layer: 2, n_positions: 64, vocab_size: 100 }
const VIT = {
  model_type: 'vit',
  hidden_size: 24,
  num_attention_heads: 3,
  num_hidden_layers: 2,
  intermediate_size: 48,
  image_size: 32,
  patch_size: 8,
}
const without = (json: object, field: string): object =>
  Object.fromEntries(Object.entries(json).filter(([name]) => name !== field))
const refused = (json: object): string => {
  try {
    shapeOf(json as Record<string, unknown>, 'folder/config.json')
  } catch (error) {
    expect(error).toBeInstanceOf(ModelError)
    expect((error as ModelError).code).toBe('bad-model')
    return (error as ModelError).message
  }
  throw new Error(`${JSON.stringify(json)} was taken`)
}

describe('the shape of a stack', () => {
  it('of BERT, GPT-2 and ViT', () => {
    const common = { layers: 2, width: 24, heads: 3, headWidth: 8 }
    expect(shapeOf(BERT)).toEqual({ ...common, inner: 48, causal: false, positions: 64, patchWidth: 0, prefixRows: 0 })
    expect(shapeOf(GPT2)).toEqual({ ...common, inner: 96, causal: true, positions: 64, patchWidth: 0, prefixRows: 0 })
    const vit = {
      channels: 3,
      imageSize: 32,
      patchSize: 8,
      patchWidth: 192,
      prefixRows: 1,
      positions: 17,
      patchGrid: [4, 4],
    }
    expect(shapeOf(VIT)).toEqual({ ...common, ...vit, inner: 48, causal: false })
  })

  it('with the defaults of transformers where a field is missing or null', () => {
    expect(shapeOf({ ...GPT2, n_inner: null, n_positions: null })).toMatchObject({ inner: 96, positions: 1024 })
    expect(shapeOf(without(BERT, 'max_position_embeddings') as typeof BERT)).toMatchObject({ positions: 512 })
    expect(shapeOf(without(VIT, 'patch_size') as typeof VIT)).toMatchObject({ patchSize: 16, positions: 5 })
  })

  it('with heads of their own width', () => {
    expect(shapeOf({ ...VIT, head_dim: 64 })).toMatchObject({ width: 24, heads: 3, headWidth: 64 })
    expect(refused({ ...VIT, head_dim: 0 })).toBe('folder/config.json: head_dim is 0, not a whole number ≥ 1')
    expect(refused({ ...BERT, num_attention_heads: 5 })).toBe(
      'folder/config.json: a width of 24 cannot be cut into 5 heads',
    )
  })
})

describe('what is refused, by name', () => {
  it.each(['roberta', 'llama', '', null, undefined, 7, 'toString', '__proto__'])('model_type %j', type => {
    const named = JSON.stringify(type) ?? '(missing)'
    expect(refused({ ...BERT, model_type: type })).toBe(
      `folder/config.json: model_type ${named} is not supported (vit, bert, gpt2)`,
    )
  })

  it.each<[object, string]>([
    [BERT, 'hidden_size'],
    [BERT, 'num_attention_heads'],
    [BERT, 'num_hidden_layers'],
    [BERT, 'intermediate_size'],
    [VIT, 'hidden_size'],
    [VIT, 'num_hidden_layers'],
    [GPT2, 'n_embd'],
    [GPT2, 'n_head'],
    [GPT2, 'n_layer'],
  ])('%o without or with a bad %s', (json, field) => {
    expect(refused(without(json, field))).toBe(`folder/config.json: ${field} is missing, not a whole number ≥ 1`)
    for (const bad of [0, -3, 1.5, '12', true, [12], 2 ** 60])
      expect(refused({ ...json, [field]: bad })).toBe(
        `folder/config.json: ${field} is ${JSON.stringify(bad)}, not a whole number ≥ 1`,
      )
  })

  it.each<[string, unknown]>([
    ['position_embedding_type', 'relative_key'],
    ['is_decoder', true],
    ['is_encoder_decoder', true],
    ['add_cross_attention', true],
    ['quantization_config', { bits: 4 }],
    ['rope_theta', 10000],
    ['rope_scaling', { factor: 2 }],
    ['sliding_window', 128],
    ['use_swiglu_ffn', true],
    ['layerscale_value', 1],
    ['num_key_value_heads', 1],
    ['parallel_attention', true],
    ['cross_attention_hidden_size', 24],
    ['problem_type', 'ranking'],
  ])('%s %j', (field, value) => {
    expect(refused({ ...BERT, [field]: value })).toBe(
      `folder/config.json: ${field} ${JSON.stringify(value)} is not supported`,
    )
    expect(shapeOf({ ...BERT, [field]: null })).toEqual(shapeOf(BERT))
  })

  it('takes the one value of such a field that is implemented', () => {
    const known = {
      position_embedding_type: 'absolute',
      is_decoder: false,
      problem_type: 'single_label_classification',
    }
    expect(shapeOf({ ...BERT, ...known })).toEqual(shapeOf(BERT))
  })

  it('images that are no whole number of patches', () => {
    expect(refused({ ...VIT, patch_size: 7 })).toBe('config.json: images of 32 pixels cannot be cut into patches of 7')
  })
})

describe('fields', () => {
  const config = new Config({ eps: 1e-5, nothing: null, text: 'x', flag: false, act: 'gelu_new' }, 'here')

  it.each([
    ['gelu', 'gelu'],
    ['gelu_python', 'gelu'],
    ['gelu_new', 'gelu-tanh'],
    ['gelu_fast', 'gelu-tanh'],
    ['gelu_pytorch_tanh', 'gelu-tanh'],
    ['relu', 'relu'],
    ['tanh', 'tanh'],
  ])('activation %s', (name, activation) => {
    expect(new Config({ act: name }, 'here').activation('act', 'relu')).toBe(activation)
  })

  it.each(['silu', 'quick_gelu', 'constructor', '', 3, {}])('refuses activation %j', act => {
    expect(() => new Config({ act }, 'here').activation('act', 'gelu')).toThrow(
      new ModelError(
        `here: act ${JSON.stringify(act)} is not supported (gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, tanh)`,
      ),
    )
  })

  it('of numbers and flags', () => {
    expect(config.positive('eps', 1)).toBe(1e-5)
    expect(config.positive('nothing', 3)).toBe(3)
    expect(config.flag('flag', true)).toBe(false)
    expect(config.flag('nothing', true)).toBe(true)
    expect(config.has('nothing')).toBe(false)
    expect(() => config.positive('text', 1)).toThrow(new ModelError('here: text is "x", not a positive number'))
    for (const eps of [0, -1e-5])
      expect(() => new Config({ eps }, 'here').positive('eps', 1)).toThrow(`eps is ${eps}, not a positive number`)
    expect(() => config.flag('text', true)).toThrow(new ModelError('here: text is "x", not true or false'))
  })

  it('of sides, once or twice', () => {
    const side = (given: unknown) => new Config({ given }, 'here').side('given', 16)
    expect([side(8), side([8, 8]), side(null), side(undefined)]).toEqual([8, 8, 16, 16])
    for (const wrong of [[8, 9], [8], [8, 8, 8], [0, 0], ['8', '8'], []])
      expect(() => side(wrong)).toThrow(
        `given is ${JSON.stringify(wrong)}, not one whole number ≥ 1, or the same twice: only squares are supported`,
      )
    expect(shapeOf({ ...VIT, image_size: [32, 32], patch_size: [8, 8] })).toEqual(shapeOf(VIT))
  })

  it('of what class logits mean', () => {
    const scores = (problem_type: unknown, classes: number) => new Config({ problem_type }, 'here').scores(classes)
    expect([undefined, null, 'single_label_classification'].map(p => scores(p, 3))).toEqual(Array(3).fill('softmax'))
    expect([scores('multi_label_classification', 3), scores(undefined, 1)]).toEqual(['sigmoid', 'sigmoid'])
    expect([scores('regression', 1), scores('regression', 3)]).toEqual(['none', 'none'])
  })

  it('of labels, in the order of their ids', () => {
    const labels = (id2label: unknown) => new Config({ id2label }, 'here').labels()
    expect(labels({ 10: 'k', 2: 'c', 0: 'a', 1: 'b' })?.slice(0, 3)).toEqual(['a', 'b', 'c'])
    expect(labels(undefined)).toBeUndefined()
    expect(labels('no')).toBeUndefined()
  })
})
