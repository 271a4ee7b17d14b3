/** What a figure of the report shows, in a sentence or two of its own numbers. */
import { interval, loss, summaries } from 'prismal/evaluate'
import { figure, isInPoints, lostDevices, publishedCell, type Result, type RoleCell } from './results.js'

/** Of the metric over bytes, at P devices. */
export function bytesMeaning(result: Result, P: number): string {
  const { cells, experiment } = result
  const here = cells.filter(c => c.cell.devices === P)
  const one = cells.find(c => c.role.kind === 'one' && c.cuts === P)
  const isolated = here.find(c => c.role.kind === 'isolated')
  const full = here.find(c => c.role.kind === 'full')
  if (!one || !isolated || !full) return ''
  const share = experiment.family === 'gpt2' ? '' : `, and ${partOf(isolated, result.metric.name, P)},`
  const alone = lossOf(result, one, isolated)
  const lines = [
    `One device reaches ${shown(result, one.sampled.value)}. Where ${P} send each other nothing${share} ${alone.text} are lost` +
      (alone.errors < 5 ? ': too little here to tell ways of sharing apart.' : '.'),
  ]
  const pairs = experiment.rows.flatMap(rows => {
    const theirs = publishedCell(here, experiment, rows)
    const ours = here.find(({ role }) => role.kind === 'method' && role.rows === rows)
    if (!theirs || !ours) return []
    return [`${rows} rows ${lossOf(result, one, theirs).text} and ${lossOf(result, one, ours).text}`]
  })
  if (pairs.length > 0) lines.push(`Published means and ours lose, both in f32: with ${pairs.join(', with ')}.`)
  const enough = here
    .filter(c => c.role.kind === 'system' && lossOf(result, one, c).value <= ENOUGH * alone.value)
    .toSorted((a, b) => a.cell.cost.bytesReceived - b.cell.cost.bytesReceived)[0]
  if (enough && alone.errors >= 5) {
    const part = (100 * enough.cell.cost.bytesReceived) / full.cell.cost.bytesReceived
    lines.push(
      `In four bits ${(enough.cell.cost.bytesReceived / 1e3).toFixed(2)} kB, ${part.toFixed(1)} % of \`full\`, win back ${100 * (1 - ENOUGH)} % of what isolation costs.`,
    )
  }
  return lines.join(' ')
}

/** What of the rows a device has; where some are pads, what is real may be the first one's alone. */
function partOf({ cell }: RoleCell, metric: string, P: number): string {
  const [{ beyond } = {}] = summaries([cell], metric)
  if (cell.settings.padTo === undefined || beyond === undefined) return `each has one row in ${P}`
  return `${(100 * beyond).toFixed(1)} % of the real rows lie beyond the first one`
}

/** Share of what isolation costs that hardly matters. */
const ENOUGH = 0.05

/** Of losing a device's means from a layer on. */
export function lostMeaning(result: Result): string {
  const ways = lostDevices(result).map(({ among, one, byLayer }) => {
    const told = [...byLayer].map(([layer, cell]) => `${layer}: ${lossOf(result, one, cell).text}`)
    return `with ${among}, by layer, ${told.join(', ')}`
  })
  if (ways.length === 0) return ''
  return `One device's means are not heard from a layer on, and the others go on with what they have, weighed by its count. It loses ${ways.join('; ')}.`
}

function lossOf({ metric }: Result, one: RoleCell, cell: RoleCell) {
  const { value, standardError } = interval(loss(one.sampled, cell.sampled, metric))
  return { value, text: figure(value, metric), errors: value / standardError }
}

const shown = ({ metric }: Result, value: number): string =>
  isInPoints(metric) ? `${figure(value, metric)} ${metric.unit}` : figure(value, metric)
