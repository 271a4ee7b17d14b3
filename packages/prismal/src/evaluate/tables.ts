/** An evaluation as people and spreadsheets read it. */
import { bytes, flops, percent, table } from '../commands/units.js'
import { distanceTable } from './by-distance.js'
import type { Cell } from './cell.js'
import type { Evaluation } from './evaluate.js'
import { summaries } from './summary.js'
import { metricsOf } from './tasks/index.js'

/** A row a cell, under what was evaluated. */
export function textTable({ cells, metrics: names }: Evaluation): string {
  const [first] = cells
  if (!first) return 'no cells'
  const metrics = metricsOf(names)
  const head = [
    'method',
    'devices',
    'received',
    'compute',
    ...metrics.map(m => `${m.name}${m.unit === '%' ? ' %' : ''}`),
    'change',
    'recovered',
  ]
  const digits = metrics[0]?.unit === '%' || metrics[0]?.unit === 'points' ? 2 : 4
  const rows = summaries(cells, names[0] as string).map(({ cell, change, recovered }) => [
    cell.method,
    devicesOf(cell),
    bytes(Math.round(cell.cost.bytesReceived)),
    flops(cell.cost.flops),
    ...metrics.map(m => shown(cell.metrics[m.name], m.unit === '%' || m.unit === 'points' ? 2 : 4)),
    change === undefined ? '' : signed(change, digits),
    recovered === undefined ? '' : percent(recovered),
  ])
  const distances = distanceTable(cells)
  const more = [...beyondLines(cells, names[0] as string), ...(distances ? ['', distances] : [])]
  return [subjectOf(first), table([head, ...rows]), ...more].join('\n')
}

/** P, and for one device those on whose rows it is scored. */
const devicesOf = ({ devices, settings: { cuts, cut } }: Cell): string =>
  devices === 1 && cuts !== undefined && cuts !== 1
    ? `1 (as ${cuts}${cut === undefined ? '' : `, ${cut}`})`
    : String(devices)

function subjectOf({ task, data, model, settings }: Cell): string {
  const { cuts: _cuts, cut: _cut, ...others } = settings
  const more = Object.entries(others).map(([name, value]) => `${name} ${value}`)
  return [
    `${task}: ${data.name}, ${data.items} items`,
    `${model.name} (${model.dtype}, ${model.digest.slice(0, 8)}…)`,
    ...more,
  ].join(' · ')
}

/** Where sequences have different lengths, a first device may hold nearly all that is real. */
function beyondLines(cells: readonly Cell[], metric: string): string[] {
  const found = new Map<number, number>()
  for (const { cell, beyond } of summaries(cells, metric)) if (beyond !== undefined) found.set(cell.devices, beyond)
  const parts = [...found].map(([P, share]) => `${percent(share)} of ${P} devices`)
  return parts.length === 0 ? [] : [`rows beyond the first device: ${parts.join(', ')}`]
}

const shown = (value: number | null | undefined, digits: number): string =>
  typeof value === 'number' && Number.isFinite(value) ? value.toFixed(digits) : '–'
const signed = (value: number, digits: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`

/** A line a cell, with a line of names before them. */
export function csvOf({ cells, metrics, environment }: Evaluation): string {
  const head = [
    ...[
      'task',
      'data',
      'data_digest',
      'items',
      'model',
      'model_digest',
      'dtype',
      'method',
      'devices',
      'sharing',
      'settings',
    ],
    ...[
      'bytes_received',
      'bytes_sent',
      'flops',
      'flops_alone',
      ...metrics,
      'change',
      'recovered',
      'rows_beyond',
      'seconds',
    ],
    ...['numerics_class', 'cpu', 'node', 'prismal'],
  ]
  const lines = summaries(cells, metrics[0] as string).map(({ cell, change, recovered, beyond }) => [
    ...[
      cell.task,
      cell.data.name,
      cell.data.digest,
      cell.data.items,
      cell.model.name,
      cell.model.digest,
      cell.model.dtype,
    ],
    ...[cell.method, cell.devices, JSON.stringify(cell.sharing), JSON.stringify(cell.settings)],
    ...[cell.cost.bytesReceived, cell.cost.bytesSent, cell.cost.flops, cell.cost.flopsAlone],
    ...metrics.map(name => cell.metrics[name]),
    ...[change, recovered, beyond, cell.seconds, cell.numericsClass],
    ...[environment.machine.cpu, environment.versions.node, environment.versions.prismal],
  ])
  return `${[head, ...lines].map(line => line.map(quoted).join(',')).join('\n')}\n`
}

function quoted(value: string | number | null | undefined): string {
  const text = value === undefined || value === null || Number.isNaN(value) ? '' : String(value)
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
