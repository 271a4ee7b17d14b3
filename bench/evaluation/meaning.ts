/** What a figure of the report shows, in a sentence or two of its own numbers. */
import { isPublished } from './experiments.js'
import { type Finding, type FoundCell, lostDevices, oneOf } from './finding.js'
import { figure, isInPoints } from './results.js'

/** Of the metric over bytes, at P devices. */
export function bytesMeaning(finding: Finding, P: number): string {
  const { cells, about, metric } = finding
  const here = cells.filter(c => c.devices === P)
  const one = oneOf(finding, P)
  const isolated = here.find(c => c.role.kind === 'isolated')
  const full = here.find(c => c.role.kind === 'full')
  if (!one || !isolated || !full) return ''
  const share = about.family === 'gpt2' ? '' : `, and ${partOf(isolated, P)},`
  const { lost: alone = 0, error = 0 } = isolated
  const tells = alone > ERRORS * error
  const lines = [
    `One device reaches ${shown(finding, one.value)}. Where ${P} send each other nothing${share} ${figure(alone, metric)} are lost` +
      (tells ? '.' : ': too little here to tell ways of sharing apart.'),
  ]
  const pairs = about.rows.flatMap(rows => {
    const theirs = here.find(({ role }) => isPublished(role, about, rows))
    const ours = here.find(({ role }) => role.kind === 'method' && role.rows === rows)
    if (!theirs || !ours) return []
    return [`${rows} rows ${lostText(finding, theirs)} and ${lostText(finding, ours)}`]
  })
  if (pairs.length > 0) lines.push(`Published means and ours lose, both in f32: with ${pairs.join(', with ')}.`)
  const enough = here
    .filter(c => c.role.kind === 'system' && (c.lost ?? 0) <= ENOUGH * alone)
    .toSorted((a, b) => a.bytes - b.bytes)[0]
  if (enough && tells) {
    const part = (100 * enough.bytes) / full.bytes
    lines.push(
      `In four bits ${(enough.bytes / 1e3).toFixed(2)} kB, ${part.toFixed(1)} % of \`full\`, win back ${100 * (1 - ENOUGH)} % of what isolation costs.`,
    )
  }
  return lines.join(' ')
}

/** What of the rows a device has; where some are pads, what is real may be the first one's alone. */
const partOf = ({ beyond }: FoundCell, P: number): string =>
  beyond === undefined
    ? `each has one row in ${P}`
    : `${(100 * beyond).toFixed(1)} % of the real rows lie beyond the first one`

/** Standard errors that a loss must have to tell anything. */
const ERRORS = 5
/** Share of what isolation costs that hardly matters. */
const ENOUGH = 0.05

/** Of losing a device's means from a layer on. */
export function lostMeaning(finding: Finding): string {
  const ways = lostDevices(finding).map(({ among, byLayer }) => {
    const told = [...byLayer].map(([layer, cell]) => `${layer}: ${lostText(finding, cell)}`)
    return `with ${among}, by layer, ${told.join(', ')}`
  })
  if (ways.length === 0) return ''
  return `One device's means are not heard from a layer on, and the others go on with what they have, weighed by its count. It loses ${ways.join('; ')}.`
}

const lostText = ({ metric }: Finding, { lost = 0 }: FoundCell): string => figure(lost, metric)

const shown = ({ metric }: Finding, value: number): string =>
  isInPoints(metric) ? `${figure(value, metric)} ${metric.unit}` : figure(value, metric)
