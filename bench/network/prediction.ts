/** What measuring devices and links beforehand predicts, against what requests then take. */
import { Unavailable } from '../contender.js'
import { ratio, summary, type Turns } from '../measure.js'
import { atMost, type NotMeasured, type Row } from '../report.js'
import type { Foreseen } from './coordinator-messages.js'
import { compete, withPairs } from './pair.js'
import { FULL, GPT2, meansName, SUITE, type TopicFindings, type TopicOptions, VIT, type Workload } from './topic.js'

/** Share of the measured time by which a prediction may differ. */
const MOST_DEVIATION = 0.15

export async function prediction(options: TopicOptions): Promise<TopicFindings> {
  const rows: Row[] = []
  const notMeasured: NotMeasured[] = []
  for (const workload of [VIT, GPT2]) {
    const { name, folder, subject, means } = workload
    const runners = { alone: 'alone', means, full: FULL } as const
    await withPairs([{ folder: folder(), dtype: 'f32', subject, runners }], async pair => {
      const names = Object.keys(runners)
      let foreseen: Foreseen
      try {
        foreseen = await pair.foresee(1, names)
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error
        notMeasured.push({ suite: SUITE, name, variant: 'prediction', reason: error.message })
        return
      }
      const entrants = names.map(runner => ({ pair, runner, batch: 1 }))
      const found = await compete(entrants, { ...options, rounds: Math.ceil(options.rounds / 2) })
      for (const [i, runner] of names.entries())
        rows.push(rowOf(workload, runner, found[i]!.turns, foreseen.milliseconds[runner]!))
    })
  }
  return { rows, notMeasured, remarks: [] }
}

function rowOf(workload: Workload, runner: string, turns: Turns, predicted: number): Row {
  const { median: factor } = ratio(
    turns.map(() => predicted),
    turns,
  )
  const by = factor - 1
  const how = runner === 'alone' ? '1 device' : `2 devices, ${runner === 'means' ? meansName(workload) : runner}`
  return {
    ...{ suite: SUITE, name: workload.name, variant: `${how}: predicted ${predicted.toFixed(0)} ms` },
    milliseconds: summary(turns),
    deviation: { by, from: 'measured' },
    bar: atMost(Math.abs(by), MOST_DEVIATION, `within ${100 * MOST_DEVIATION} %`),
  }
}
