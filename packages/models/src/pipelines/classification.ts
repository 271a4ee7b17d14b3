/** image-classification and text-classification. */
import type { ClassScores } from '../config.js'
import { ModelError } from '../errors.js'
import type { Part } from '../input.js'
import type { Request, Runner } from '../runner.js'
import type { Tokenizer } from '../text/tokenizer.js'
import {
  COUNT_OPTIONS,
  type CountOptions,
  checkLength,
  countOf,
  encodeText,
  type TextInput,
  TRUNCATION_OPTIONS,
  type TruncationOptions,
  truncationOf,
} from './options.js'
import { type BatchPipeline, batchPipeline, type CallOptions, largest, probabilities } from './pipeline.js'

export interface Label {
  readonly label: string
  /** Probability, 0…1: of one of the classes, or where `problem_type` says multi-label of each alone. Of a regression, the value. */
  readonly score: number
}
/** `top_k` is 5 for image-classification, 1 for text-classification by default. */
export interface ClassifyOptions extends CountOptions {}
export interface ClassifyTextOptions extends ClassifyOptions, TruncationOptions {}

/** Image → labels. `read` makes a sequence of whatever an image is given as, unless the call's signal ends it. */
export function imageClassification<Source>(
  runner: Runner,
  read: (source: Source, options: CallOptions) => Promise<Part>,
): BatchPipeline<Source, ClassifyOptions, Label[]> {
  needsClassifier(runner, 'image-classification')
  return batchPipeline(runner, COUNT_OPTIONS, async (request, sources, options: ClassifyOptions & CallOptions) => {
    const count = countOf(options, 5)
    const sequences: Part[] = []
    for (const source of sources) sequences.push(await read(source, options))
    return classify(request, runner, sequences, count)
  })
}

/** Text, or pair of texts → labels. */
export function textClassification(
  runner: Runner,
  tokenizer: Tokenizer,
): BatchPipeline<TextInput, ClassifyTextOptions, Label[]> {
  needsClassifier(runner, 'text-classification')
  const known = [...COUNT_OPTIONS, ...TRUNCATION_OPTIONS]
  return batchPipeline(runner, known, async (request, texts, options: ClassifyTextOptions) => {
    const count = countOf(options, 1)
    const cut = truncationOf(runner.model, options)
    const sequences = texts.map(text => checkLength(runner.model, encodeText(tokenizer, text, cut)))
    return classify(request, runner, sequences, count)
  })
}

async function classify(
  request: Request,
  runner: Runner,
  sequences: readonly Part[],
  count: number,
): Promise<Label[][]> {
  const { classify, labels, scores: kind } = runner.model
  const rows = await request.rows(sequences, 'first')
  request.meter.enter('head')
  const logits = (classify as NonNullable<typeof classify>)(rows)
  return sequences.map((_, b) => {
    const values = logits.slice(b, b + 1).floats()
    const scores = scoresOf(values, kind)
    return largest(scores, count).map(i => ({ label: labels?.[i] ?? `LABEL_${i}`, score: scores[i] as number }))
  })
}

function scoresOf(logits: Float32Array, kind: ClassScores = 'softmax'): number[] {
  if (kind === 'softmax') return probabilities(logits)
  return Array.from(logits, v => (kind === 'sigmoid' ? 1 / (1 + Math.exp(-v)) : v))
}

function needsClassifier(runner: Runner, task: string): void {
  const { classify, location } = runner.model
  if (!classify) throw new ModelError(`${location} has no classifier: it cannot do ${task}`)
}
