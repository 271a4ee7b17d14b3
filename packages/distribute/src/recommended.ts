/** How means are best sent, by what a model is: chosen by what they cost on development data (weights-tools/python/ablations). */
import type { StackShape } from '@prismal/models'
import type { SharingOptions } from './options.js'
import type { RowShape } from './row-order.js'

/** Everything about means but how many: of P devices and a model of this shape. */
export function recommended(shape: Pick<StackShape, 'causal'> & RowShape, devices: number): SharingOptions {
  const groups = { strategy: 'means', point: 'normed', wire: 'int4', bounds: 'alike' } as const
  // Rows beside the cut are what later ones attend to most: a few are computed twice.
  if (shape.causal) return { ...groups, sink: 0, halo: 1 / 16 }
  // Two devices that each have every other patch of an image lack little; more lack too much, and compact parts are better.
  if (shape.patchGrid) return { ...groups, sink: 1, order: devices === 2 ? 'hilbert-in-turn' : 'hilbert' }
  // Of a pair of sentences every device has a part of both; a short one is dealt in runs.
  return { ...groups, sink: 1, order: 'in-turn', turn: 8 }
}

/** In four bits these are fewer bytes than a tenth of the rows in f32, and pairs of sentences lose a point or two where a quarter of the rows loses 17. */
const COMPRESSION_RATE = 2

/** The options with what they leave open: for means as {@link recommended}, one mean for each two rows. */
export function withDefaults(
  shape: Pick<StackShape, 'causal'> & RowShape,
  devices: number,
  options: SharingOptions = {},
): SharingOptions {
  if ((options.strategy ?? 'means') !== 'means') return options
  const { halo, ...best } = recommended(shape, devices)
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
