/** Decoding: one row a sequence and step, from caches that a prefill filled, whoever did the prefill. */
import type { Tensor } from '@prismal/tensor'
import { alone, turnTaker, wholeLayout } from './context.js'
import { InputError } from './errors.js'
import type { KvCache } from './kv-cache.js'
import type { Model } from './model.js'
import type { StageMeter } from './report.js'
import { Sampler, type SamplingOptions } from './sampling.js'

export interface GenerateOptions {
  /** Most tokens a sequence gets, at least 1. Fewer where the model's positions end. */
  readonly maxNewTokens: number
  readonly sampling?: SamplingOptions
  /** A sequence ends after one of these. */
  readonly endIds?: readonly number[]
  /** Ids that each sequence gets, one list a prompt, as far as they go; then those that are chosen. For scoring a text. */
  readonly forced?: readonly (readonly number[])[]
  /** Give each step's logits too. */
  readonly withLogits?: boolean
}

export interface Emitted {
  /** Number of the prompt in the batch. */
  readonly sequence: number
  readonly id: number
  /** Logits over the vocabulary that the id was chosen from, where they were asked for. */
  readonly logits?: Float32Array
  /** Why this was the sequence's last token. */
  readonly end?: 'length' | 'end-token' | 'positions'
}

/** One prompt after its prefill, ready to be decoded. */
export interface Prefilled {
  /** Number of the prompt in its batch. */
  readonly sequence: number
  readonly cache: KvCache
  /** Position of the first new row. */
  readonly position: number
  /** The prompt's ids, as far as sampling needs them. */
  readonly ids: ArrayLike<number>
}

interface Running {
  readonly sequence: number
  readonly sampler: Sampler
  readonly cache: KvCache
  readonly seen: number[]
  position: number
  made: number
}

/**
 * Emits tokens of all prompts in turn until each has ended. `last` [B, D] are their finished last rows; decoding takes
 * its memory from their scope.
 */
export async function* generate(
  model: Model,
  meter: StageMeter,
  last: Tensor,
  prefilled: readonly Prefilled[],
  options: GenerateOptions,
  signal?: AbortSignal,
): AsyncGenerator<Emitted> {
  const { vocabulary } = model
  if (!vocabulary) throw new InputError(`${model.location} has no head over the vocabulary: it cannot generate`)
  checkOptions(options)
  let running = prefilled.map(({ sequence, cache, position, ids }): Running => {
    const sampler = new Sampler(options.sampling, sequence)
    return { sequence, sampler, cache, seen: Array.from(ids), position, made: 0 }
  })
  const { scope } = last
  const turn = turnTaker(signal)
  let rows = last
  while (running.length > 0) {
    meter.enter('head')
    const logits = vocabulary(rows)
    const ended = new Set<Running>()
    for (const [i, state] of running.entries()) {
      const emitted = choose(state, logits.slice(i, i + 1).floats(), options, model.shape.positions)
      if (emitted.end) ended.add(state)
      yield emitted
    }
    logits.dispose()
    rows.dispose()
    running = running.filter(state => !ended.has(state))
    if (running.length === 0) return
    await turn()
    meter.enter('decode')
    const layout = wholeLayout(
      running.map(() => ({ rows: 1, wanted: [0] })),
      model.shape,
    )
    const context = alone(
      layout,
      { enter: () => {} },
      running.map(state => state.cache),
    )
    const parts = running.map(state => ({
      from: state.position,
      to: ++state.position,
      ids: Int32Array.of(state.seen.at(-1) as number),
    }))
    rows = await scope.step(model.embed(scope, parts), async x => model.finish(await model.forward(x, context)))
  }
}

function choose(state: Running, logits: Float32Array, options: GenerateOptions, positions: number): Emitted {
  const id = options.forced?.[state.sequence]?.[state.made] ?? state.sampler.next(logits, state.seen)
  state.seen.push(id)
  state.made++
  const isEnd = options.endIds?.includes(id)
  const end = isEnd
    ? 'end-token'
    : state.made >= options.maxNewTokens
      ? 'length'
      : state.position >= positions
        ? 'positions'
        : undefined
  return { sequence: state.sequence, id, ...(options.withLogits && { logits }), ...(end && { end }) }
}

/** Throws {@link InputError} for options that no generation can have. */
export function checkOptions({ maxNewTokens, sampling }: GenerateOptions): void {
  new Sampler(sampling) // which checks its own
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1)
    throw new InputError(`maxNewTokens is ${maxNewTokens}, not a whole number ≥ 1`)
}
