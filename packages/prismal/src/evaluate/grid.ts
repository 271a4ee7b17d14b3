/** The cells of an evaluation: every combination of the options that are asked for, and what they are compared with. */
import { PlanError, PUBLISHED, parseSharing, type SharingOptions } from '@prismal/distribute'
import { type Cut, cutOf, cutOfWay, type Way } from './asking.js'

/** A cell to be evaluated: how devices share, under the name that tables give it. `cuts` and `cut`: see {@link oneDevice}. */
export interface GridCell extends Way {
  readonly method: string
}

/** Options of sharing under their names, with the values that each is to take. */
export type Axes = Readonly<Record<string, readonly unknown[]>>

export interface GridOptions {
  /** P, one or more of them. */
  readonly devices: readonly number[]
  readonly axes?: Axes
  /** Options of every cell of several devices. */
  readonly fixed?: SharingOptions
  /** Also `full` and the readings of the published method. */
  readonly baselines?: boolean
}

/** What only speaks of means. */
const OF_MEANS = ['segments', 'rows', 'compressionRate', 'sink', 'tail', 'near', 'halo', 'bounds', 'gain'] as const
/** What a strategy does not go by. */
const WITHOUT_EFFECT: Readonly<Record<string, readonly string[]>> = {
  isolated: [...OF_MEANS, 'point', 'wire', 'handoff', 'lost'],
  full: [...OF_MEANS, 'anchor'],
  whole: [...OF_MEANS, 'anchor', 'point', 'wire'],
}

/**
 * One device and `isolated` for each number of devices (and each cut, where `weights` or `padTo` are axes), then the published readings
 * and `full` where asked for, then every combination of the axes; no cell twice. Throws `PlanError` for an option that cannot be, or that
 * there is not.
 */
export function gridCells({ devices, axes = {}, fixed = {}, baselines = false }: GridOptions): GridCell[] {
  for (const P of devices) expectCount(P, 'devices')
  const shared = devices.filter(P => P > 1)
  if (shared.length === 0) return [oneDevice(1)]
  const cells: GridCell[] = []
  if (baselines)
    for (const P of shared) {
      cells.push(gridCell(P, { strategy: 'full', ...fixed }))
      cells.push(...published(P, (axes.segments ?? []) as readonly number[], fixed))
    }
  for (const P of shared) cells.push(...combinations(axes).map(sharing => gridCell(P, { ...sharing, ...fixed })))
  return withCompared(shared, cells, fixed)
}

/** After one device and `isolated` for each of the numbers of devices, cut as each of its cells is. */
function withCompared(counts: readonly number[], cells: readonly GridCell[], fixed: SharingOptions): GridCell[] {
  const compared = counts.flatMap(P =>
    cells
      .filter(({ devices }) => devices === P)
      .flatMap(({ sharing }) => {
        const cut = cutOf(sharing)
        return [oneDevice(P, cut), gridCell(P, { strategy: 'isolated', ...fixed, ...cut })]
      }),
  )
  return unique([...compared, ...cells])
}

/** The first of each that come to the same. */
function unique(cells: readonly GridCell[]): GridCell[] {
  const seen = new Set<string>()
  return cells.filter(cell => {
    const { devices, cuts, sharing } = cell
    const key = JSON.stringify([devices, cuts, Object.entries(sharing).sort(), cutOfWay(cell)])
    return !seen.has(key) && seen.add(key)
  })
}

/** One device, to be scored on the rows that `cuts` devices are scored on, which have as many as `cut` says. */
export const oneDevice = (cuts: number, cut: Cut = {}): GridCell => ({
  ...{ method: 'one device', devices: 1, sharing: {}, cuts },
  ...(Object.keys(cut).length > 0 && { cut }),
})

/** Checks that there are such options (whether they can be, a plan says); `method` is made of them where it is not given. */
export function gridCell(devices: number, options: SharingOptions, method?: string): GridCell {
  expectKnown(devices, options)
  const { strategy = 'means' } = options
  const dropped = WITHOUT_EFFECT[strategy] ?? []
  const sharing = Object.fromEntries(
    Object.entries({ strategy, ...options }).filter(([name]) => !dropped.includes(name)),
  )
  return { method: method ?? methodOf(sharing), devices, sharing, cuts: devices }
}

/** Reads a list of `{ devices, sharing, method? }`; `fixed` goes for all of them. Throws `PlanError` where it is none. */
export function parseGrid(json: unknown, where: string, fixed: SharingOptions = {}): GridCell[] {
  if (!Array.isArray(json)) throw new PlanError(`plan: ${where} is not a list of cells`)
  const cells = json.map((cell, i): GridCell => {
    const { devices, sharing = {}, method } = (cell ?? {}) as Partial<GridCell>
    expectCount(devices, `${where}[${i}].devices`)
    if (method !== undefined && typeof method !== 'string')
      throw new PlanError(`plan: ${where}[${i}].method is ${JSON.stringify(method)}, not a text`)
    if (typeof sharing !== 'object' || sharing === null || Array.isArray(sharing))
      throw new PlanError(`plan: ${where}[${i}].sharing is ${JSON.stringify(sharing)}, not an object`)
    return gridCell(devices, { ...sharing, ...fixed }, method)
  })
  const counts = [...new Set(cells.map(c => c.devices))].filter(P => P > 1)
  const shared = cells.filter(c => c.devices > 1)
  if (shared.length === 0) return [oneDevice(1)]
  return withCompared(counts, shared, fixed)
}

function expectCount(devices: unknown, where: string): asserts devices is number {
  if (!Number.isSafeInteger(devices) || (devices as number) < 1)
    throw new PlanError(`plan: ${where} is ${JSON.stringify(devices)}, not a whole number ≥ 1`)
}

/** The method as published leaves open where means are taken and whether they count; `wire` f16 is the obvious saving. */
function published(P: number, segments: readonly number[], fixed: SharingOptions): GridCell[] {
  const cells: GridCell[] = []
  for (const L of segments)
    for (const wire of ['f32', 'f16'] as const)
      for (const point of ['input', 'normed'] as const)
        for (const counts of [true, false]) {
          const asked = { ...PUBLISHED, segments: L, point, wire, ...(!counts && { gain: 0 }) }
          const named = [point, !counts && 'no counts', wire !== 'f32' && wire].filter(Boolean).join(', ')
          cells.push(gridCell(P, { ...asked, ...fixed }, `published L=${L} (${named})`))
        }
  return cells
}

function combinations(axes: Axes): SharingOptions[] {
  return Object.entries(axes).reduce<Record<string, unknown>[]>(
    (sofar, [name, values]) => sofar.flatMap(options => values.map(value => ({ ...options, [name]: value }))),
    [{}],
  ) as SharingOptions[]
}

/** `means L=3 int8`: the strategy, and what was said besides. */
function methodOf({ strategy, segments, point, wire, ...others }: SharingOptions): string {
  const more = Object.entries(others).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const L = segments === undefined ? [] : [`L=${segments}`]
  return [strategy, ...L, ...(point ? [point] : []), ...(wire ? [wire] : []), ...more].join(' ')
}

/** Throws `PlanError` for an option that there is not, which would be ignored in silence, or that is of another type. */
function expectKnown(devices: number, options: SharingOptions): void {
  const known = parsed(devices, options)
  const unknown = Object.keys(options).filter(name => !Object.hasOwn(known, name))
  if (unknown.length > 0) throw new PlanError(`plan: there is no option ${unknown.join(', ')} of sharing`)
}

function parsed(devices: number, options: SharingOptions): SharingOptions {
  try {
    return parseSharing(options, 'sharing', devices)
  } catch (error) {
    throw new PlanError(`plan: ${(error as Error).message}`)
  }
}
