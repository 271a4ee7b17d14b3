/** Predictions beside what was measured. */
import { blankSequence, type Head, headOf } from '@prismal/models'
import type { SharedRunner } from '../cluster.js'
import type { Candidate } from './choose.js'
import type { SharedWork } from './layout.js'
import { type Measurements, median } from './measurements.js'
import { predict } from './predict.js'
import { SpeedMeter } from './speed-meter.js'

const MOST_ROUNDS = 100

export interface VerifyOptions {
  readonly head?: Head | undefined
  /** Least requests by each candidate; default 5. */
  readonly rounds?: number
  /** Where requests are short there are more of them, for about so long; default 4,000. */
  readonly budgetMs?: number
  readonly signal?: AbortSignal | undefined
}

export interface Verified {
  readonly candidate: Candidate
  /** Out of devices' speeds that were measured between the requests, so that both saw the same machine. */
  readonly predictedMs: number
  /** Median of the requests. */
  readonly measuredMs: number
  readonly requests: number
  /** Predicted ÷ measured − 1. */
  readonly error: number
}

/**
 * Makes requests by each candidate, one after the other, round by round, and measures the devices' speeds again in between:
 * what else a machine does then slows both alike. Links are taken as measured.
 */
export async function verify(
  runner: SharedRunner,
  work: SharedWork,
  measurements: Measurements,
  candidates: readonly Candidate[],
  { head, rounds = 5, budgetMs = 4000, signal }: VerifyOptions = {},
): Promise<Verified[]> {
  const meter = new SpeedMeter(runner, { rows: work.rows, head, signal })
  const sequences = work.rows.map(n => blankSequence(runner.model, n))
  const times = candidates.map((): number[] => [])
  const since = performance.now()
  for (let i = 0; i < rounds || (i < MOST_ROUNDS && performance.now() - since < budgetMs); i++) {
    await meter.round()
    for (const [c, { sharing }] of candidates.entries()) {
      const request = runner.with(sharing).begin(signal)
      try {
        const started = performance.now()
        const rows = await request.rows(sequences, work.want)
        if (head) headOf(runner.model, head)(rows)
        times[c]?.push(performance.now() - started)
      } finally {
        request.end()
      }
    }
  }
  const meanwhile: Measurements = { ...measurements, ...meter.speeds(measurements.controls) }
  const output = work.want === 'mean' ? 'mean' : 'rows'
  return candidates.map((candidate, c): Verified => {
    const predictedMs = predict(candidate.plan, work.shape, meanwhile, { sequences, output }).milliseconds
    const measuredMs = median(times[c] as number[])
    return { candidate, predictedMs, measuredMs, requests: times[c]?.length ?? 0, error: predictedMs / measuredMs - 1 }
  })
}
