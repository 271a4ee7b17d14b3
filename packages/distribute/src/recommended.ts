/** How means are best sent, by what a model is: chosen by what they cost on development data (weights-tools/python/ablations). */
import type { StackShape } from '@prismal/models'
import type { RowOrder, SharingOptions } from './options.js'
import type { RowShape } from './row-order.js'

/** How many means a device sends, as {@link SharingOptions} has it. */
type HowMany = Pick<SharingOptions, 'rows' | 'segments' | 'compressionRate'>

/** Everything about means but how many: of P devices and a model of this shape, where about so many are sent. */
export function recommended(
  shape: Pick<StackShape, 'causal'> & RowShape,
  devices: number,
  howMany: HowMany = {},
): SharingOptions {
  const groups = { strategy: 'means', point: 'normed', wire: 'int4', bounds: 'alike' } as const
  // Rows beside the cut are what later ones attend to most: a few are computed twice.
  if (shape.causal) return { ...groups, sink: 0, halo: 1 / 16 }
  if (shape.patchGrid) return { ...groups, sink: 1, order: imageOrder(shape.patchGrid, devices, howMany) }
  // Of a pair of sentences every device has a part of both; a short one is dealt in runs.
  return { ...groups, sink: 1, order: 'in-turn', turn: 8 }
}

/** Share of a device's patches from which on, on two devices, means of compact parts tell more than neighbours stand for. */
const MANY = 1 / 8

/**
 * How patches are dealt. Two devices that each have every other patch lack little, which counts where next to nothing is sent. More
 * devices lack too much that way, and compact parts are better.
 */
function imageOrder([height, width]: readonly [number, number], devices: number, howMany: HowMany): RowOrder {
  if (devices !== 2) return 'hilbert'
  const { rows, segments, compressionRate = COMPRESSION_RATE } = howMany
  const sent = rows ?? (typeof segments === 'object' ? mean(segments) : segments)
  const share = sent === undefined ? 1 / compressionRate : sent / ((height * width) / devices)
  return share > MANY ? 'raster' : 'hilbert-in-turn'
}

const mean = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0) / numbers.length

/** In four bits these are fewer bytes than a tenth of the rows in f32, and pairs of sentences lose a point or two where a quarter of the rows loses 17. */
const COMPRESSION_RATE = 2

/** The options with what they leave open: for means as {@link recommended}, one mean for each two rows. */
export function withDefaults(
  shape: Pick<StackShape, 'causal'> & RowShape,
  devices: number,
  options: SharingOptions = {},
): SharingOptions {
  if ((options.strategy ?? 'means') !== 'means') return options
  const { halo, ...best } = recommended(shape, devices, options)
  // A halo goes with the bounds that it was tried with; with some there is none.
  const withHalo = options.bounds === undefined && halo !== undefined && { halo }
  return { ...best, ...withHalo, compressionRate: COMPRESSION_RATE, ...options }
}

/**
 * PRISM as published (arXiv 2507.12145), but for how many segments: rows as they come, equal segments, means only, in f32. Where means are
 * taken the paper does not say; of the normed rows they lose least.
 */
export const PUBLISHED = {
  ...{ strategy: 'means', point: 'normed', wire: 'f32', order: 'raster', bounds: 'uniform', gain: 1 },
  ...{ sink: 0, tail: 0 },
} as const satisfies SharingOptions
