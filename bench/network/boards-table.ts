/** Rows of growing batches beside what the boards took: as a table and in words. */
import type { Row } from '../report.js'
import { BOARDS, BOARDS_NAME } from './boards.js'

/** Names of the rows, by which the report's table and chart find them. */
export const BATCH_NAME = 'vit-b16, batch '
export const BATCH_VARIANTS = {
  alone: 'one device, f32',
  means: '2 devices, means L=10',
  full: '2 devices, full',
} as const

/** The two tables as one, a line a batch; both systems in milliseconds. */
export function boardsTable(rows: readonly Row[]): { head: readonly string[]; lines: readonly (readonly string[])[] } {
  const found = (batch: number, name: keyof typeof BATCH_VARIANTS): Row | undefined =>
    rows.find(r => r.name === `${BATCH_NAME}${batch}` && r.variant === BATCH_VARIANTS[name])
  const whole = (ms: number): string => ms.toFixed(ms < 10 ? 1 : 0)
  const parts = (p: { compute: number; staging: number; network: number }, total: number): string =>
    `${[p.compute, p.staging, p.network].map(whole).join(' / ')} = ${whole(total)}`
  const factor = (row: Row): string => `${row.times?.factor.median.toFixed(2)}×`
  const times = (one: number, two: number): string => `${(one / two).toFixed(2)}×`
  const lines = BOARDS.flatMap(({ batch, oneDevice: theirs, means, full }) => {
    const [ours, shared, all] = (['alone', 'means', 'full'] as const).map(name => found(batch, name))
    if (!ours || !shared?.split || !all) return []
    const [one, two, every] = [ours, shared, all].map(r => r.milliseconds.median) as [number, number, number]
    return [
      [
        ...[String(batch), whole(one), parts(shared.split, two), factor(shared), whole(every), factor(all)],
        ...[whole(theirs), parts(means, means.total), times(theirs, means.total), whole(full), times(theirs, full)],
      ],
    ]
  })
  const system = (where: string): string[] => [
    ...[`${where}one device, ms`, `${where}means L=10: compute / staging / network = total`, 'factor'],
    ...[`${where}all rows`, 'factor'],
  ]
  return { head: ['batch', ...system(''), ...system('boards: ')], lines }
}

/** What differs, and why. */
export function differences(rows: readonly Row[]): string {
  const { lines } = boardsTable(rows)
  const [first, last] = [lines[0], lines.at(-1)]
  if (!first || !last) return 'No batch was measured.'
  return (
    `Against ${BOARDS_NAME}: at batch ${first[0]} two devices are ${first[3]} as fast as one here, ${first[8]} there; at batch ${last[0]} ${last[3]} and ${last[8]}. ` +
    'The boards compute on GPUs, several times as fast as a core does here, and each request pays fixed costs there: some 80 to 90 ms of compute, 20 of staging and 12 of network by a linear fit. ' +
    'Here nothing is staged between two memories, an exchange adds a fraction of a millisecond to its transfer, and means travel while local rows are computed. ' +
    'Their network is Wi-Fi of about 400 Mbit/s, the one here the loopback of one machine: the rows of batch 1 at 100 Mbit/s say what a slow one changes.'
  )
}
