/** Chooses the next token from logits. */
import { InputError } from './errors.js'

export interface SamplingOptions {
  /** 0 (default): the most likely token. Above: logits are divided by it before sampling. */
  readonly temperature?: number
  /** Only the k most likely tokens; 0 (default): all. */
  readonly topK?: number
  /** Only the most likely tokens that together reach this probability, at least one; 1 (default): all. */
  readonly topP?: number
  /** Logits of tokens that occurred are divided (positive) or multiplied (negative) by it; 1 (default): none. */
  readonly repetitionPenalty?: number
  /** Start of the random sequence, a whole number; default 0. The same seed gives the same text. */
  readonly seed?: number
}

/** A sampler of one sequence; `seen` are the ids so far, which it may be told to avoid. */
export class Sampler {
  readonly #options: Required<SamplingOptions>
  readonly #random: () => number

  constructor(options: SamplingOptions = {}, sequence = 0) {
    this.#options = { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 0, ...options }
    const { temperature, topK, topP, repetitionPenalty, seed } = this.#options
    const rules: [boolean, string][] = [
      [temperature >= 0 && Number.isFinite(temperature), `temperature is ${temperature}, not a number ≥ 0`],
      [Number.isInteger(topK) && topK >= 0, `topK is ${topK}, not a whole number ≥ 0`],
      [topP >= 0 && topP <= 1, `topP is ${topP}, not within [0, 1]`],
      [repetitionPenalty > 0, `repetitionPenalty is ${repetitionPenalty}, not positive`],
      [Number.isSafeInteger(seed), `seed is ${seed}, not a whole number`],
    ]
    for (const [holds, message] of rules) if (!holds) throw new InputError(`sampling: ${message}`)
    this.#random = mulberry32(seed + sequence * 0x9e3779b9)
  }

  /** The next token's id; ties go to the lowest. */
  next(logits: Float32Array, seen: Iterable<number>): number {
    const { temperature, topK, topP, repetitionPenalty } = this.#options
    const scores = repetitionPenalty === 1 ? logits : penalised(logits, seen, repetitionPenalty)
    if (temperature === 0) return indexOfMax(scores)
    const order = Array.from(scores, (_, i) => i).sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b)
    const best = scores[order[0] as number] as number
    const candidates = topK > 0 ? order.slice(0, topK) : order
    const weights = candidates.map(i => Math.exp(((scores[i] as number) - best) / temperature))
    const total = weights.reduce((a, b) => a + b, 0)
    let kept = 0
    let mass = 0
    do mass += weights[kept++] as number
    while (kept < weights.length && mass < topP * total)
    let target = this.#random() * mass
    for (let i = 0; i < kept; i++) {
      target -= weights[i] as number
      if (target < 0) return candidates[i] as number
    }
    return candidates[kept - 1] as number
  }
}

export function indexOfMax(values: ArrayLike<number>): number {
  let best = 0
  let most = values[0] as number
  for (let i = 1; i < values.length; i++) {
    const value = values[i] as number
    if (value > most) {
      most = value
      best = i
    }
  }
  return best
}

function penalised(logits: Float32Array, seen: Iterable<number>, penalty: number): Float32Array {
  const scores = logits.slice()
  for (const id of new Set(seen)) {
    const score = scores[id] as number
    scores[id] = score > 0 ? score / penalty : score * penalty
  }
  return scores
}

/** Tommy Ettinger's mulberry32: 32 bits of state, enough to choose tokens with. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
