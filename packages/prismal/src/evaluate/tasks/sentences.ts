/** sentence-similarity and text-classification: sentences and pairs of them, at their lengths or padded. */
import { ModelError, type Part, readJson, textPart } from '@prismal/models'
import type { Tensor } from '@prismal/tensor'
import type { Asker } from '../asking.js'
import { DataError } from '../data/errors.js'
import { classNumbers, type LabelledText, readSentences } from '../data/sentences.js'
import { namedSource, readSource, type Source } from '../data/source.js'
import { accuracy, f1, matthews, pearson, spearman } from '../metrics.js'
import { choices } from './choices.js'
import { columnsOf, type TaskContext, type TaskKind } from './task.js'

/** In the order in which a folder is looked through. */
const SPLITS = ['dev', 'test']
const open = ({ data, split }: TaskContext): Source =>
  readSource(data, { split, extensions: ['.tsv', '.txt', '.csv'], splits: SPLITS })

/** Texts as sequences: `real` rows of the model's tokens, and pads behind them where pads are averaged in. */
interface Encoder {
  encode(text: string, pair?: string): { readonly part: Part; readonly real: number }
  readonly settings: Record<string, string | number>
}

async function encoderOf(context: TaskContext): Promise<Encoder> {
  const { model, files, settings } = context
  const tokenizer = await context.tokenizer()
  const { padTo, pads = 'masked', maxTokens = model.shape.positions } = settings
  const padId = Number((await readJson(files, 'config.json'))?.pad_token_id ?? 0)
  return {
    settings: {
      ...(settings.maxTokens !== undefined && { maxTokens }),
      ...(settings.minTokens !== undefined && { minTokens: settings.minTokens }),
      ...(padTo !== undefined && { padTo, pads }),
    },
    encode(text, pair) {
      const part = tokenizer.encode(text, { ...(pair !== undefined && { pair }), maxTokens })
      return { part: padTo === undefined || pads === 'masked' ? part : filled(part, padTo, padId), real: part.to }
    },
  }
}

/** Those that have `minTokens`, in both texts together; all where it is not given. Throws {@link DataError} where there are none. */
function longEnough<Row extends LabelledText>(
  rows: readonly Row[],
  { encode }: Encoder,
  { settings: { minTokens }, data }: TaskContext,
): readonly Row[] {
  if (minTokens === undefined) return rows
  const long = rows.filter(({ text, pair }) => encode(text, pair).real >= minTokens)
  if (long.length === 0) throw new DataError(`${data} has no text of ${minTokens} tokens or more`)
  return long
}

/** Filled up with pads at the end, which are rows like others. */
function filled({ ids = new Int32Array(0), types }: Part, rows: number, padId: number): Part {
  const count = Math.max(rows, ids.length)
  const all = Array.from({ length: count }, (_, i) => ids[i] ?? padId)
  return textPart(all, types && Array.from({ length: count }, (_, i) => types[i] ?? 0))
}

/** Less the pads: one device needs none, and masks them where it has some. */
const unpadded = (part: Part, real: number): Part =>
  part.to === real ? part : textPart((part.ids as Int32Array).subarray(0, real), part.types?.subarray(0, real))

const encoded = (ask: Asker, { part, real }: { part: Part; real: number }): Part =>
  ask.way.devices === 1 ? unpadded(part, real) : part

export const textClassification: TaskKind = {
  about: 'sentences or pairs with labels, in the layouts of GLUE; accuracy, F1, Matthews',
  pipeline: 'text-classification',
  byDistance: false,
  async prepare(context) {
    const { model } = context
    const { classify, family, location, labels } = model
    if (family === 'vit' || !classify)
      throw new ModelError(
        `${location} does not classify texts (it is a ${family} model): it cannot do text-classification`,
      )
    const source = open(context)
    const encoder = await encoderOf(context)
    const classes = Math.max(2, model.headProducts.classify?.at(-1)?.[1] ?? 0)
    const all = readSentences(source)
    const truths = classNumbers(
      all.map(r => r.label),
      labels,
      classes,
    )
    const numbered = all.map((row, i) => ({ ...row, truth: truths[i] as number }))
    const rows = longEnough(numbered, encoder, context)
    const { encode, settings } = encoder
    return {
      data: namedSource(source),
      count: rows.length,
      metrics: classes === 2 ? [accuracy, f1, matthews] : [accuracy],
      settings,
      together: 32,
      async run(ask, items) {
        const texts = items.map(i => encode((rows[i] as LabelledText).text, rows[i]?.pair))
        const parts = texts.map(t => encoded(ask, t))
        const found = await ask.rows(parts, 'first', first => choices(classify(first)))
        return columnsOf(
          found.map((choice, i) => ({
            ...choice,
            truth: rows[items[i] as number]?.truth as number,
            rows: texts[i]?.real as number,
            beyond: ask.beyond((parts[i] as Part).to, texts[i]?.real),
          })),
        )
      },
    }
  },
}

export const sentenceSimilarity: TaskKind = {
  about: 'pairs of sentences with scores (STS-B), by the cosine of mean rows; Spearman, Pearson',
  pipeline: 'feature-extraction',
  byDistance: false,
  async prepare(context) {
    const { model } = context
    if (model.family !== 'bert')
      throw new ModelError(`${model.location} is a ${model.family} model: sentence-similarity needs a bert model`)
    const source = open(context)
    const encoder = await encoderOf(context)
    const rows = longEnough(readSentences(source), encoder, context)
    const scores = rows.map(({ label, pair }, i) => {
      if (pair === undefined)
        throw new DataError(`${source.location} has single sentences: sentence-similarity needs pairs`)
      if (label.trim() === '' || !Number.isFinite(Number(label)))
        throw new DataError(`${source.location}: item ${i} has ${JSON.stringify(label)} for a score`)
      return Number(label)
    })
    const { encode, settings } = encoder
    return {
      data: namedSource(source),
      count: rows.length,
      metrics: [spearman, pearson],
      settings,
      together: 32,
      async run(ask, items) {
        const texts = items.flatMap(i => [encode((rows[i] as LabelledText).text), encode(rows[i]?.pair as string)])
        const parts = texts.map(t => encoded(ask, t))
        const reals = texts.map(t => t.real)
        const vectors = await meanRows(ask, parts, reals)
        const beyond = parts.map((part, i) => ask.beyond(part.to, reals[i]))
        const both = (values: readonly number[], i: number): number =>
          (values[2 * i] as number) + (values[2 * i + 1] as number)
        return columnsOf(
          items.map((item, i) => ({
            score: cosine(vectors[2 * i] as Float64Array, vectors[2 * i + 1] as Float64Array),
            truth: scores[item] as number,
            rows: both(reals, i),
            beyond: both(beyond, i),
          })),
        )
      },
    }
  },
}

/** The mean of each sequence's real rows. */
async function meanRows(ask: Asker, parts: readonly Part[], reals: readonly number[]): Promise<Float64Array[]> {
  if (parts.every((part, i) => part.to === reals[i]))
    return ask.rows(parts, 'mean', rows => rowsOf(rows).map(row => Float64Array.from(row)))
  const want = reals.map(real => Array.from({ length: real }, (_, i) => i))
  return ask.rows(parts, want, rows => {
    const all = rowsOf(rows)
    let from = 0
    return reals.map(real => {
      const sum = new Float64Array(rows.columns)
      for (const row of all.slice(from, from + real))
        for (const [c, v] of row.entries()) sum[c] = (sum[c] as number) + v
      from += real
      return sum.map(v => v / real)
    })
  })
}

function rowsOf(tensor: Tensor): Float32Array[] {
  const values = tensor.floats()
  return Array.from({ length: tensor.rows }, (_, i) => values.subarray(i * tensor.columns, (i + 1) * tensor.columns))
}

function cosine(a: Float64Array, b: Float64Array): number {
  let [ab, aa, bb] = [0, 0, 0]
  for (const [i, x] of a.entries()) {
    const y = b[i] as number
    ab += x * y
    aa += x * x
    bb += y * y
  }
  return ab / Math.sqrt(aa * bb)
}
