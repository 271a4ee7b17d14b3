/** Runs a model's code on an engine that counts memory and has none, to know what a request will need. */
import { rehearsalEngine } from '@prismal/tensor'
import type { Emitted } from './generate.js'
import type { Model } from './model.js'
import { checkRoom } from './room.js'

/** What one device needs for one request. */
export interface MemoryEstimate {
  /** What the weights take in the engine, alignment included. */
  readonly weightBytes: number
  /** Largest use of the engine's memory while the request runs, weights included: `peakBytes` of its report. */
  readonly peakBytes: number
  /** What the engine's memory will then have grown to, in whole pages: its part of the process. It never shrinks. */
  readonly processBytes: number
}

/**
 * Runs `work`, which gives the peak, with a copy of the model that stands on a rehearsal of its engine, of as many threads
 * or of `threads`.
 */
export async function rehearse(
  model: Model,
  work: (rehearsed: Model) => Promise<number>,
  threads?: number,
): Promise<MemoryEstimate> {
  const engine = rehearsalEngine({ of: model.engine, ...(threads !== undefined && { threads }) })
  const weightBytes = engine.arena.usedBytes
  try {
    const peakBytes = await work({ ...model, engine, dispose: () => engine.dispose() })
    return { weightBytes, peakBytes, processBytes: engine.memory.bytes }
  } finally {
    engine.dispose()
  }
}

/**
 * Rehearses a request where the engine's memory is limited. Throws `MemoryError`, saying by how much, where the request
 * would not fit even with nothing else running.
 */
export async function expectRoom(model: Model, work: (rehearsed: Model) => Promise<number>): Promise<void> {
  const { engine } = model
  if (engine.rehearses || engine.arena.limitBytes === Number.POSITIVE_INFINITY) return
  checkRoom(engine, await rehearse(model, work))
}

/** Takes tokens until every step that differs in memory has been made: later ones have as many sequences, or fewer. */
export async function firstSteps(tokens: AsyncIterable<Emitted>): Promise<void> {
  const made = new Map<number, number>()
  for await (const { sequence } of tokens) {
    const count = (made.get(sequence) ?? 0) + 1
    if (count > 2) return
    made.set(sequence, count)
  }
}
