/**
 * What calibration chooses among. This file is data: which recipes are tried for which models follows from measurements, on development data
 * only.
 */
import { recommended, type SharingOptions } from '@prismal/distribute'
import type { Model } from '@prismal/models'

/** How so many means a device are sent. */
export type Recipe = (segments: number) => SharingOptions

/**
 * Ways of sending means for P devices. The first is the one whose numbers of means are tested for `maxLoss`, after
 * nothing sent and before every row: more of them must lose less. For a budget all are raced against each other, each with as many
 * means as fit; where there is nothing to try them on, the first is taken.
 */
export function recipesFor(shape: Model['shape'], devices: number): readonly [Recipe, ...Recipe[]] {
  const best: Recipe = segments => ({ ...recommended(shape, devices, { segments }), segments })
  const otherSink = (sink: number | undefined): number => (sink === 0 ? 1 : 0)
  const all: [Recipe, ...Recipe[]] = [
    best,
    segments => ({ ...best(segments), wire: 'int8' }),
    segments => ({ ...best(segments), sink: otherSink(best(segments).sink) }),
  ]
  // Where texts are unlike those that a language model was trained on, means of the block input that weigh less may lose less.
  if (shape.causal) all.push(segments => ({ ...best(segments), point: 'input', gain: 0.7 }))
  return all
}

/** Rows dealt as for next to no means, and none sent. */
export const nothing = (shape: Model['shape'], devices: number): SharingOptions => ({
  ...recommended(shape, devices, { segments: 0 }),
  strategy: 'isolated',
})

/**
 * L, means a device. A text model's windows are long and few means tell much of them: more than 64 are not worth the time it takes to
 * try them.
 */
export const SEGMENTS: Readonly<Record<Model['family'], readonly number[]>> = {
  vit: [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128],
  bert: [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64],
  gpt2: [1, 2, 4, 8, 16, 32, 64],
}

/** Every row in fewer bits, ascending: almost exact, for a quarter of the bytes of `full`. Means that take more than the first of them are not tried. */
export const EVERY_ROW: readonly [SharingOptions, ...SharingOptions[]] = [
  { strategy: 'full', wire: 'int4', point: 'normed' },
  { strategy: 'full', wire: 'int8', point: 'normed' },
]

/** Exact. It needs no test. */
export const EXACT: SharingOptions = { strategy: 'full' }
