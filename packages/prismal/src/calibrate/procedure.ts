/**
 * How a way of sharing is chosen: which candidate is tested when, on how many inputs, and at which level. It knows nothing of models,
 * so that its promises can be tested on made up losses and held to results that were stored before.
 *
 * `certify` is fixed-sequence testing (as in Learn then Test, arXiv 2110.01052): from the candidate that sends most downwards, each is
 * tested at the whole level α, and the first that fails ends it. A candidate that loses too much is then chosen with probability α at
 * most, however many are tested. A test looks at a quarter and a half of the inputs first, and α is shared out among its looks.
 */
import type { Bound } from './bounds.js'

/** What so many inputs, the first ones, tell of a candidate, by bounds that hold with probability 1 − α each. */
export type Tell<Candidate> = (candidate: Candidate, inputs: number, alpha: number) => Promise<Bound>

/** A candidate, and what was found out about it. */
export interface Tested<Candidate> {
  readonly candidate: Candidate
  /** On how many inputs it was tried. */
  readonly inputs: number
  readonly bound: Bound
  /** Whether the upper bound is no more than what may be lost. */
  readonly holds: boolean
  /** About how many inputs would have shown it, where it seems to lose little enough and that was not shown. */
  readonly neededInputs?: number
}

export interface Limits {
  /** How many inputs there are. */
  readonly inputs: number
  /** Probability that more is lost than is said. */
  readonly alpha: number
}

/** Parts of the inputs after which is looked, and each look's share of α. */
const LOOKS: readonly (readonly [inputs: number, alpha: number])[] = [
  [0.25, 0.1],
  [0.5, 0.15],
  [1, 0.75],
]

/**
 * Tests candidates, ascending in bytes, against a loss of at most `maxLoss` percent. Gives all that were tested, from the most
 * expensive on: the last one that holds is the choice; where none does, nothing cheaper than exact sharing was shown to hold.
 */
export async function certify<Candidate>(
  candidates: readonly Candidate[],
  tell: Tell<Candidate>,
  { inputs, alpha, maxLoss }: Limits & { readonly maxLoss: number },
): Promise<Tested<Candidate>[]> {
  const tested: Tested<Candidate>[] = []
  for (const candidate of candidates.toReversed()) {
    const result = await test(candidate, tell, { inputs, alpha, maxLoss })
    tested.push(result)
    if (!result.holds) break
  }
  return tested
}

async function test<Candidate>(
  candidate: Candidate,
  tell: Tell<Candidate>,
  { inputs, alpha, maxLoss }: Limits & { readonly maxLoss: number },
): Promise<Tested<Candidate>> {
  for (const [part, share] of LOOKS) {
    const count = Math.ceil(part * inputs)
    const bound = await tell(candidate, count, share * alpha)
    if (bound.upper <= maxLoss) return { candidate, inputs: count, bound, holds: true }
    // Further inputs would hardly change what these say, and no error is made by giving up.
    const isHopeless = bound.lower > maxLoss
    if (!isHopeless && count < inputs) continue
    const needed = neededInputs(bound, count, maxLoss)
    return { candidate, inputs: count, bound, holds: false, ...(needed !== undefined && { neededInputs: needed }) }
  }
  throw new RangeError('the last look is at all inputs')
}

/** More inputs than this are not suggested: the loss is too near to what may be lost. */
const MOST_SUGGESTED = 1e6

/** Bounds come closer with the root of the number of inputs; where nothing differed at all, with the number. What tells nothing yet takes `leastInputs`. */
export function neededInputs(bound: Bound, inputs: number, maxLoss: number): number | undefined {
  const { estimate, upper, upperOfMore = upper, leastInputs } = bound
  if (!Number.isFinite(upper)) return leastInputs
  if (!(estimate < maxLoss)) return undefined
  const times = (upperOfMore - estimate) / (maxLoss - estimate)
  const needed = Math.ceil(inputs * (estimate === 0 ? times : times * times))
  // Two digits: it is an extrapolation.
  const digits = 10 ** Math.max(0, Math.floor(Math.log10(needed)) - 1)
  return needed <= MOST_SUGGESTED ? Math.ceil(needed / digits) * digits : undefined
}

/**
 * Finds the candidate that loses least: all are tried on an eighth of the inputs, the better half of them on a quarter, and so on; the last one
 * on all. Its bound holds however many there were (each has its share of α). Gives all, the best one first.
 */
export async function race<Candidate>(
  candidates: readonly Candidate[],
  tell: Tell<Candidate>,
  { inputs, alpha }: Limits,
): Promise<Tested<Candidate>[]> {
  const share = alpha / candidates.length
  const out: Tested<Candidate>[] = []
  let left = [...candidates]
  for (let part = 1 / 8; left.length > 0; part = Math.min(1, part * 2)) {
    const count = Math.ceil((left.length === 1 ? 1 : part) * inputs)
    const round: Tested<Candidate>[] = []
    for (const candidate of left)
      round.push({ candidate, inputs: count, bound: await tell(candidate, count, share), holds: true })
    round.sort((a, b) => a.bound.estimate - b.bound.estimate)
    const isLast = count === inputs
    const kept = isLast ? 0 : Math.ceil(left.length / 2)
    out.unshift(...round.slice(kept))
    left = round.slice(0, kept).map(t => t.candidate)
  }
  return out
}
