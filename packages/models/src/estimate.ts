/**
 * What a request will need of an engine's memory, before it runs: the request itself is rehearsed. Exact by
 * construction, whatever kernels and layers do.
 */
import { InputError } from './errors.js'
import type { Part, Want } from './input.js'
import type { Model } from './model.js'
import { firstSteps, type MemoryEstimate, rehearse } from './rehearse.js'
import { aloneRunner } from './runner.js'

/** What is computed of the rows once they have come. */
export type Head = 'pool' | 'classify' | 'vocabulary'

export interface EstimateRequest {
  /** Rows of each sequence of the batch. */
  readonly rows: readonly number[]
  /** Rows that are asked for; default `all`. */
  readonly want?: Want
  /** Default: none, the rows are what is wanted. */
  readonly head?: Head
  /** For a request that generates: most tokens that each sequence gets. */
  readonly maxNewTokens?: number
}

/**
 * The memory of one request on one device that does nothing else. Where tokens are generated it is that of a run in
 * which every sequence is decoded for at least one step; one that ends before may need less, never more. Throws what the
 * request itself would throw: `InputError` for rows that do not fit the model or a head that it lacks.
 */
export async function estimate(
  model: Model,
  { rows, want = 'all', head, maxNewTokens }: EstimateRequest,
): Promise<MemoryEstimate> {
  const sequences = rows.map(n => blankSequence(model, n))
  return rehearse(model, async rehearsed => {
    const request = aloneRunner(rehearsed).begin()
    if (maxNewTokens !== undefined) await firstSteps(request.tokens(sequences, { maxNewTokens }))
    else {
      const found = await request.rows(sequences, want)
      if (head) headOf(rehearsed, head)(found)
    }
    return request.report().devices[0]?.peakBytes as number
  })
}

/** A sequence of `rows` rows of zeros. Throws {@link InputError} for a number of rows that is none. */
export function blankSequence({ shape }: Pick<Model, 'shape'>, rows: number): Part {
  if (!(Number.isSafeInteger(rows) && rows >= 0)) throw new InputError(`a sequence of ${rows} rows cannot be`)
  if (shape.patchWidth === 0) return { from: 0, to: rows, ids: new Int32Array(rows) }
  const patches = Math.max(0, rows - shape.prefixRows)
  return { from: 0, to: rows, patches: new Float32Array(patches * shape.patchWidth) }
}

/** A head of the model. Throws {@link InputError} where it has none of this kind. */
export function headOf(model: Model, head: Head): NonNullable<Model[Head]> {
  const found = model[head]
  if (!found) throw new InputError(`${model.location} has no head for ${JSON.stringify(head)}`)
  return found
}
