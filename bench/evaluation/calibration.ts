/**
 * Whether `--max-loss` holds: ways of sharing are chosen on inputs without their labels, and each is then measured with labels on
 * others, beside everything that could have been chosen.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { aloneRunner, encodeText, loadModel, loadTokenizer, type Model, type TextInput } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { type Calibrated, type Calibration, calibrateEach, pipeline } from 'prismal'
import {
  evaluate,
  gridCell,
  interval,
  loss,
  oneDevice,
  type Sampled,
  sample,
  type TaskSettings,
} from 'prismal/evaluate'
import { ladder } from '../../packages/prismal/src/calibrate/ladder.js'
import { readDocuments } from '../../packages/prismal/src/evaluate/data/documents.js'
import { readImages } from '../../packages/prismal/src/evaluate/data/images.js'
import { readSentences } from '../../packages/prismal/src/evaluate/data/sentences.js'
import { readSource } from '../../packages/prismal/src/evaluate/data/source.js'
import { tableOf } from '../markdown.js'
import { inRepository, REPOSITORY } from './paths.js'
import { isInPoints, metricNamed } from './results.js'

/** As `--only` names it. */
export const titleOf = ({ name }: CalibrationSubject): string => `choosing ${name}`

/** Percent that may be lost. */
export const MAX_LOSSES = [0.25, 0.5, 1, 2] as const

export interface CalibrationSubject {
  /** As tables name it. */
  readonly name: string
  readonly task: 'image-classification' | 'text-classification' | 'sentence-similarity' | 'language-modelling'
  readonly metric: string
  readonly model: string
  readonly tokenizer?: string
  /** What is chosen on. */
  readonly inputs: Part
  /** What the choices are measured on; none of the inputs. */
  readonly check: Part
  readonly settings?: TaskSettings
  /** P. */
  readonly devices: readonly number[]
}

/** Items [from, to) of a data set; where something is chosen for language modelling, documents. */
export interface Part {
  readonly data: string
  readonly split?: string
  readonly items?: readonly [from: number, to: number]
}

/** A way of sharing that could have been chosen, and what it was found to lose on the other items. */
export interface Measured {
  readonly sharing: object
  /** Received in a request by the device that receives most. */
  readonly bytes: number
  /** In the metric's unit; of language in percent of the bits per byte. */
  readonly lost: number
  readonly standardError: number
}

/** One choice. */
export interface Chosen extends Measured {
  readonly name: string
  readonly devices: number
  readonly maxLoss: number
  /** What was promised. */
  readonly upper: number
  readonly inputs: number
  readonly isFull: boolean
  /** The cheapest that really loses no more; `full` where nothing else does. */
  readonly cheapest: Measured
}

const PIPELINES = {
  'image-classification': 'image-classification',
  'text-classification': 'text-classification',
  'sentence-similarity': 'feature-extraction',
  'language-modelling': 'text-generation',
} as const

interface RunOptions {
  /** Of finished cells. */
  readonly folder: string
  readonly jobs: number
}

/** Digest of the model, the data's names and the code that chooses: with the same one, the same is chosen. */
export async function calibrationKey(subject: CalibrationSubject): Promise<string> {
  const { tool, end } = await toolOf(subject, 1)
  const { digest } = tool.runner.model
  await end()
  return createHash('sha256')
    .update(JSON.stringify([inRepository(subject), digest, procedure()]))
    .digest('hex')
    .slice(0, 24)
}

/** Chooses and measures. */
export async function runCalibration(subject: CalibrationSubject, options: RunOptions): Promise<Chosen[]> {
  const { tool, end } = await toolOf(subject, options.jobs)
  const { shape, family } = tool.runner.model
  try {
    const inputs = inputsOf(subject) as never[]
    const chosen: Chosen[] = []
    for (const devices of subject.devices) {
      const found = await calibrateEach(tool, inputs, GOALS, { devices, seed: 1 })
      chosen.push(...(await measured(subject, { shape, family }, devices, found, options)))
    }
    return chosen
  } finally {
    await end()
  }
}

/** The code that chooses, and what it chooses among: choices of other code are made again. */
const procedure = (): string[] => {
  const folder = join(REPOSITORY, 'packages/prismal/src/calibrate')
  const files = readdirSync(folder).filter(file => !file.endsWith('.test.ts'))
  const recommended = join(REPOSITORY, 'packages/distribute/src/recommended.ts')
  return [...files.sort().map(file => join(folder, file)), recommended].map(path => readFileSync(path, 'utf8'))
}

const GOALS = MAX_LOSSES.map(maxLoss => ({ maxLoss }))

/** Everything that could have been chosen, and what was, on the other items. */
async function measured(
  { name, task, model, tokenizer, check, settings, metric: metricName }: CalibrationSubject,
  of: Pick<Model, 'shape' | 'family'>,
  devices: number,
  found: readonly Calibration[],
  { folder, jobs }: RunOptions,
): Promise<Chosen[]> {
  const { shape } = of
  // What a ladder has does not depend on lengths but where rows run out.
  const lengths = [shape.positions]
  const want = task === 'sentence-similarity' ? 'mean' : shape.causal ? 'last' : 'first'
  const steps = ladder({ model: of, devices, lengths, want }).map(c => c.sharing)
  // What was chosen is mostly one of the steps.
  const ways = new Map([...steps, ...found.map(f => f.sharing)].map(sharing => [JSON.stringify(sharing), sharing]))
  const cells = [oneDevice(devices), ...[...ways.values()].map(sharing => gridCell(devices, sharing))]
  const evaluated = await evaluate({
    ...{ task, model, data: check.data, cells, jobs, out: folder },
    ...(tokenizer !== undefined && { tokenizer }),
    ...(check.split !== undefined && { split: check.split }),
    ...(check.items && { items: check.items }),
    ...(settings && { settings }),
  })
  const metric = metricNamed(metricName)
  const [one, ...others] = sample(evaluated.cells, metric)
  const percent = isInPoints(metric) ? 1 : 100 / (one?.value ?? 1)
  const all = new Map(
    [...ways].map(([name, sharing], i): [string, Measured] => {
      const lost = interval(loss(one as Sampled, others[i] as Sampled, metric))
      const bytes = evaluated.cells[i + 1]?.cost.bytesReceived ?? 0
      return [name, { sharing, bytes, lost: lost.value * percent, standardError: lost.standardError * percent }]
    }),
  )
  return found.map((choice, i): Chosen => {
    const maxLoss = MAX_LOSSES[i] as number
    const itself = all.get(JSON.stringify(choice.sharing)) as Measured
    const holding = [...all.values()].filter(m => m.lost <= maxLoss).sort((a, b) => a.bytes - b.bytes)
    return {
      ...itself,
      ...{ name, devices, maxLoss, upper: choice.loss.upper, inputs: choice.inputs },
      ...{ isFull: choice.isFallback, cheapest: holding[0] ?? itself },
    }
  })
}

/** What a pipeline has that calibration goes by; the tokenizer may lie elsewhere. */
async function toolOf({ task, model, tokenizer }: CalibrationSubject, threads: number) {
  if (tokenizer === undefined) {
    const tool = await pipeline(PIPELINES[task] as 'text-classification', model, { threads })
    return { tool: tool as Calibrated<never>, end: () => tool.dispose() }
  }
  const engine = await createEngine({ threads })
  const words = await loadTokenizer(await openFiles(tokenizer))
  if (!words) throw new Error(`${tokenizer} has no tokenizer`)
  const runner = aloneRunner(await loadModel(await openFiles(model), { engine, warn: () => {} }))
  const sequence: Calibrated<TextInput>['sequence'] = (input, cut) => encodeText(words, input, cut)
  return { tool: { task: PIPELINES[task], runner, sequence } as Calibrated<never>, end: async () => engine.dispose() }
}

function inputsOf({ task, inputs }: CalibrationSubject): unknown[] {
  const { data, split, items: [from, to] = [0, Number.POSITIVE_INFINITY] } = inputs
  const source = (extensions: readonly string[]) => readSource(data, { split, extensions, splits: ['dev', 'test'] })
  if (task === 'language-modelling') return readDocuments(source(['.txt', '.json'])).slice(from, to)
  if (task === 'image-classification') {
    const images = readImages(source(['.bin', '-ubyte']))
    return Array.from({ length: Math.min(to, images.count) - from }, (_, i) => images.image(from + i))
  }
  const sentences = readSentences(source(['.tsv', '.txt', '.csv'])).slice(from, to)
  return sentences.map(({ text, pair }) =>
    task === 'sentence-similarity' ? [text, pair] : pair === undefined ? text : { text, text_pair: pair },
  )
}

/** Shares of the choices that hold, cost little more than need be, and give up. */
export function calibrationSummary(chosen: readonly Chosen[]) {
  const holds = chosen.filter(c => c.lost <= c.maxLoss).length / chosen.length
  const ratios = chosen.map(c => c.bytes / Math.max(1, c.cheapest.bytes)).sort((a, b) => a - b)
  const middle = ratios.length >> 1
  const median = ratios.length % 2 === 1 ? ratios[middle] : ((ratios[middle - 1] ?? 0) + (ratios[middle] ?? 0)) / 2
  // Where nothing cheaper does, giving up is right.
  const needless = chosen.filter(c => c.cheapest.bytes < c.bytes && c.isFull).length
  const cheaper = chosen.filter(c => !c.isFull || c.cheapest.bytes < c.bytes).length
  return { holds, medianBytes: median ?? 0, givesUp: cheaper > 0 ? needless / cheaper : 0 }
}

export function calibrationSection(chosen: readonly Chosen[]): string {
  if (chosen.length === 0) return 'Not run.'
  const { holds, medianBytes, givesUp } = calibrationSummary(chosen)
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`
  const rows = chosen.map(c => [
    ...[c.name, String(c.devices), `${c.maxLoss}`, c.isFull ? 'full' : (c.bytes / 1e3).toFixed(2)],
    ...[c.lost.toFixed(2), `± ${c.standardError.toFixed(2)}`, c.lost <= c.maxLoss ? '' : '**more**'],
    ...[(c.cheapest.bytes / 1e3).toFixed(2), (c.bytes / Math.max(1, c.cheapest.bytes)).toFixed(2), String(c.inputs)],
  ])
  return [
    `Chosen on inputs without labels, measured with labels on others: ${percent(holds)} of ${chosen.length} choices lose no more than they may (bar 95 %), ` +
      `the median choice takes ${medianBytes.toFixed(2)}× the bytes of the cheapest way that really holds (bar 2), and ${percent(givesUp)} give up where something cheaper does (bar 10 %).`,
    tableOf(['task', 'P', 'may lose, %', 'kB chosen', 'loses', '', '', 'kB of the cheapest', 'ratio', 'inputs'], rows),
  ].join('\n\n')
}

/** Where a subject's model or data are not there. */
export const missingOf = ({ model, inputs, check }: CalibrationSubject): string | undefined => {
  const missing = [model, inputs.data, check.data].find(path => !existsSync(path))
  return missing === undefined ? undefined : `${relative(REPOSITORY, missing)} does not exist`
}
