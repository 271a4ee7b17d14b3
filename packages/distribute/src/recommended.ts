/** How means are best sent, by what a model is: chosen by what they cost on development data (weights-tools/python/ablations). */
import type { StackShape } from '@prismal/models'
import type { SharingOptions } from './options.js'
import type { RowShape } from './row-order.js'

/** Everything about means but how many: of P devices and a model of this shape. */
export function recommended(shape: Pick<StackShape, 'causal'> & RowShape, devices: number): SharingOptions {
  const exact = { strategy: 'means', point: 'normed', wire: 'int4' } as const
  // Rows beside the cut are what later ones attend to most.
  if (shape.causal) return { ...exact, bounds: 1.5, sink: 0 }
  // Two devices that each have every other patch of an image lack little; more lack too much, and compact parts are better.
  if (shape.patchGrid)
    return { ...exact, bounds: 'alike', sink: 1, order: devices === 2 ? 'hilbert-in-turn' : 'hilbert' }
  // Of a pair of sentences every device has a part of both; a short one is dealt in runs.
  return { ...exact, bounds: 'alike', sink: 1, order: 'in-turn', turn: 8 }
}
