/**
 * What was tried and does not win, on development data: runs of weights-tools/python/ablations, whose results lie in
 * bench/.cache/ablations. Each row stands beside the same way of sharing without it, on the same inputs.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { tableOf } from '../markdown.js'

/** A run of the ablations: how far answers are from one device's (lower is better). */
export interface Trial {
  readonly task: Task
  /** Inputs; null: all of the development set. */
  readonly n: number | null
  readonly sharing: Readonly<Record<string, unknown>>
  /** KL divergence of classes, or mean squared change of cosines × 10⁴. */
  readonly kl?: number
  readonly kl_se?: number
  /** Points, or nats a token. */
  readonly loss: number
  readonly loss_se: number
}

type Task = 'vit' | 'sts' | 'gpt512'

/** What a sharing is where a trial does not say otherwise: published means, three rows, two devices. */
const PLAIN: Readonly<Record<string, unknown>> = {
  ...{ devices: 2, rows: 3, sink: 0, near: 0, tail: 0, anchor: 0, halo: 0, growth: 1, toward: 'cut' },
  ...{ point: 'normed', counts: true, alpha: 1, wire: 'f32', merge: '', outliers: 0, proxy: 0, second: '' },
  ...{ reuse: 1, lost: null, order: 'raster' },
}

type Sharing = Readonly<Record<string, unknown>>
interface Comparison {
  readonly what: string
  readonly task: Task
  readonly it: Sharing
  readonly without: Sharing
}

const DEALT = { order: 'spread-hilbert' }
const ALIKE = { ...DEALT, merge: 'any-kv' }
const against = (task: Task, without: Sharing, rivals: readonly (readonly [string, Sharing])[]): Comparison[] =>
  rivals.map(([what, it]) => ({ what, task, it: { ...without, ...it }, without }))

const COMPARISONS: readonly Comparison[] = [
  ...against('vit', DEALT, [
    ['second moment of each segment, Σ full: `ln mean exp(q·k) ≈ q·k̄ + ½ qᵀΣq`', { second: 'full' }],
    ['Σ diagonal', { second: 'diagonal' }],
    ['Σ one number a head', { second: 'head' }],
    ['rows weighed in a mean by their attention to the local mean query', { proxy: 1 }],
    ['the row most unlike the others sent exactly', { outliers: 1 }],
    ['the first row sent exactly', { sink: 1 }],
    ['the first row computed by every device', { anchor: 1 }],
    ['a mean of c rows weighs c^0.8', { alpha: 0.8 }],
    ['c^1.2', { alpha: 1.2 }],
    ['segments that follow the content, neighbours only', { merge: 'neighbours' }],
    ['like rows grouped once, in the first layer', { merge: 'any-once' }],
    ['like rows grouped in every layer', { merge: 'any-far1' }],
    ['grouped pairwise by projected keys and values (Ward)', { merge: 'any-kv' }],
  ]),
  ...against('vit', ALIKE, [
    ['grouped by values alone', { merge: 'any-values' }],
    ['as many rows, fewer in early layers: 1, 1, 1, 3, 3, 3, 5, 5, 5', { rows: [1, 1, 1, 3, 3, 3, 5, 5, 5] }],
    ['fewer in late layers: 5, 5, 5, 3, 3, 3, 1, 1, 1', { rows: [5, 5, 5, 3, 3, 3, 1, 1, 1] }],
    ['fewer at both ends: 1, 2, 3, 4, 5, 5, 4, 2, 1', { rows: [1, 2, 3, 4, 5, 5, 4, 2, 1] }],
    ['twice the rows, sent every second layer', { rows: 6, reuse: 2 }],
    ['three times the rows, sent every third layer', { rows: 9, reuse: 3 }],
  ]),
  ...against('vit', {}, [
    ['Hilbert order', { order: 'hilbert' }],
    ['tiles of 4 × 2 patches', { order: 'tile4x2' }],
    ['tiles of 4 × 4', { order: 'tile4x4' }],
    ['patches dealt in turn, raster', { order: 'spread' }],
    ['patches dealt in turn along a Hilbert curve', DEALT],
  ]),
  ...against('sts', {}, [
    ['the first row sent exactly', { sink: 1 }],
    ['the first row computed by every device', { anchor: 1 }],
    ['the last row ([SEP]) sent exactly', { tail: 1 }],
    ['the row beside the cut sent exactly', { near: 1 }],
    ['rows dealt in turn', { order: 'cyclic1' }],
  ]),
  ...against('sts', { sink: 1 }, [
    ['and the last row', { tail: 1 }],
    ['a mean of c rows weighs c^0.8', { alpha: 0.8 }],
    ['segments that follow the content, neighbours only', { merge: 'neighbours' }],
    ['like rows grouped in every layer', { merge: 'any-far1' }],
  ]),
  ...against('gpt512', { rows: 16 }, [
    ['second moment, Σ full', { second: 'full' }],
    ['the first row computed by every device', { anchor: 1 }],
    ['a mean of c rows weighs c^0.75', { alpha: 0.75 }],
    ['c^0.9', { alpha: 0.9 }],
    ['c^1.1', { alpha: 1.1 }],
    ['segments that follow the content, neighbours only', { merge: 'neighbours' }],
    ['half of the rows exact beside the cut', { near: 8 }],
    ['half exact, like rows of the others', { near: 8, merge: 'any-far1' }],
    ['segments that grow by 1.5 from the cut', { growth: 1.5 }],
    ['a halo of 8 rows', { halo: 8 }],
  ]),
]

const DATA: Readonly<Record<Task, string>> = {
  vit: 'ViT on held-out training images of CIFAR-10, KL divergence from one device',
  sts: 'MiniLM on STS-B’s development pairs, mean squared change of the cosine × 10⁴',
  gpt512: 'GPT-2 on held-out old prose in windows of 512, nats a token lost',
}

/** Trials of all files in a folder; none where it is missing. */
export function readTrials(folder: string): Trial[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter(name => name.endsWith('.jsonl'))
    .flatMap(name => readFileSync(join(folder, name), 'utf8').split('\n').filter(Boolean))
    .map(line => JSON.parse(line) as Trial)
}

/** Both sides of a comparison on the same inputs, the most there are. */
function found({ task, it, without }: Comparison, trials: readonly Trial[]): readonly [Trial, Trial] | undefined {
  const size = (t: Trial): number => t.n ?? Number.POSITIVE_INFINITY
  const having = (sharing: Sharing): Trial[] => {
    const wanted = { ...PLAIN, ...sharing }
    return trials
      .filter(t => t.task === task && Object.keys(wanted).every(k => same({ ...PLAIN, ...t.sharing }[k], wanted[k])))
      .toSorted((a, b) => size(b) - size(a))
  }
  const others = having(without)
  for (const one of having(it)) {
    const other = others.find(o => o.n === one.n)
    if (other) return [one, other]
  }
  return undefined
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** A comparison that was run. */
export interface Tried {
  readonly task: Task
  readonly what: string
  /** How far answers are from one device's. */
  readonly it: number
  readonly without: number
  /** Inputs; null: all there are. */
  readonly n: number | null
}

/** All comparisons that were run. */
export const triedOf = (trials: readonly Trial[]): Tried[] =>
  COMPARISONS.flatMap(comparison => {
    const { task, what } = comparison
    const pair = found(comparison, trials)
    if (!pair) return []
    const [it, without] = pair.map(t => (task === 'gpt512' ? t.loss : (t.kl ?? t.loss))) as [number, number]
    return [{ task, what, it, without, n: pair[0].n }]
  })

/** Their tables, one a task. */
export function triedSection(tried: readonly Tried[]): string {
  if (tried.length === 0) return 'Not run.'
  const tables = (Object.keys(DATA) as Task[]).flatMap(task => {
    const rows = tried
      .filter(t => t.task === task)
      .map(({ what, it, without, n }) => [
        what,
        shown(it),
        shown(without),
        (it / without).toFixed(2),
        String(n ?? 'all'),
      ])
    return rows.length > 0 ? [`${DATA[task]}:`, tableOf(['what', 'with it', 'without', 'ratio', 'inputs'], rows)] : []
  })
  return [
    'Two devices, the same rows sent in f32 (three, of GPT-2 sixteen): how far the answers are from one device’s, with what is named and without. Development data, by ' +
      '`weights-tools/python/ablations`, which computes the method in PyTorch; the ViT of these runs is a smaller one (78.5 %). ' +
      'What wins is an option, and a default where it costs nothing; what does not is not in the product, or off unless asked for.',
    ...tables,
  ].join('\n\n')
}

const shown = (value: number): string => value.toPrecision(3)
