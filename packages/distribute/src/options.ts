/** How devices share: what may be asked for, and what is refused by name. */
import { PlanError } from './errors.js'

/**
 * `whole` deals whole sequences out and exchanges nothing; `full` sends every row to everyone (exact: Voltage); `means`
 * sends segment means (PRISM); `isolated` sends nothing: the baseline that shows what exchange is worth.
 */
export type Strategy = 'whole' | 'full' | 'means' | 'isolated'
/** Where means are taken: of the normed rows, or of the block input, which the receiver norms. */
export type Point = 'normed' | 'input'
export type WireFormat = 'f32' | 'f16' | 'int8' | 'int4'
/**
 * In which order rows are dealt: as they are, or an image's patches along a Hilbert curve; a run of them to each device, or
 * `in-turn`, each to the next device.
 */
export type RowOrder = 'raster' | 'hilbert' | 'in-turn' | 'hilbert-in-turn'
/**
 * Sizes of segments: equal but for one row; or growing geometrically with the distance from the nearest cut, from one row on; or by a
 * factor from segment to segment, 1 to 16, where as many beside the cut as that takes have one row; or not runs of rows at all but
 * groups of rows that are alike, wherever they lie.
 */
export type SegmentBounds = 'uniform' | 'graded' | 'alike' | number

export const STRATEGIES: readonly Strategy[] = ['whole', 'full', 'means', 'isolated']
export const POINTS: readonly Point[] = ['normed', 'input']
export const WIRE_FORMATS: readonly WireFormat[] = ['f32', 'f16', 'int8', 'int4']
export const ROW_ORDERS: readonly RowOrder[] = ['raster', 'hilbert', 'in-turn', 'hilbert-in-turn']
export const SEGMENT_BOUNDS = ['uniform', 'graded', 'alike'] as const

/** What is left open of means is as `recommended` for the model and the number of devices, `PUBLISHED` is the paper's method. */
export interface SharingOptions {
  /** Default `means`. The options that speak of means, segments or exact rows do nothing for the others. */
  readonly strategy?: Strategy
  /**
   * L, segments a device makes of its rows of a sequence, ≥ 1; or one number a layer, ≥ 0, where 0 sends no means: what `sink`,
   * `tail` and `near` name still travels, and without them nothing does. Costs L·D values a layer to every other device. Default: by
   * `compressionRate`.
   */
  readonly segments?: number | readonly number[]
  /**
   * Instead of `segments`: the rows that a device sends of a sequence in each layer in all, ≥ 1. What `sink`, `tail` and `near` send exactly is
   * taken off the means, and sent where it is more.
   */
  readonly rows?: number
  /** ⌈N/P⌉ / L where neither `segments` nor `rows` is given, ≥ 1; default 2. */
  readonly compressionRate?: number
  /**
   * How the rows between exact ones are cut into segments; default `alike`. `graded`, or a factor such as 1.5, makes a segment's size grow with its
   * distance from where another device's rows begin (in a causal model: later rows) in the order of dealing, so that the rows
   * beside the cut are exact and far ones coarse; that costs nothing. `alike` groups a device's rows anew in each layer, at most
   * 65,535 of a sequence: 2 bytes a mean for its count, and 2·n²·D operations for each n ≤ 512 rows or so that are compared.
   */
  readonly bounds?: SegmentBounds
  /** Leading rows of each sequence that are sent exactly, besides the means; ≥ 0, default 0 for causal models, else 1. Costs D values a row and layer. */
  readonly sink?: number
  /** Last rows of each sequence that are sent exactly, besides the means (BERT's SEP); ≥ 0, default 0. Costs D values a row and layer. */
  readonly tail?: number
  /**
   * Rows beside those of another device (in a causal model: of a later one) that are sent exactly, besides the means, at each end of a
   * partition that has such; ≥ 0, default 0. Costs D values a row and layer.
   */
  readonly near?: number
  /**
   * Leading rows of each sequence that every device computes itself, besides its own, and that are therefore not sent; at
   * most those of the first device that has rows. ≥ 0, default 0. Costs every other device a row's computation in each
   * layer and the row's input, and no bytes of the exchange.
   */
  readonly anchor?: number
  /**
   * For causal models: the last rows of a device's partition that the next device with rows computes too,
   * before its own, and that are therefore not sent to it; at most those that are sent at all. Later devices hear of all rows. A whole
   * number ≥ 0, or below 1 a share of that device's own rows, rounded down. Default: 1/16 for means of causal models whose `bounds` are
   * left open too, else 0. Costs that device a row's computation in each layer and the row's input, and no bytes of the exchange.
   */
  readonly halo?: number
  /**
   * α in the weight c^α of a mean of c rows, that is α·ln c added to its logits, from 0 (means weigh as one row) to 4; or one number a
   * layer. Default 1: a mean weighs as the rows it stands for. Costs nothing.
   */
  readonly gain?: number | readonly number[]
  /** Default `normed` for means, `input` for `full`. */
  readonly point?: Point
  /** How rows travel: 4, 2, 1 or (int4, by groups of 64 columns) 0.53 bytes a value; default `int4` for means, else `f32`. */
  readonly wire?: WireFormat
  /**
   * Default for means: of images `hilbert`, but on two devices `raster`, and `hilbert-in-turn` where they send means of an eighth of
   * their rows or fewer; `in-turn` for other models that are not causal; else `raster`. Along a Hilbert curve, for models with a grid
   * of patches, means are of compact patches. In turn, for models that are not causal, every device has rows from everywhere, so that
   * what it lacks resembles what it has: little is lost where nothing arrives. The first row and those that `sink`, `tail` and `anchor`
   * name keep their places; what is asked for comes back in its own order. Costs nothing.
   */
  readonly order?: RowOrder
  /** How many rows a device gets at a time where the `order` deals them in turn; ≥ 1, default 8 for means of texts, else 1. Costs nothing. */
  readonly turn?: number
  /** Shares of the rows, one a device, e.g. their speeds; default: even. */
  readonly weights?: readonly number[]
  /**
   * Rows are dealt, and counted by `compressionRate`, as though every sequence had at least so many: the last devices may then have
   * none of a short one, as where sequences are padded. ≥ 0, default 0.
   */
  readonly padTo?: number
  /** Nothing arrives from this device from this layer on: what a missed deadline will look like. */
  readonly lost?: readonly [device: number, layer: number]
  /** What decoding attends to of earlier partitions: their means (default), or `full`: their exact rows, sent at prefill. */
  readonly handoff?: 'means' | 'full'
}

/** Larger than any speed in operations a second, and its multiples by rows stay finite. */
const MOST_WEIGHT = 1e100
/** Beyond it a mean drowns every row, whatever its key. */
const MOST_GAIN = 4

/** Beyond it all but one segment have one row. */
const MOST_GROWTH = 16

const isGrowth = (factor: unknown): boolean => typeof factor === 'number' && factor >= 1 && factor <= MOST_GROWTH
const whole = (n: unknown, least: number): boolean => Number.isSafeInteger(n) && (n as number) >= least

/** Every option there is. */
const NAMES: { readonly [name in keyof Required<SharingOptions>]: true } = {
  ...{ strategy: true, point: true, wire: true, handoff: true, order: true, turn: true, bounds: true, segments: true },
  ...{ rows: true, compressionRate: true, sink: true, tail: true, near: true, anchor: true, halo: true, gain: true },
  ...{ weights: true, padTo: true, lost: true },
}

/** Throws {@link PlanError} naming the first option that cannot be, of `devices` devices and a model of `layers` layers. */
export function checkSharing(devices: number, layers: number, options: SharingOptions): void {
  const { segments, rows, compressionRate, bounds, sink, tail, near, anchor, halo, gain, turn, weights, padTo, lost } =
    options
  const named = (name: keyof SharingOptions, known: readonly string[]): [boolean, string] => [
    options[name] === undefined || known.includes(options[name] as string),
    `${name} is ${JSON.stringify(options[name])}, not one of ${known.join(', ')}`,
  ]
  const counted = (name: keyof SharingOptions, value: number | undefined): [boolean, string] => [
    value === undefined || whole(value, 0),
    `${name} is ${value}, not a whole number ≥ 0`,
  ]
  const aLayer = (name: keyof SharingOptions, value: number | readonly number[] | undefined): [boolean, string] => [
    !isList(value) || value.length === layers,
    `${name} has ${isList(value) ? value.length : 0} numbers for ${layers} layers`,
  ]
  const isGain = (alpha: unknown): boolean =>
    Number.isFinite(alpha) && (alpha as number) >= 0 && (alpha as number) <= MOST_GAIN
  const unknown = Object.entries(options).find(([name, value]) => !Object.hasOwn(NAMES, name) && value !== undefined)
  const rules: [boolean, string][] = [
    [!unknown, `there is no option ${JSON.stringify(unknown?.[0])} (${Object.keys(NAMES).join(', ')})`],
    [whole(devices, 1), `devices is ${devices}, not a whole number ≥ 1`],
    named('strategy', STRATEGIES),
    named('point', POINTS),
    named('wire', WIRE_FORMATS),
    named('order', ROW_ORDERS),
    [
      [undefined, ...SEGMENT_BOUNDS].includes(bounds as undefined) || isGrowth(bounds),
      `bounds is ${JSON.stringify(bounds)}, not one of ${SEGMENT_BOUNDS.join(', ')} or a factor from 1 to ${MOST_GROWTH}`,
    ],
    named('handoff', ['means', 'full']),
    aLayer('segments', segments),
    [
      segments === undefined || (isList(segments) ? segments.every(L => whole(L, 0)) : whole(segments, 1)),
      isList(segments)
        ? `segments are [${segments}], not whole numbers ≥ 0`
        : `segments is ${segments}, not a whole number ≥ 1`,
    ],
    [rows === undefined || whole(rows, 1), `rows is ${rows}, not a whole number ≥ 1`],
    [rows === undefined || segments === undefined, 'either segments or rows is given, not both'],
    [
      compressionRate === undefined || (Number.isFinite(compressionRate) && compressionRate >= 1),
      `compressionRate is ${compressionRate}, not a number ≥ 1`,
    ],
    counted('sink', sink),
    counted('tail', tail),
    counted('near', near),
    counted('anchor', anchor),
    [
      halo === undefined || whole(halo, 0) || (halo > 0 && halo < 1),
      `halo is ${halo}, neither a whole number ≥ 0 nor a share below 1`,
    ],
    counted('padTo', padTo),
    [turn === undefined || whole(turn, 1), `turn is ${turn}, not a whole number ≥ 1`],
    aLayer('gain', gain),
    [
      gain === undefined || (isList(gain) ? gain.every(isGain) : isGain(gain)),
      `gain is ${gain}, not a number from 0 to ${MOST_GAIN}, or one a layer`,
    ],
    [
      weights === undefined || (isList(weights) && weights.length === devices),
      isList(weights)
        ? `${weights.length} weights were given for ${devices} devices`
        : `weights is ${JSON.stringify(weights)}, not a list of numbers`,
    ],
    [
      !isList(weights) || (weights.every(w => w >= 0 && w <= MOST_WEIGHT) && weights.some(w => w > 0)),
      `weights are [${weights}]; they are numbers from 0 to ${MOST_WEIGHT}, not all 0`,
    ],
    [
      lost === undefined || (isList(lost) && whole(lost[0], 0) && lost[0] < devices && whole(lost[1], 0)),
      `lost is ${JSON.stringify(lost)}, not [device, layer]`,
    ],
  ]
  for (const [holds, message] of rules) if (!holds) throw new PlanError(`plan: ${message}`)
}

const isList = (value: unknown): value is readonly number[] => Array.isArray(value)

/** How many layers options speak of that have a number for each; undefined where none has. */
export const layersNamed = ({ segments, gain }: SharingOptions): number | undefined =>
  [segments, gain].find(isList)?.length

/** One number a layer. */
export const eachLayer = (value: number | readonly number[], layers: number): readonly number[] =>
  isList(value) ? value : new Array<number>(layers).fill(value)
