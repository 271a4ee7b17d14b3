/**
 * What is lost by sharing, told without labels: each kind of model has answers that are compared with those of one device, input by input.
 */
import { InputError, indexOfMax, type Model, type Part, type Request, type Want } from '@prismal/models'
import type { Tensor } from '@prismal/tensor'
import { spearmanOf } from '../evaluate/correlation.js'
import { type Bound, correlationLossBound, ratioBound, severityBound } from './bounds.js'

/** Sequences of one input: one, or two that are compared. */
export type Sequences = readonly Part[]

/** What two numbers say of one input: see each kind of loss. */
export type Difference = readonly [number, number]

export interface Loss<Answer = unknown> {
  /** As people read it after a number: `points of accuracy`. */
  readonly unit: string
  /** What is compared one by one. */
  readonly inputsAre: 'inputs' | 'pairs' | 'windows'
  /** Which rows requests ask for: what travels in the last layer depends on it. */
  readonly want: Want
  answers(model: Model, request: Request, items: readonly Sequences[]): Promise<Answer[]>
  compare(one: Answer, shared: Answer): Difference
  /** Of the loss over all inputs like these. */
  bound(differences: readonly Difference[], alpha: number): Bound
}

/**
 * How much surer a model may be right than it says: its logits are multiplied by this. Models trained with mixed images or smoothed
 * labels are less sure than they are right (the zoo's ViT is calibrated at 1.5), others are surer, and a factor above 1 overstates
 * what they lose.
 */
const SHARPNESS = 1.5

/** A model's own probabilities, sharpened, are trusted to within so much: what they say is lost at most is raised by it. */
const TRUST = 1.15

/**
 * Answers that change are rare, but logits change a little on every input: what would be lost if they changed so many times as much is
 * more than as many times what is lost, and tells it from far fewer inputs. That holds as close calls are not the rule: the nearer
 * two classes are, the fewer inputs there are, and the less is lost by taking the other one. It says nothing of inputs of another kind, on
 * which sharing fails outright, that are rarer than one in those that were tried.
 */
const AMPLIFICATION = 4

/**
 * Points that may be lost with amplified logits for that to tell anything: nearer to answers by chance, what is lost grows more
 * slowly than logits change.
 */
const MOST_AMPLIFIED = 10

/**
 * Points of accuracy, by the classes of both and one device's own probabilities. Where both say the same nothing is lost whatever is true;
 * where they differ, what is expected to be lost is p(one's class) − p(the other's class). A difference is that, and the same where logits
 * change {@link AMPLIFICATION} times as much.
 */
export const accuracyLoss: Loss<Float32Array> = {
  unit: 'points of accuracy',
  inputsAre: 'inputs',
  want: 'first',
  async answers({ classify }, request, items) {
    const rows = await request.rows(items.flat(), 'first')
    return rowsOf((classify as (rows: Tensor) => Tensor)(rows))
  },
  compare(one, shared) {
    const amplified = shared.map((logit, i) => (one[i] as number) + AMPLIFICATION * (logit - (one[i] as number)))
    return [severityOf(one, shared), severityOf(one, amplified)]
  },
  bound(differences, alpha) {
    // The lesser of two bounds, where the second is one: each has half of what may go wrong.
    const plain = severitiesBound(
      differences.map(d => d[0]),
      alpha / 2,
    )
    const amplified = severitiesBound(
      differences.map(d => d[1]),
      alpha / 2,
    )
    const raised = (upper: number): number => Math.min(100, TRUST * Math.max(plain.estimate, upper))
    const least = raised(Math.min(plain.upper, amplified.upper / AMPLIFICATION))
    if (amplified.upper <= MOST_AMPLIFIED) return { ...plain, upper: least }
    const upper = raised(plain.upper)
    return amplified.estimate <= MOST_AMPLIFIED ? { ...plain, upper, upperOfMore: least } : { ...plain, upper }
  },
}

const severitiesBound = (severities: readonly number[], alpha: number): Bound =>
  severityBound(severities.length, sumOf(severities), sumOf(severities.map(s => s * s)), alpha)

const sumOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)

/** What answering as `shared` rather than as `one` is expected to lose, by the probabilities of `one`: 0 to 1. */
export function severityOf(one: ArrayLike<number>, shared: ArrayLike<number>): number {
  // A single logit is a yes or no.
  if (one.length === 1) return severityOf([0, one[0] as number], [0, shared[0] as number])
  const [here, there] = [indexOfMax(one), indexOfMax(shared)]
  if (here === there) return 0
  const most = one[here] as number
  const weights = Array.from(one, v => Math.exp(SHARPNESS * (v - most)))
  return (1 - (weights[there] as number)) / weights.reduce((a, b) => a + b, 0)
}

/**
 * Points of rank correlation of the similarities of pairs: the rank agreement of both, of which 100 is all. If what sharing adds is noise to
 * whoever judges the pairs, their correlation with the judge falls by that share at most. A difference is both cosines.
 */
export const similarityLoss = (pooling: 'mean' | 'cls'): Loss<number> => ({
  unit: 'points of rank correlation',
  inputsAre: 'pairs',
  want: pooling === 'cls' ? 'first' : 'mean',
  async answers(_, request, items) {
    const vectors = rowsOf(await request.rows(items.flat(), pooling === 'cls' ? 'first' : 'mean'))
    return items.map((_, i) => cosine(vectors[2 * i] as Float32Array, vectors[2 * i + 1] as Float32Array))
  },
  compare: (one, shared) => [one, shared],
  bound(differences, alpha) {
    const [a, b] = [differences.map(d => d[0]), differences.map(d => d[1])]
    const rows = a.map((_, i) => i)
    return correlationLossBound(spearmanOf(a, b, rows), a.length, alpha)
  },
})

/** Logits of this many rows at a time: a vocabulary is long. */
const HEAD_ROWS = 64

/**
 * Percent of the bits per byte (of the nats, which is the same) of the tokens after the first device's, where sharing makes a difference. No
 * labels are needed: the text says what comes next. A difference is the nats that are lost and those of one device.
 */
export const languageLoss = (devices: number): Loss<number> => ({
  unit: '% of the bits per byte',
  inputsAre: 'windows',
  want: 'last',
  async answers({ vocabulary }, request, items) {
    const texts = items.map(([part]) => part as Part)
    // Row r foresees token r + 1. The first device has ⌈N/P⌉ rows.
    const wanted = texts.map(({ to }) => Array.from({ length: to - 1 }, (_, r) => r).slice(Math.ceil(to / devices)))
    const rows = await request.rows(texts, wanted)
    const nextIds = texts.flatMap(({ ids }, t) => (wanted[t] as number[]).map(r => ids?.[r + 1] as number))
    const surprises = new Float64Array(nextIds.length)
    for (let at = 0; at < nextIds.length; at += HEAD_ROWS) {
      const logits = (vocabulary as (rows: Tensor) => Tensor)(rows.slice(at, Math.min(at + HEAD_ROWS, nextIds.length)))
      for (const [i, row] of rowsOf(logits).entries()) surprises[at + i] = surprise(row, nextIds[at + i] as number)
      logits.dispose()
    }
    let start = 0
    return wanted.map(({ length }) => {
      const sum = surprises.subarray(start, start + length).reduce((a, b) => a + b, 0)
      start += length
      return sum
    })
  },
  compare: (one, shared) => [shared - one, one],
  bound: (differences, alpha) =>
    ratioBound(
      differences.map(d => d[0]),
      differences.map(d => d[1]),
      alpha,
    ),
})

/** −ln of a token's probability. */
function surprise(logits: Float32Array, token: number): number {
  const most = logits[indexOfMax(logits)] as number
  let sum = 0
  for (const logit of logits) sum += Math.exp(logit - most)
  return Math.log(sum) + most - (logits[token] as number)
}

function rowsOf(matrix: Tensor): Float32Array[] {
  const values = matrix.floats()
  const { columns } = matrix
  return Array.from({ length: matrix.rows }, (_, i) => values.slice(i * columns, (i + 1) * columns))
}

function cosine(a: Float32Array, b: Float32Array): number {
  let [ab, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number]
    ab += x * y
    aa += x * x
    bb += y * y
  }
  return aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : 0
}

/** Tasks of which it is known what is lost. */
export const CALIBRATED_TASKS = [
  'image-classification',
  'text-classification',
  'feature-extraction',
  'text-generation',
] as const

/** How what a task loses is measured. Throws `InputError` for a task of which that is not known. */
export function lossOf(task: string, devices: number, pooling: 'mean' | 'cls' = 'mean'): Loss<never> {
  const losses: Readonly<Record<(typeof CALIBRATED_TASKS)[number], Loss<never>>> = {
    'image-classification': accuracyLoss as Loss<never>,
    'text-classification': accuracyLoss as Loss<never>,
    'feature-extraction': similarityLoss(pooling) as Loss<never>,
    'text-generation': languageLoss(devices) as Loss<never>,
  }
  const known = CALIBRATED_TASKS.find(name => name === task)
  if (known) return losses[known]
  throw new InputError(`calibrate: ${task} cannot be calibrated (${CALIBRATED_TASKS.join(', ')})`)
}
