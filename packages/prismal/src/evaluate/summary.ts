/** What a cell says beside the others: its change against one device, the share of what isolation costs that it wins back. */
import { isDeepStrictEqual } from 'node:util'
import { cutOf } from './asking.js'
import type { Cell } from './cell.js'

export interface Summary {
  readonly cell: Cell
  /** Of the first metric: less that of one device on the same rows. */
  readonly change: number | undefined
  /** `(method − isolated) / (one device − isolated)`, of the first metric. */
  readonly recovered: number | undefined
  /** The share of real rows that lie beyond the first device. */
  readonly beyond: number | undefined
}

/** Whether cells are of the same task, data, model and rows, and differ in how devices share at most. */
const isComparable = (a: Cell, b: Cell): boolean =>
  a.task === b.task &&
  a.data.digest === b.data.digest &&
  a.model.digest === b.model.digest &&
  a.model.dtype === b.model.dtype &&
  JSON.stringify(Object.entries(a.settings).sort()) === JSON.stringify(Object.entries(b.settings).sort())

/** The cell of one device that a cell is compared with. */
export const oneDeviceOf = (cell: Cell, cells: readonly Cell[]): Cell | undefined =>
  cells.find(c => c.devices === 1 && isComparable(c, cell))

/** One summary a cell. `metric` names the metric that changes are of. */
export function summaries(cells: readonly Cell[], metric: string): Summary[] {
  return cells.map(cell => {
    const value = (of: Cell | undefined): number | undefined => of?.metrics[metric]
    const one = value(oneDeviceOf(cell, cells))
    const isolated = value(cells.find(c => isIsolatedOf(cell, c) && isComparable(c, cell)))
    const here = value(cell)
    const isShared = cell.devices > 1 && here !== undefined && one !== undefined
    return {
      cell,
      change: isShared ? here - one : undefined,
      recovered:
        isShared && isolated !== undefined && one !== isolated ? (here - isolated) / (one - isolated) : undefined,
      beyond: beyondOf(cell),
    }
  })
}

/** Whether nothing is sent among as many devices, that have the same rows as the cell's. */
function isIsolatedOf(cell: Cell, { devices, sharing }: Cell): boolean {
  const { strategy, ...cut } = sharing
  return devices === cell.devices && strategy === 'isolated' && isDeepStrictEqual(cut, cutOf(cell.sharing))
}

function beyondOf({ devices, columns }: Cell): number | undefined {
  const { rows, beyond } = columns
  if (devices === 1 || !rows || !beyond) return undefined
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
  return sum(beyond) / sum(rows)
}
