/** `prismal plan`: what sharing a model costs each device, before anything runs. */

import { existsSync } from 'node:fs'
import {
  cost,
  createPlan,
  type DeviceCost,
  estimate,
  type Plan,
  PUBLISHED,
  type SharingOptions,
  withDefaults,
} from '@prismal/distribute'
import {
  imaginedFiles,
  type Json,
  loadModel,
  type MemoryEstimate,
  type Model,
  ModelError,
  type ModelFiles,
} from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { rehearsalEngine } from '@prismal/tensor'
import type { Command } from 'commander'
import { KNOWN_MODELS, knownModel } from '../known-models.js'
import { type CalibratedFlags, plannedSharing, withCalibrated } from './calibrated.js'
import { type EngineFlags, withDtype, withThreads } from './engine-flags.js'
import { planMeasured, rowsOf } from './plan-measured.js'
import { quantity } from './quantity.js'
import { type DeviceFlags, whole, withDevices, withSharing } from './sharing.js'
import { bytes, duration, flops, percent, table } from './units.js'

interface PlanFlags extends DeviceFlags, CalibratedFlags, EngineFlags {
  readonly model: string
  readonly tokens?: number
  readonly batch: number
  readonly bandwidth?: number
  readonly speed?: number
  readonly asPublished?: true
  readonly measured?: true
  readonly rounds: number
  readonly force?: true
  readonly json?: true
}

/** One column of the table: a way of sharing, and what its busiest device does. */
interface Column {
  readonly name: string
  readonly devices: number
  readonly flops: number
  readonly lessCompute: number
  readonly compressionRate?: number
  readonly bytesReceived: number
  readonly lessTraffic?: number
  /** Largest use of a device's memory, weights included. */
  readonly memoryBytes: number
  /** What a device's memory grows to, loading included. */
  readonly processBytes: number
  /** Compute, then every exchange in turn, nothing overlapped; where speed and bandwidth are given. */
  readonly milliseconds?: number
}

export function addPlan(program: Command): void {
  const command = program
    .command('plan')
    .description('what sharing a model costs each device')
    .requiredOption('--model <location>', `a model folder, or one of ${Object.keys(KNOWN_MODELS).join(', ')}`)
    .option('--tokens <N>', "rows of a sequence (default: the model's positions)", whole(1))
    .option('--batch <B>', 'sequences', whole(1), 1)
    .option(
      '--bandwidth <rate>',
      'of each device, e.g. 100Mbit: predict the time',
      quantity(/^(bit|bit\/s|bps)?$/i, '100Mbit'),
    )
    .option('--speed <rate>', 'of each device, e.g. 47GF', quantity(/^(F|F\/s|FLOPS|flop\/s)?$/i, '47GF'))
    .option('--as-published', 'count as the paper does: every row in every layer, n = N/P, payload only')
    .option('--measured', 'measure devices and links, choose what is fastest, and put requests beside the prediction')
    .option('--rounds <n>', 'requests that each prediction is put beside', whole(1), 5)
    .option('--force', 'share where one device would be faster too')
    .option('--json', 'print one JSON object')
  withDevices(withCalibrated(withSharing(withThreads(withDtype(command))))).action(flags =>
    flags.measured ? planMeasured(flags) : plan(flags),
  )
}

async function plan(flags: PlanFlags): Promise<void> {
  const name = flags.model
  // Loaded in rehearsal: config and headers are read, memory is counted.
  const asked = flags.dtype && { dtype: flags.dtype }
  const model = await loadModel(await filesOf(name), { engine: rehearsalEngine(), ...asked, warn: () => {} })
  const { precision: dtype } = model
  const { shape } = model
  const weightBytes = model.engine.arena.kept.usedBytes
  const [tokens] = rowsOf(model, flags) as [number]
  const columns = await columnsOf(model, tokens, flags)
  if (flags.json) {
    console.log(
      JSON.stringify({
        model: name,
        shape,
        tokens,
        batch: flags.batch,
        dtype,
        weightBytes,
        asPublished: flags.asPublished ?? false,
        columns,
      }),
    )
    return
  }
  const batch = flags.batch > 1 ? `${flags.batch} × ` : ''
  console.log(
    `${name}: ${batch}${tokens} rows, ${shape.layers} layers, width ${shape.width}, ${dtype}${flags.asPublished ? ', counted as published' : ''}\n`,
  )
  console.log(table(tableOf(columns, weightBytes)))
  const { devices = 2 } = flags
  console.log(
    `\nEvery device holds all weights: sharing does not reduce memory.${flags.bandwidth ? advice(columns) : ''}`,
  )
  if (devices === 1) console.log('With --devices 2 or more it shows what sharing is worth.')
}

/** The model's files, or of one that is known by name what its config says. */
async function filesOf(model: string): Promise<ModelFiles> {
  const known: Json | undefined = existsSync(model) ? undefined : knownModel(model)
  if (known) return imaginedFiles(known, model)
  if (!existsSync(model) && !/^https?:/.test(model))
    throw new ModelError(`there is no model folder ${model}; known by name: ${Object.keys(KNOWN_MODELS).join(', ')}`)
  return openFiles(model)
}

/** Devices whose memory is asked for: of many the first and the last, between which the others are alike. */
function rehearsed({ devices, sequences }: Plan): number[] {
  if (devices <= 8) return Array.from({ length: devices }, (_, p) => p)
  const rows = (p: number): number =>
    sequences.reduce((sum, { bounds }) => sum + (bounds[p]?.[1] ?? 0) - (bounds[p]?.[0] ?? 0), 0)
  const all = Array.from({ length: devices }, (_, p) => p)
  const busiest = all.reduce((a, b) => (rows(b) > rows(a) ? b : a))
  return [...new Set([0, busiest, devices - 1])]
}

async function columnsOf(model: Model, tokens: number, flags: PlanFlags): Promise<Column[]> {
  const { shape } = model
  const want = flags.asPublished ? 'all' : shape.causal ? 'last' : shape.patchWidth > 0 ? 'first' : 'all'
  const requests = { model, devices: flags.devices ?? flags.weights?.length ?? 2, lengths: [tokens], want } as const
  const { devices, sharing: options } = plannedSharing(flags, requests)
  const planned = (count: number, sharing: SharingOptions): Plan => {
    const rows = new Array<number>(flags.batch).fill(tokens)
    return createPlan({ shape, rows, want, devices: count }, sharing)
  }
  const columns: Column[] = []
  const add = async (name: string, count: number, sharing: SharingOptions): Promise<void> => {
    const made = planned(count, sharing)
    const costs = cost(made, shape, { asPublished: flags.asPublished ?? false })
    const memory = await estimate(model, made, { devices: rehearsed(made) })
    columns.push(columnOf(name, made, costs, memory, columns, flags))
  }
  await add('one device', 1, { strategy: 'isolated' })
  if (devices === 1) return columns
  const shared = withDefaults(shape, devices, { ...(flags.asPublished && AS_PUBLISHED), ...options })
  const { segments: _segments, compressionRate: _rate, ...exact } = options
  await add('full', devices, { ...exact, strategy: 'full', wire: 'f32' })
  const strategy = options.strategy ?? 'means'
  if (strategy !== 'full') {
    const { sink = 0, wire = 'f32' } = shared
    const segments = (): number => segmentsOf(planned(devices, { ...shared, sink: 0, tail: 0, near: 0 }))
    const means = (): string => ` L=${segments()}${sink > 0 ? `, sink ${sink}` : ''}, ${wire}`
    await add(`${strategy}${strategy === 'means' ? means() : ''}`, devices, shared)
  } else if (options.wire !== undefined && options.wire !== 'f32') await add(`full, ${options.wire}`, devices, shared)
  return columns
}

/** What the paper's figures are of, where nothing else is said. */
const AS_PUBLISHED: SharingOptions = { ...PUBLISHED, compressionRate: 10 }

/** L: the most segments that a device makes. */
const segmentsOf = (made: Plan): number =>
  Math.max(...made.sequences.flatMap(s => s.sent.flat().map(runs => runs.length)))

function columnOf(
  name: string,
  made: Plan,
  costs: readonly DeviceCost[],
  memory: readonly MemoryEstimate[],
  [alone, full]: readonly Column[],
  flags: PlanFlags,
): Column {
  const busiest = Math.max(...costs.map(c => c.flops))
  const received = Math.max(...costs.map(c => c.bytesReceived))
  const means = made.strategy === 'means' ? segmentsOf(made) : undefined
  const rows = Math.ceil((made.sequences[0]?.rows ?? 0) / made.devices)
  const { bandwidth, speed } = flags
  const time =
    bandwidth && speed
      ? Math.max(...costs.map(c => (c.flops / speed + (c.bytesReceived * 8) / bandwidth) * 1000))
      : undefined
  return {
    name,
    devices: made.devices,
    flops: busiest,
    lessCompute: alone ? 1 - busiest / alone.flops : 0,
    bytesReceived: received,
    memoryBytes: Math.max(...memory.map(m => m.peakBytes)),
    processBytes: Math.max(...memory.map(m => m.processBytes)),
    ...(means !== undefined && { compressionRate: rows / means }),
    ...(full && full.bytesReceived > 0 && { lessTraffic: 1 - received / full.bytesReceived }),
    ...(time !== undefined && { milliseconds: time }),
  }
}

function tableOf(columns: readonly Column[], weightBytes: number): string[][] {
  const row = (name: string, cell: (c: Column) => string): string[] => [name, ...columns.map(cell)]
  const rows = [
    row('', c => c.name),
    row('compute a device', c => flops(c.flops)),
    row('  less', c => (c.devices > 1 ? percent(c.lessCompute) : '')),
    row('received a device', c => bytes(c.bytesReceived)),
    row('  compression rate', c => c.compressionRate?.toFixed(2) ?? ''),
    row('  less', c => (c.lessTraffic === undefined ? '' : percent(c.lessTraffic))),
    row('weights a device', () => bytes(weightBytes)),
    row('memory a device', c => bytes(c.memoryBytes)),
  ]
  if (columns.some(c => c.milliseconds !== undefined))
    rows.push(row('time (predicted)', c => (c.milliseconds === undefined ? '' : duration(c.milliseconds))))
  return rows
}

function advice(columns: readonly Column[]): string {
  const [alone, ...others] = columns
  const timed = others.filter(c => c.milliseconds !== undefined)
  if (!alone?.milliseconds || timed.length === 0) return '\nGive --speed too (e.g. 47GF) and the time is predicted.'
  const best = timed.reduce((a, b) => ((b.milliseconds as number) < (a.milliseconds as number) ? b : a))
  const gain = alone.milliseconds / (best.milliseconds as number)
  return gain > 1 ? `\nShare by ${best.name}: ${gain.toFixed(2)}× faster.` : '\nSharing does not pay at this bandwidth.'
}
