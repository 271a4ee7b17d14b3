/** Candidates in order of their bytes, as `cost()` counts them for sequences of given lengths. */
import { cost, createPlan, PlanError, type SharingOptions } from '@prismal/distribute'
import type { Model, Want } from '@prismal/models'
import { EVERY_ROW, EXACT, nothing, type Recipe, recipesFor, SEGMENTS } from './candidates.js'

/** A way of sharing, and what a device receives by it. */
export interface Candidate {
  readonly sharing: SharingOptions
  /** Received in one request by the device that receives most, headers included: the mean over the inputs, and the most of any. */
  readonly bytes: number
  readonly mostBytes: number
}

/** Which requests bytes are counted for. */
export interface Requests {
  readonly model: Pick<Model, 'family' | 'shape'>
  readonly devices: number
  /** Rows of each input, one request each. */
  readonly lengths: readonly number[]
  readonly want: Want
}

/** What sharing in this way takes. Throws {@link PlanError} where the options cannot be. */
export function candidateOf(sharing: SharingOptions, { model, devices, lengths, want }: Requests): Candidate {
  const counts = new Map<number, number>()
  for (const length of lengths) counts.set(length, (counts.get(length) ?? 0) + 1)
  const { shape } = model
  const decodes = shape.causal && want === 'last'
  let [sum, most] = [0, 0]
  for (const [length, count] of counts) {
    const plan = createPlan({ shape, rows: [length], want, devices, decodes }, sharing)
    const received = Math.max(...cost(plan, shape).map(c => c.bytesReceived))
    sum += count * received
    most = Math.max(most, received)
  }
  return { sharing, bytes: sum / lengths.length, mostBytes: most }
}

/** A recipe with more and more means, as long as that sends more, and less than every row takes. */
function growing(recipe: Recipe, requests: Requests, most: number): Candidate[] {
  const found: Candidate[] = []
  for (const segments of SEGMENTS[requests.model.family]) {
    const next = candidateOf(recipe(segments), requests)
    if (next.bytes >= most || next.bytes <= (found.at(-1)?.bytes ?? 0)) break
    found.push(next)
  }
  return found
}

/** From nothing to every row, ascending in bytes; all but {@link exact}. */
export function ladder(requests: Requests): Candidate[] {
  const { model, devices } = requests
  const [recipe] = recipesFor(model.shape, devices)
  const every = everyRow(requests)
  const none = candidateOf(nothing(model.shape, devices), requests)
  return [none, ...growing(recipe, requests, every[0].bytes), ...every]
}

const everyRow = (requests: Requests): [Candidate, ...Candidate[]] => {
  const [first, ...others] = EVERY_ROW
  return [candidateOf(first, requests), ...others.map(sharing => candidateOf(sharing, requests))]
}

export const exact = (requests: Requests): Candidate => candidateOf(EXACT, requests)

/**
 * Of each recipe the one with most means that stays within the budget for every input, the family's first recipe first; `full` where that does.
 * Throws {@link PlanError} where a single mean takes more.
 */
export function within(budgetBytes: number, requests: Requests): Candidate[] {
  const all = exact(requests)
  if (all.mostBytes <= budgetBytes) return [all]
  const every = everyRow(requests)
  const most = every.findLast(c => c.mostBytes <= budgetBytes)
  if (most) return [most]
  const recipes = recipesFor(requests.model.shape, requests.devices)
  const fitting = recipes.flatMap(recipe => {
    const best = growing(recipe, requests, every[0].bytes).findLast(c => c.mostBytes <= budgetBytes)
    return best ? [best] : []
  })
  if (fitting.length > 0) return fitting
  const least = candidateOf(recipes[0](1), requests)
  throw new PlanError(
    `plan: a budget of ${budgetBytes} bytes is too small: one mean a device takes ${least.mostBytes} bytes a request (strategy isolated sends nothing)`,
  )
}
