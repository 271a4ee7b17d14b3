/** Batches of 8 and 32: whole sequences dealt out, beside sharing each, and what a plan picks beforehand. */
import { ratio, summary, type Turns } from '../measure.js'
import { atMost, type Remark, type Row } from '../report.js'
import { compete, withPairs } from './pair.js'
import { FULL, meansName, SUITE, type TopicFindings, type TopicOptions, VIT, WHOLE } from './topic.js'

const BATCHES = [8, 32] as const
/** The pick's time may be so many times the fastest one's: less than that is not a difference between turns. */
const MOST_OVER_FASTEST = 1.05

export async function strategies(options: TopicOptions): Promise<TopicFindings> {
  const runners = { alone: 'alone', whole: WHOLE, full: FULL, means: VIT.means } as const
  const rows: Row[] = []
  const remarks: Remark[] = []
  await withPairs([{ folder: VIT.folder(), dtype: 'f32', subject: VIT.subject, runners }], async pair => {
    for (const batch of BATCHES) {
      const names = ['whole', 'full', 'means'] as const
      const { chosen, reason } = await pair.foresee(batch)
      const rounds = Math.ceil(options.rounds / (batch > 8 ? 4 : 2))
      const entrants = names.map(runner => ({ pair, runner, batch }))
      const found = await compete(entrants, { ...options, rounds, warmMs: batch > 8 ? 0 : 1 })
      const name = `${VIT.name}, batch ${batch}`
      const turnsOf = (runner: string): Turns | undefined => found[(names as readonly string[]).indexOf(runner)]?.turns
      const whole = turnsOf('whole')!
      for (const [i, runner] of names.entries()) {
        const { turns } = found[i]!
        rows.push({
          ...{
            suite: SUITE,
            name,
            variant: `2 devices, f32, ${runner === 'means' ? meansName(VIT) : runner}, loopback`,
          },
          milliseconds: summary(turns),
          ...(runner !== 'whole' && { times: { factor: ratio(whole, turns), than: 'whole' } }),
        })
      }
      remarks.push({ suite: SUITE, text: `${name}: the plan picks ${chosen}. ${reason}.` })
      const turns = turnsOf(chosen)
      const fastest = found.map(f => f.turns).toSorted((a, b) => summary(a).median - summary(b).median)[0]!
      const over = turns ? summary(turns).median / summary(fastest).median : Number.POSITIVE_INFINITY
      rows.push({
        ...{
          suite: SUITE,
          name,
          variant: `the plan's pick: ${chosen}`,
          milliseconds: summary(turns ?? fastest),
        },
        ...(turns && { times: { factor: ratio(fastest, turns), than: 'the fastest' } }),
        bar: atMost(over, MOST_OVER_FASTEST, 'the fastest'),
      })
    }
  })
  return { rows, notMeasured: [], remarks }
}
