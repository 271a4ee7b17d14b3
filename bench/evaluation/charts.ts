/** The charts of the evaluation report: accuracy over bytes with its Pareto front, shares recovered, and losing a device. */
import type { Chart, Curves } from '../chart-data.js'
import { BEST_READING, type Role } from './experiments.js'
import { lostDevices, type Result, type RoleCell } from './results.js'

const slug = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
const metricOf = (cell: RoleCell): number => cell.sampled.value
const bytesOf = (cell: RoleCell): number => cell.cell.cost.bytesReceived

/** For each experiment and number of devices, the metric over the bytes that a device receives. */
export function overBytes({ experiment, metric, cells }: Result): Curves[] {
  // A part is weighed against the whole at one number of rows.
  if (experiment.inParts) return []
  return experiment.devices.map(P => {
    const here = cells.filter(c => c.cell.devices === P)
    const one = cells.find(c => c.role.kind === 'one' && c.cuts === P)
    const isolated = here.find(c => c.role.kind === 'isolated')
    const full = here.find(c => c.role.kind === 'full')
    const curve = (name: string, belongs: (role: Role) => boolean): Curves['series'][number] => {
      const points = here
        .filter(c => belongs(c.role))
        .map(c => [bytesOf(c), metricOf(c)] as const)
        .toSorted((a, b) => a[0] - b[0])
      return { name, points }
    }
    const best = BEST_READING[experiment.family]
    const series = [
      curve('published, f32', r => r.kind === 'published' && r.reading === best && r.wire === 'f32'),
      curve('published, f16', r => r.kind === 'published' && r.reading === best && r.wire === 'f16'),
      curve('ours, f32', r => r.kind === 'method'),
      curve('ours, int4', r => r.kind === 'system'),
      { name: 'full', points: full ? [[bytesOf(full), metricOf(full)] as const] : [] },
    ]
    return {
      ...{ kind: 'curves', file: `bytes-${slug(experiment.name)}-${P}`, title: `${experiment.name}, ${P} devices` },
      ...{ axis: metric.unit === '%' ? `${metric.name}, %` : metric.name, across: 'bytes that a device receives' },
      series: series.map((s, colour) => ({ ...s, colour })).filter(s => s.points.length > 0),
      levels: [
        ...(one ? [{ name: 'one device', value: metricOf(one) }] : []),
        ...(isolated ? [{ name: 'isolated', value: metricOf(isolated) }] : []),
      ],
    }
  })
}

/** Cells that no other one beats in both bytes and metric. */
export function paretoFront({ metric, cells, experiment }: Result, P: number): RoleCell[] {
  const sign = metric.better === 'higher' ? 1 : -1
  const here = cells.filter(c => c.cell.devices === P && experiment.devices.includes(P) && c.role.kind !== 'lost')
  return here
    .filter(
      c =>
        !here.some(
          o =>
            (bytesOf(o) < bytesOf(c) && sign * metricOf(o) >= sign * metricOf(c)) ||
            (bytesOf(o) === bytesOf(c) && sign * metricOf(o) > sign * metricOf(c)),
        ),
    )
    .toSorted((a, b) => bytesOf(a) - bytesOf(b))
}

/** What is lost where a device's means are not heard, by the layer from which on. */
export function lostDevice(result: Result): Chart | undefined {
  const { experiment, metric } = result
  const ways = lostDevices(result)
  if (ways.length === 0) return undefined
  const layers = [...new Set(ways.flatMap(way => [...way.byLayer.keys()]))].sort((a, b) => a - b)
  const sign = metric.better === 'higher' ? 1 : -1
  return {
    ...{
      kind: 'bars',
      file: `lost-${slug(experiment.name)}`,
      title: `${experiment.name}: the means of one device lost`,
    },
    axis: `${metric.name} lost${metric.unit === '%' ? ', points' : ''}`,
    categories: layers.map(layer => `from layer ${layer}`),
    series: ways.map(({ among, one, byLayer }) => ({
      name: among,
      values: layers.map(layer => {
        const found = byLayer.get(layer)
        return found && sign * (metricOf(one) - metricOf(found))
      }),
    })),
  }
}
