/** What a classifier chose. */
import { indexOfMax } from '@prismal/models'
import type { Tensor } from '@prismal/tensor'

export interface Choice {
  readonly predicted: number
  /** The largest score less the second. */
  readonly margin: number
}

/** Of each row of logits [B, classes]; a single logit is a yes (class 1) or no. */
export function choices(logits: Tensor): Choice[] {
  const values = logits.floats()
  return Array.from({ length: logits.rows }, (_, i) =>
    choice(values.subarray(i * logits.columns, (i + 1) * logits.columns)),
  )
}

/** Of the scores of one item. */
export function choice(scores: ArrayLike<number>): Choice {
  if (scores.length === 1)
    return { predicted: (scores[0] as number) > 0 ? 1 : 0, margin: Math.abs(scores[0] as number) }
  const predicted = indexOfMax(scores)
  let second = Number.NEGATIVE_INFINITY
  for (let i = 0; i < scores.length; i++) if (i !== predicted) second = Math.max(second, scores[i] as number)
  return { predicted, margin: (scores[predicted] as number) - second }
}
