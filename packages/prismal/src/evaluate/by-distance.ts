/** What sharing costs a language model at each distance from the cut: next to it the most. */
import { table } from '../commands/units.js'
import type { Cell } from './cell.js'
import { natsPerToken } from './metrics.js'
import { oneDeviceOf } from './summary.js'

/** Nats per token by the least distance of each kind. */
export function natsByDistance({ columns }: Cell): Map<number, number> {
  const { distance = [] } = columns
  const kinds = [...new Set(distance)].sort((a, b) => a - b)
  const rowsOf = (kind: number): number[] => distance.flatMap((d, row) => (d === kind ? [row] : []))
  return new Map(kinds.map(kind => [kind, natsPerToken.of(columns, rowsOf(kind))]))
}

/** A row a cell, a column a distance: nats per token more than one device has on the same rows. Empty where there is nothing to tell. */
export function distanceTable(cells: readonly Cell[]): string {
  const shared = cells.filter(c => c.devices > 1 && c.columns.distance)
  const kinds = [...new Set(shared.flatMap(c => c.columns.distance ?? []))].sort((a, b) => a - b)
  if (kinds.length === 0) return ''
  const head = kinds.map((kind, i) => (i + 1 < kinds.length ? `${kind}–${(kinds[i + 1] as number) - 1}` : `${kind}+`))
  const rows = shared.map(cell => {
    const one = oneDeviceOf(cell, cells)
    const [here, there] = [natsByDistance(cell), one && natsByDistance(one)]
    const more = kinds.map(kind => {
      const [a, b] = [here.get(kind), there?.get(kind)]
      return a === undefined || b === undefined ? '' : `${a < b ? '−' : '+'}${Math.abs(a - b).toFixed(4)}`
    })
    return [cell.method, String(cell.devices), ...more]
  })
  return table([['nats per token more, by rows from the cut', 'devices', ...head], ...rows])
}
