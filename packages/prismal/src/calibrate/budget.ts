/** Sharing within a budget of bytes without any inputs to try it on: by what did best elsewhere. */
import { type Cluster, PlanError, type SharingOptions } from '@prismal/distribute'
import { type Candidate, within } from './ladder.js'

export interface BudgetOptions {
  /** Told what was chosen, before each request whose kind was not seen before. */
  readonly onChoice?: (choice: Candidate) => void
}

/**
 * The same devices, each of which receives at most so many bytes for an input, headers included: of the ways of sharing that are known
 * to do well for models of this family the one with most means that fit. What it costs in accuracy is not known; `calibrate()` finds out.
 * Throws {@link PlanError} where there is one device, and from a request whose inputs do not fit.
 */
export function budgeted(cluster: Cluster, budgetBytes: number, { onChoice }: BudgetOptions = {}): Cluster {
  const devices = cluster.specs.length
  if (devices < 2) throw new PlanError('plan: a budget of bytes is for 2 devices or more')
  return {
    ...cluster,
    runner: async (model, joining) => {
      const runner = await cluster.runner(model, joining)
      const known = new Map<string, SharingOptions>()
      return runner.deciding(async ({ rows, want }) => {
        const key = JSON.stringify([rows, want])
        const before = known.get(key)
        if (before) return before
        const [choice] = within(budgetBytes, { model, devices, lengths: rows, want })
        onChoice?.(choice as Candidate)
        const sharing = { ...(choice as Candidate).sharing, ...cluster.options }
        known.set(key, sharing)
        return sharing
      })
    },
  }
}
