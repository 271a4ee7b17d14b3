import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { sharedFolder } from '../../test/shared-folder.js'
import { type CheckpointTensor, contiguousBytes, elementsOf, type StateDict, view } from './checkpoint.js'
import { convert } from './convert.js'
import { ConversionError } from './errors.js'
import { readCheckpoint, writeModelFolder } from './files.js'
import { convertVitPytorch } from './vit-pytorch.js'

// D 4, two heads of width 3, RGB patches of 2 × 2, a 2 × 2 grid, I 5, three classes, two layers.
const SHAPES: Record<string, number[]> = {
  pos_embedding: [1, 5, 4],
  cls_token: [1, 1, 4],
  'to_patch_embedding.1.weight': [4, 12],
  'to_patch_embedding.1.bias': [4],
  'mlp_head.0.weight': [4],
  'mlp_head.0.bias': [4],
  'mlp_head.1.weight': [3, 4],
  'mlp_head.1.bias': [3],
}
for (const i of [0, 1]) {
  const layer = `transformer.layers.${i}`
  Object.assign(SHAPES, {
    [`${layer}.0.norm.weight`]: [4],
    [`${layer}.0.norm.bias`]: [4],
    [`${layer}.0.fn.to_qkv.weight`]: [18, 4],
    [`${layer}.0.fn.to_out.0.weight`]: [4, 6],
    [`${layer}.0.fn.to_out.0.bias`]: [4],
    [`${layer}.1.norm.weight`]: [4],
    [`${layer}.1.norm.bias`]: [4],
    [`${layer}.1.fn.net.0.weight`]: [5, 4],
    [`${layer}.1.fn.net.0.bias`]: [5],
    [`${layer}.1.fn.net.3.weight`]: [4, 5],
    [`${layer}.1.fn.net.3.bias`]: [4],
  })
}

// Every tensor counts up from a number of its own, so that an element's place can be read off its value.
const counted = (shape: number[], first: number): CheckpointTensor => {
  const values = Float32Array.from({ length: elementsOf(shape) }, (_, i) => first + i)
  return view({ dtype: 'F32', length: values.length, bytes: () => new Uint8Array(values.buffer) }, shape)
}
const first = (name: string) => 1000 * Object.keys(SHAPES).indexOf(name)
const checkpoint = (change: Record<string, number[] | null> = {}): StateDict => {
  const shapes = Object.entries({ ...SHAPES, ...change }).filter((entry): entry is [string, number[]] => !!entry[1])
  return new Map(shapes.map(([name, shape]) => [name, counted(shape, first(name))]))
}
const values = (tensors: StateDict, name: string) => {
  const tensor = tensors.get(name)
  if (!tensor) throw new Error(`no ${name}`)
  return [...new Float32Array(contiguousBytes(tensor).slice().buffer)]
}

describe('vit-pytorch to Hugging Face', () => {
  const { tensors, files } = convertVitPytorch(checkpoint(), { heads: 2, activation: 'relu' })

  it('reads the sizes off the shapes', () => {
    expect(files['config.json']).toMatchObject({
      model_type: 'vit',
      hidden_size: 4,
      num_attention_heads: 2,
      head_dim: 3,
      num_hidden_layers: 2,
      intermediate_size: 5,
      hidden_act: 'relu',
      layer_norm_eps: 1e-5,
      qkv_bias: false,
      num_channels: 3,
      patch_size: 2,
      image_size: 4,
      id2label: { 0: '0', 1: '1', 2: '2' },
    })
    expect(files['preprocessor_config.json']).toMatchObject({
      image_mean: [0.5, 0.5, 0.5],
      size: { height: 4, width: 4 },
    })
  })

  it('turns patches of (p1 p2 c) into [C, P, P]', () => {
    const source = (d: number, c: number, p1: number, p2: number) =>
      first('to_patch_embedding.1.weight') + d * 12 + (p1 * 2 + p2) * 3 + c
    const wanted: number[] = []
    for (const d of [0, 1, 2, 3])
      for (const c of [0, 1, 2]) for (const p1 of [0, 1]) for (const p2 of [0, 1]) wanted.push(source(d, c, p1, p2))
    const name = 'vit.embeddings.patch_embeddings.projection.weight'
    expect(tensors.get(name)?.shape).toEqual([4, 3, 2, 2])
    expect(values(tensors, name)).toEqual(wanted)
  })

  it('cuts the fused rows into query, key and value, in this order', () => {
    for (const [part, name] of ['query', 'key', 'value'].entries()) {
      const weight = `vit.encoder.layer.1.attention.attention.${name}.weight`
      const from = first('transformer.layers.1.0.fn.to_qkv.weight') + part * 24
      expect(tensors.get(weight)?.shape).toEqual([6, 4])
      expect(values(tensors, weight)).toEqual(Array.from({ length: 24 }, (_, i) => from + i))
    }
  })

  it.each([
    ['vit.embeddings.cls_token', 'cls_token'],
    ['vit.embeddings.position_embeddings', 'pos_embedding'],
    ['vit.embeddings.patch_embeddings.projection.bias', 'to_patch_embedding.1.bias'],
    ['vit.encoder.layer.0.layernorm_before.weight', 'transformer.layers.0.0.norm.weight'],
    ['vit.encoder.layer.0.attention.output.dense.weight', 'transformer.layers.0.0.fn.to_out.0.weight'],
    ['vit.encoder.layer.0.attention.output.dense.bias', 'transformer.layers.0.0.fn.to_out.0.bias'],
    ['vit.encoder.layer.1.layernorm_after.bias', 'transformer.layers.1.1.norm.bias'],
    ['vit.encoder.layer.1.intermediate.dense.weight', 'transformer.layers.1.1.fn.net.0.weight'],
    ['vit.encoder.layer.1.output.dense.weight', 'transformer.layers.1.1.fn.net.3.weight'],
    ['vit.layernorm.weight', 'mlp_head.0.weight'],
    ['classifier.weight', 'mlp_head.1.weight'],
    ['classifier.bias', 'mlp_head.1.bias'],
  ])('%s is %s', (name, source) => {
    expect(values(tensors, name)).toEqual(values(checkpoint(), source))
  })

  it.each<[string, Record<string, number[] | null>, object, RegExp]>([
    ['a tensor without a place', { 'mlp_head.2.weight': [3] }, {}, /no place .*: mlp_head\.2\.weight/],
    ['a gap in the layers', { 'transformer.layers.0.0.norm.weight': null }, {}, /no transformer\.layers\.0/],
    ['a missing bias', { 'mlp_head.1.bias': null }, {}, /no mlp_head\.1\.bias/],
    ['a bias of another width', { 'mlp_head.1.bias': [4] }, {}, /mlp_head\.1\.bias is \[4\], expected \[3\]/],
    ['a LayerNorm over pixels', { 'to_patch_embedding.1.weight': [12] }, {}, /LayerNorm over pixels/],
    ['positions that are no square', { pos_embedding: [1, 6, 4] }, {}, /not a square/],
    ['heads that do not divide', {}, { heads: 4 }, /not 4 heads/],
    ['heads that cannot be guessed', {}, { heads: undefined }, /give their number/],
    ['a mean of another number of channels', {}, { imageMean: [0.5] }, /3 channels/],
    ['pixels divided by nothing', {}, { imageStd: [0.5, 0, 0.5] }, /deviations are 0\.5, 0, 0\.5/],
    ['too few labels', {}, { labels: ['a'] }, /3 classes/],
  ])('refuses %s', (_, change, options, message) => {
    const refused = () => convertVitPytorch(checkpoint(change), { heads: 2, ...options })
    expect(refused).toThrow(ConversionError)
    expect(refused).toThrow(message)
  })
})

const folder = sharedFolder('data/vit-mnist-researchase')
const SHARED = `${folder}/vit_mnist_gpu.pt`

describe.skipIf(!folder)('the MNIST checkpoint in ../shared/data', () => {
  it('becomes a folder that reads back the same', () => {
    const folder = mkdtempSync(join(tmpdir(), 'prismal-weights-'))
    try {
      const { model, source } = convert(SHARED, { activation: 'relu', imageMean: [0.1307], imageStd: [0.3081] })
      expect(source).toBe('vit-pytorch')
      expect(model.files['config.json']).toMatchObject({
        hidden_size: 64,
        num_attention_heads: 4,
        head_dim: 64,
        num_hidden_layers: 6,
        num_channels: 1,
        image_size: 28,
        patch_size: 4,
      })
      writeModelFolder(folder, model)
      const back = readCheckpoint(join(folder, 'model.safetensors'))
      expect(back.container).toBe('safetensors')
      expect(back.tensors.size).toBe(model.tensors.size)
      for (const [name, tensor] of model.tensors)
        expect(Buffer.compare(contiguousBytes(back.tensors.get(name)!), contiguousBytes(tensor)), name).toBe(0)
      expect(() => writeModelFolder(folder, model)).toThrow(/is there already/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('cut short, is refused with an error that says so', () => {
    const folder = mkdtempSync(join(tmpdir(), 'prismal-weights-'))
    try {
      writeFileSync(join(folder, 'half.pt'), readFileSync(SHARED).subarray(0, 1_000_000))
      expect(() => convert(join(folder, 'half.pt'))).toThrow(/not a complete zip archive/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
