/**
 * Growing batches beside what was published of real boards: one device, means, all rows. Our total is split as far as
 * reports tell: *compute* is what the same rows take where nothing is exchanged, in turns with it, and in proportion to
 * the operations that both count; *network* is what the slowest device took beyond it, encoding and waiting for the
 * other's rows; *staging* is what the request took beyond the slowest device: dealing inputs out, gathering, the head.
 */
import { ratio, summary } from '../measure.js'
import type { Row } from '../report.js'
import { BOARDS } from './boards.js'
import { BATCH_NAME, BATCH_VARIANTS, differences } from './boards-table.js'
import { compete, type Measured, type Pair, withPairs } from './pair.js'
import { FULL, oneDevice, SUITE, type TopicFindings, type TopicOptions, VIT } from './topic.js'

const RUNNERS = { alone: 'alone', means: VIT.means, full: FULL, isolated: { strategy: 'isolated' } } as const
type Name = keyof typeof RUNNERS
const NAMES = Object.keys(RUNNERS) as Name[]

/** A request of the largest batch takes many seconds: then two turns must do. */
const roundsOf = (batch: number, rounds: number): number => (batch > 8 ? 2 : rounds)

export async function batches(options: TopicOptions): Promise<TopicFindings> {
  const rows: Row[] = []
  await withPairs([{ folder: VIT.folder(), dtype: 'f32', subject: VIT.subject, runners: RUNNERS }], async pair => {
    for (const { batch } of options.quick ? BOARDS.slice(0, 3) : BOARDS) {
      options.tell(`batch ${batch}`)
      const entrants = NAMES.map(runner => ({ pair, runner, batch }))
      const rounds = roundsOf(batch, options.rounds)
      const found = await compete(entrants, { ...options, rounds, warmMs: batch === 1 ? options.warmMs : 0 })
      const of = Object.fromEntries(NAMES.map((name, i) => [name, found[i]!])) as Record<Name, Measured>
      rows.push(...(await rowsOf(pair, batch, of)))
    }
  })
  return { rows, notMeasured: [], remarks: [{ suite: SUITE, text: differences(rows) }] }
}

async function rowsOf(pair: Pair, batch: number, found: Record<Name, Measured>): Promise<Row[]> {
  const slowest = async (runner: Name): Promise<number> =>
    Math.max(...(await pair.planned({ runner, batch })).map(d => d.flops))
  const share = (await slowest('means')) / (await slowest('isolated'))
  const total = summary(found.means.turns).median
  const device = summary(found.means.deviceTurns).median
  const compute = Math.min(device, summary(found.isolated.deviceTurns).median * share)
  const split = { compute, staging: total - device, network: device - compute }
  const row = (name: keyof typeof BATCH_VARIANTS): Row => ({
    ...{ suite: SUITE, name: `${BATCH_NAME}${batch}`, variant: BATCH_VARIANTS[name] },
    milliseconds: summary(found[name].turns),
    ...(name !== 'alone' && { times: { factor: ratio(found.alone.turns, found[name].turns), than: oneDevice() } }),
    ...(name === 'means' && { split }),
  })
  return [row('alone'), row('means'), row('full')]
}
