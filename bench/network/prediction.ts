/**
 * What `plan --measured` predicts, against what requests take. The bar is for what the command prints: it measures devices
 * again between its requests, since a busy machine changes from one minute to the next. Beside it, what was said
 * beforehand.
 */
import { atMost, type Row } from '../report.js'
import type { Foreseen, Verification } from './coordinator-messages.js'
import { withPairs } from './pair.js'
import { GPT2, NOTHING, SUITE, type TopicFindings, type TopicOptions, together, VIT, type Workload } from './topic.js'

/** Share of the measured time by which a prediction may differ. */
const MOST_DEVIATION = 0.15

export async function prediction(options: TopicOptions): Promise<TopicFindings> {
  const found: TopicFindings[] = []
  for (const workload of options.onlyBars ? [VIT] : [VIT, GPT2]) found.push(await predict(workload, options))
  return together(found)
}

function predict(workload: Workload, { rounds }: TopicOptions): Promise<TopicFindings> {
  const { folder, subject, means } = workload
  return withPairs([{ folder: folder(), dtype: 'f32', subject, runners: { means } }], async pair => {
    const before = await pair.foresee(1)
    const found = await pair.verify(Math.ceil(rounds / 2))
    return { ...NOTHING, rows: found.flatMap(verification => rowsOf(workload, verification, before)) }
  })
}

function rowsOf({ name, means }: Workload, { way, predictedMs, measuredMs }: Verification, before: Foreseen): Row[] {
  const how = way === 'one device' ? '1 device' : `2 devices, ${way === 'means' ? `means L=${means.segments}` : way}`
  const row = (what: string, ms: number): Row => ({
    ...{ suite: SUITE, name, variant: `${how}: predicted ${what}, ${ms.toFixed(0)} ms` },
    milliseconds: { median: measuredMs, least: measuredMs, most: measuredMs },
    deviation: { by: ms / measuredMs - 1, from: 'measured' },
  })
  const printed = row('by plan --measured', predictedMs)
  const beforehand = before.milliseconds[way]
  return [
    { ...printed, bar: atMost(Math.abs(printed.deviation!.by), MOST_DEVIATION, `within ${100 * MOST_DEVIATION} %`) },
    ...(beforehand === undefined ? [] : [row('beforehand', beforehand)]),
  ]
}
