/**
 * Growing batches beside what was published of real boards: one device, means, all rows. Our total is split as far as
 * reports tell: *compute* is what the same rows take where nothing is exchanged, in turns with it, and in proportion to
 * the operations that both count; *network* is what the slowest device took beyond it, encoding and waiting for the
 * other's rows; *staging* is what the request took beyond the slowest device: dealing inputs out, gathering, the head.
 */
import { ratio, summary } from '../measure.js'
import type { Row } from '../report.js'
import { BOARDS, BOARDS_NAME } from './boards.js'
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

/** Names of the rows, by which the report's table and chart find them. */
export const BATCH_NAME = `${VIT.name}, batch `
export const BATCH_VARIANTS = { alone: oneDevice(), means: '2 devices, means L=10', full: '2 devices, full' } as const

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

/** The two tables as one, a line a batch; both systems in milliseconds. */
export function boardsTable(rows: readonly Row[]): { head: readonly string[]; lines: readonly (readonly string[])[] } {
  const found = (batch: number, name: keyof typeof BATCH_VARIANTS): Row | undefined =>
    rows.find(r => r.name === `${BATCH_NAME}${batch}` && r.variant === BATCH_VARIANTS[name])
  const whole = (ms: number): string => ms.toFixed(ms < 10 ? 1 : 0)
  const parts = (p: { compute: number; staging: number; network: number }, total: number): string =>
    `${[p.compute, p.staging, p.network].map(whole).join(' / ')} = ${whole(total)}`
  const times = (one: number, two: number): string => `${(one / two).toFixed(2)}×`
  const lines = BOARDS.flatMap(({ batch, oneDevice: theirs, means, full }) => {
    const [ours, shared, all] = (['alone', 'means', 'full'] as const).map(name => found(batch, name))
    if (!ours || !shared?.split || !all) return []
    const [one, two, every] = [ours, shared, all].map(r => r.milliseconds.median) as [number, number, number]
    return [
      [
        ...[String(batch), whole(one), parts(shared.split, two), times(one, two), whole(every), times(one, every)],
        ...[whole(theirs), parts(means, means.total), times(theirs, means.total), whole(full), times(theirs, full)],
      ],
    ]
  })
  const system = (who: string): string[] => [
    `${who}: one device, ms`,
    'means L=10: compute / staging / network = total',
    '',
    'full',
    '',
  ]
  return { head: ['batch', ...system('here'), ...system('boards')], lines }
}

function differences(rows: readonly Row[]): string {
  const { lines } = boardsTable(rows)
  const [first, last] = [lines[0], lines.at(-1)]
  if (!first || !last) return 'No batch was measured.'
  return (
    `Against ${BOARDS_NAME}: at batch ${first[0]} two devices are ${first[3]} as fast as one here, ${first[8]} there; at batch ${last[0]} ${last[3]} and ${last[8]}. ` +
    'The boards compute on GPUs, faster than a core does here, and pay fixed costs at each request and layer: some 80 to 90 ms of compute, 20 of staging and 12 of network by a linear fit. ' +
    'Here an exchange costs a fraction of a millisecond and nothing is staged between two memories, so the factor hardly depends on the batch. Their network is Wi-Fi of about 400 Mbit/s, ours the loopback of one machine; at 100 Mbit/s see the rows of batch 1.'
  )
}
