/** A cluster that measures itself before its first request and shares each request in the way that is fastest by prediction. */
import type { Head } from '@prismal/models'
import { unlessAborted } from '@prismal/tensor'
import type { Cluster, SharedRunner } from '../cluster.js'
import type { SharingOptions } from '../options.js'
import { type Choice, choose } from './choose.js'
import type { SharedWork } from './layout.js'
import { measure } from './measure.js'
import type { Measurements } from './measurements.js'

/** Most kinds of requests whose choice is remembered. */
const MOST_CHOSEN = 1024

export interface MeasuredOptions {
  /** Share where one device would be faster too; default: that is a `SharingError`. */
  readonly force?: boolean
  /** What the coordinator computes of the rows; default: nothing is counted. */
  readonly head?: Head
  /** About how long devices are timed, in milliseconds; default 6,000. */
  readonly budgetMs?: number
  /** Told what was chosen, before each request whose kind was not seen before. */
  readonly onChoice?: (choice: Choice, measurements: Measurements) => void
}

/**
 * The same devices. The first request waits while they and their links are measured with sequences as long as its own; later ones
 * are predicted from that. Throws `SharingError` from the request where sharing would not pay, unless `force` is set.
 */
export function measured(cluster: Cluster, options: MeasuredOptions = {}): Cluster {
  return {
    ...cluster,
    runner: async (model, joining) => {
      const runner = await cluster.runner(model, joining)
      return runner.deciding(decider(runner, options))
    },
  }
}

function decider(runner: SharedRunner, { force = false, head, budgetMs, onChoice }: MeasuredOptions) {
  const chosen = new Map<string, SharingOptions>()
  let measuring: Promise<Measurements> | undefined
  return async (work: Omit<SharedWork, 'shape'>, signal: AbortSignal | undefined): Promise<SharingOptions> => {
    const key = JSON.stringify([work.rows, work.want, work.decodes])
    const known = chosen.get(key)
    if (known) return known
    const { options: sharing } = runner
    const { rows, want } = work
    measuring ??= measure(runner, { rows, want, sharing, head, ...(budgetMs !== undefined && { budgetMs }) })
    const measured = measuring.catch(error => {
      measuring = undefined
      throw error
    })
    // Others may wait for it too, and later requests will.
    const measurements = await unlessAborted(measured, signal)
    const output = want === 'mean' ? 'mean' : 'rows'
    const choice = choose({ ...work, shape: runner.model.shape }, measurements, sharing, { force, output })
    onChoice?.(choice, measurements)
    if (chosen.size >= MOST_CHOSEN) chosen.clear()
    chosen.set(key, choice.chosen.sharing)
    return choice.chosen.sharing
  }
}
