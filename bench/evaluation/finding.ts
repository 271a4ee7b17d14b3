/** What the report needs of an experiment: figures of its cells without their items, so that they can be kept beside the report. */
import {
  type Environment,
  interval,
  loss,
  type Metric,
  type Named,
  type Sampled,
  shareRecovered,
  summaries,
} from 'prismal/evaluate'
import { type Comparison, methodComparison, systemComparison } from './comparisons.js'
import type { Experiment, Role } from './experiments.js'
import { type Reference, type ReferenceRow, referenceRows } from './references.js'
import type { Result, RoleCell } from './results.js'

/** A cell with what it is for. */
export interface FoundCell {
  readonly role: Role
  /** The number of devices whose rows it is scored on: one device is scored as each number of them. */
  readonly cuts: number
  /** P. */
  readonly devices: number
  readonly method: string
  /** Received in a request by the device that receives most. */
  readonly bytes: number
  readonly flops: number
  readonly flopsAlone: number
  /** The metric. */
  readonly value: number
  /** Less than one device reaches on the same rows, in the metric's unit, and its standard error; not of one device. */
  readonly lost?: number
  readonly error?: number
  /** The share of what isolation costs that is won back. */
  readonly recovered?: number
  /** Where inputs are padded, the share of real rows beyond the first device. */
  readonly beyond?: number
}

/** What of an experiment the report goes by. */
const ABOUT = ['name', 'family', 'task', 'devices', 'rows', 'isVariation', 'inParts', 'reading', 'remark'] as const

export interface Finding {
  /** Digest of what was run: another model, other data or other cells have another. */
  readonly key: string
  readonly about: Pick<Experiment, (typeof ABOUT)[number]>
  readonly metric: Pick<Metric, 'name' | 'unit' | 'better'>
  readonly data: Named & { readonly items: number }
  readonly model: Named
  readonly environment: Pick<Environment, 'machine' | 'versions' | 'build'>
  readonly cells: readonly FoundCell[]
  readonly method: Comparison
  readonly system: Comparison
  readonly references: readonly ReferenceRow[]
}

export function findingOf(result: Result, key: string, references: readonly Reference[]): Finding {
  const { experiment, metric, environment, cells } = result
  const [first] = cells as readonly [RoleCell, ...RoleCell[]]
  return {
    key,
    about: aboutOf(experiment),
    metric: { name: metric.name, unit: metric.unit, better: metric.better },
    data: first.cell.data,
    model: { name: first.cell.model.name, digest: first.cell.model.digest },
    environment,
    cells: cells.map(cell => foundCell(cell, cells, metric)),
    method: methodComparison(result),
    system: systemComparison(result),
    references: referenceRows(result, references),
  }
}

const aboutOf = (experiment: Experiment): Finding['about'] => {
  const said = ABOUT.map(name => [name, experiment[name]] as const).filter(([, value]) => value !== undefined)
  return Object.fromEntries(said) as unknown as Finding['about']
}

function foundCell(it: RoleCell, cells: readonly RoleCell[], metric: Metric): FoundCell {
  const { role, cuts, cell, sampled } = it
  const one = cells.find(c => c.role.kind === 'one' && c.cuts === cuts)
  const isolated = cells.find(c => c.role.kind === 'isolated' && c.cuts === cuts)
  const { devices, method, cost, settings } = cell
  const share =
    one && isolated && it !== one && it !== isolated
      ? shareRecovered(one.sampled, isolated.sampled, sampled).value
      : Number.NaN
  const beyond = settings.padTo === undefined ? undefined : summaries([cell], metric.name)[0]?.beyond
  return {
    ...{ role, cuts, devices, method, bytes: cost.bytesReceived, flops: cost.flops, flopsAlone: cost.flopsAlone },
    value: sampled.value,
    ...(one && it !== one && lostOf(one.sampled, sampled, metric)),
    ...(Number.isFinite(share) && { recovered: share }),
    ...(beyond !== undefined && { beyond }),
  }
}

function lostOf(one: Sampled, sampled: Sampled, metric: Metric): Pick<FoundCell, 'lost' | 'error'> {
  const { value, standardError } = interval(loss(one, sampled, metric))
  return { lost: value, error: standardError }
}

/** One device, scored on the rows of P devices. */
export const oneOf = ({ cells }: Pick<Finding, 'cells'>, P: number): FoundCell | undefined =>
  cells.find(c => c.role.kind === 'one' && c.cuts === P)

/** Devices of which one was lost, in one way of sharing, by the layer from which on nothing was heard. */
export interface LostDevice {
  /** As its role names it. */
  readonly among: string
  readonly byLayer: ReadonlyMap<number, FoundCell>
}

/** Cells of lost devices. */
export function lostDevices({ cells }: Pick<Finding, 'cells'>): LostDevice[] {
  const found = new Map<string, Map<number, FoundCell>>()
  for (const cell of cells) {
    if (cell.role.kind !== 'lost') continue
    const { among, layer } = cell.role
    found.set(among, (found.get(among) ?? new Map<number, FoundCell>()).set(layer, cell))
  }
  return [...found].map(([among, byLayer]) => ({ among, byLayer }))
}
