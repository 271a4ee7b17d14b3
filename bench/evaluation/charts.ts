/** The charts of the evaluation report: accuracy over bytes with its Pareto front, shares recovered, and losing a device. */
import type { Chart, Curves } from '../chart-data.js'
import { type Role, readingOf } from './experiments.js'
import { type Finding, type FoundCell, lostDevices, oneOf } from './finding.js'

const slug = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')

/** For each experiment and number of devices, the metric over the bytes that a device receives. */
export function overBytes(finding: Finding): Curves[] {
  const { about, metric, cells } = finding
  // A part is weighed against the whole at one number of rows.
  if (about.inParts) return []
  return about.devices.map(P => {
    const here = cells.filter(c => c.devices === P)
    const one = oneOf(finding, P)
    const isolated = here.find(c => c.role.kind === 'isolated')
    const full = here.find(c => c.role.kind === 'full')
    const curve = (name: string, belongs: (role: Role) => boolean): Curves['series'][number] => {
      const points = here
        .filter(c => belongs(c.role))
        .map(c => [c.bytes, c.value] as const)
        .toSorted((a, b) => a[0] - b[0])
      return { name, points }
    }
    const best = readingOf(about)
    const series = [
      curve('published, f32', r => r.kind === 'published' && r.reading === best && r.wire === 'f32'),
      curve('published, f16', r => r.kind === 'published' && r.reading === best && r.wire === 'f16'),
      curve('ours, f32', r => r.kind === 'method'),
      curve('ours, int4', r => r.kind === 'system'),
      { name: 'full', points: full ? [[full.bytes, full.value] as const] : [] },
    ]
    return {
      ...{ kind: 'curves', file: `bytes-${slug(about.name)}-${P}`, title: `${about.name}, ${P} devices` },
      ...{ axis: metric.unit === '%' ? `${metric.name}, %` : metric.name, across: 'bytes that a device receives' },
      series: series.map((s, colour) => ({ ...s, colour })).filter(s => s.points.length > 0),
      levels: [
        ...(one ? [{ name: 'one device', value: one.value }] : []),
        ...(isolated ? [{ name: 'isolated', value: isolated.value }] : []),
      ],
    }
  })
}

/** Cells that no other one beats in both bytes and metric. */
export function paretoFront({ metric, cells, about }: Finding, P: number): FoundCell[] {
  const sign = metric.better === 'higher' ? 1 : -1
  const here = cells.filter(c => c.devices === P && about.devices.includes(P) && c.role.kind !== 'lost')
  return here
    .filter(
      c =>
        !here.some(
          o =>
            (o.bytes < c.bytes && sign * o.value >= sign * c.value) ||
            (o.bytes === c.bytes && sign * o.value > sign * c.value),
        ),
    )
    .toSorted((a, b) => a.bytes - b.bytes)
}

/** What is lost where a device's means are not heard, by the layer from which on. */
export function lostDevice(finding: Finding): Chart | undefined {
  const { about, metric } = finding
  const ways = lostDevices(finding)
  if (ways.length === 0) return undefined
  const layers = [...new Set(ways.flatMap(way => [...way.byLayer.keys()]))].sort((a, b) => a - b)
  return {
    ...{ kind: 'bars', file: `lost-${slug(about.name)}`, title: `${about.name}: the means of one device lost` },
    axis: `${metric.name} lost${metric.unit === '%' ? ', points' : ''}`,
    categories: layers.map(layer => `from layer ${layer}`),
    series: ways.map(({ among, byLayer }) => ({
      name: among,
      values: layers.map(layer => byLayer.get(layer)?.lost),
    })),
  }
}
