/** image-classification and text-classification. */
import type { ClassScores } from '../config.js'
import { ModelError } from '../errors.js'
import type { Part } from '../input.js'
import type { Request, Runner } from '../runner.js'
import type { Tokenizer } from '../text/tokenizer.js'
import { type BatchPipeline, batchPipeline, largest, probabilities } from './pipeline.js'

export interface Label {
  readonly label: string
  /** Probability, 0…1: of one of the classes, or where `problem_type` says multi-label of each alone. Of a regression, the value. */
  readonly score: number
}
export interface ClassifyOptions {
  /** How many labels to give, most likely first; image-classification 5, text-classification 1 by default. */
  readonly topk?: number
}

/** A text, or a pair of texts. */
export type TextInput = string | { readonly text: string; readonly text_pair: string }

/** Image → labels. `read` makes a sequence of whatever an image is given as. */
export function imageClassification<Source>(
  runner: Runner,
  read: (source: Source) => Promise<Part>,
): BatchPipeline<Source, ClassifyOptions, Label[]> {
  needsClassifier(runner, 'image-classification')
  return batchPipeline(runner, async (request, sources, { topk = 5 }) => {
    const sequences: Part[] = []
    for (const source of sources) sequences.push(await read(source))
    return classify(request, runner, sequences, topk)
  })
}

/** Text, or pair of texts → labels. */
export function textClassification(
  runner: Runner,
  tokenizer: Tokenizer,
): BatchPipeline<TextInput, ClassifyOptions, Label[]> {
  needsClassifier(runner, 'text-classification')
  return batchPipeline(runner, async (request, texts, { topk = 1 }) => {
    const sequences = texts.map(t =>
      typeof t === 'string' ? tokenizer.encode(t) : tokenizer.encode(t.text, { pair: t.text_pair }),
    )
    return classify(request, runner, sequences, topk)
  })
}

async function classify(
  request: Request,
  runner: Runner,
  sequences: readonly Part[],
  topk: number,
): Promise<Label[][]> {
  const { classify, labels, scores: kind } = runner.model
  const rows = await request.rows(sequences, 'first')
  request.meter.enter('head')
  const logits = (classify as NonNullable<typeof classify>)(rows)
  return sequences.map((_, b) => {
    const values = logits.slice(b, b + 1).floats()
    const scores = scoresOf(values, kind)
    return largest(scores, topk).map(i => ({ label: labels?.[i] ?? `LABEL_${i}`, score: scores[i] as number }))
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
