/** `prismal plan --measured`: measures devices and links, lays out the rows, predicts, and puts requests beside it. */

import { existsSync } from 'node:fs'
import {
  type Candidate,
  type Choice,
  compare,
  type Measurements,
  measure,
  PlanError,
  type SharedRunner,
  type SharedWork,
  SharingError,
  type SharingOptions,
  type Verified,
  verify,
} from '@prismal/distribute'
import { loadModel, type Model, ModelError } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { type EngineFlags, engineOptions } from './engine-flags.js'
import { clusterOf, type DeviceFlags, sharingOptions } from './sharing.js'
import { duration, flops, table } from './units.js'

export interface MeasuredFlags extends DeviceFlags, EngineFlags {
  readonly model: string
  readonly tokens?: number
  readonly batch: number
  readonly rounds: number
  readonly force?: true
  readonly json?: true
}

/** Candidates that would take longer than this for all rounds are not run. */
const LONGEST_RUN_MS = 120_000

export async function planMeasured(flags: MeasuredFlags): Promise<void> {
  const name = flags.model
  if (!existsSync(name) && !/^https?:/.test(name))
    throw new ModelError(`there is no model folder ${name}; measuring needs the weights`)
  const { threads, ...asked } = engineOptions(flags)
  const engine = await createEngine(threads === undefined ? {} : { threads })
  const model = await loadModel(await openFiles(name), { engine, ...asked, warn: () => {} })
  const rows = rowsOf(model, flags)
  const cluster = await clusterOf(
    flags.device ? flags : { ...flags, devices: flags.devices ?? flags.weights?.length ?? 2 },
  )
  if (!cluster || cluster.specs.length < 2)
    throw new PlanError('plan: there is one device and nothing to share; name others with --devices or --device')
  const runner = await cluster.runner(model)
  try {
    await measuredPlan(runner, rows, sharingOptions(flags), flags)
  } finally {
    await runner.dispose()
  }
}

/** Rows of each sequence. Throws {@link PlanError} where the model does not take so many. */
export function rowsOf({ shape }: Model, { model, tokens, batch }: Pick<MeasuredFlags, 'model' | 'tokens' | 'batch'>) {
  const rows = tokens ?? shape.positions
  if (rows > shape.positions)
    throw new PlanError(`plan: ${rows} tokens were given; ${model} has ${shape.positions} positions`)
  if (shape.patchWidth > 0 && rows !== shape.positions)
    throw new PlanError(`plan: ${model} takes images of ${shape.positions} rows, not ${rows}`)
  return new Array<number>(batch).fill(rows)
}

async function measuredPlan(
  runner: SharedRunner,
  rows: readonly number[],
  sharing: SharingOptions,
  flags: MeasuredFlags,
): Promise<void> {
  const { shape, precision: dtype } = runner.model
  const want = shape.causal ? 'last' : shape.patchWidth > 0 ? 'first' : 'all'
  const work: SharedWork = { shape, rows, want }
  const measurements = await measure(runner, { rows, want, sharing })
  const choice = compare(work, measurements, sharing)
  const refused = !choice.pays && !flags.force
  if (!flags.json) {
    const batch = rows.length > 1 ? `${rows.length} × ` : ''
    console.log(`${flags.model}: ${batch}${rows[0]} rows, ${shape.layers} layers, width ${shape.width}, ${dtype}\n`)
    console.log(`${devicesTable(measurements, choice)}\n\n${linksTable(measurements)}\n`)
    console.log(refused ? predictedTable(choice) : `${choice.pays ? 'Chosen' : 'Forced'}: ${choice.reason}\n`)
  }
  const run = choice.candidates.filter(c => c.milliseconds * flags.rounds <= LONGEST_RUN_MS)
  const verified = refused ? [] : await verify(runner, work, measurements, run, { rounds: flags.rounds })
  if (flags.json) console.log(JSON.stringify(jsonOf(flags, runner.model, rows, measurements, choice, verified)))
  else if (!refused) console.log(verifiedTable(choice, verified))
  if (refused) throw new SharingError(`sharing would not pay: ${choice.reason} (--force shares all the same)`)
}

const rowsText = (candidate: Candidate): string =>
  Array.from({ length: candidate.plan.devices }, (_, p) => rowsHere(candidate, p)).join(' + ')

function devicesTable({ devices }: Measurements, { candidates }: Choice): string {
  const laidOut = candidates.find(c => c.strategy !== 'one device')
  return table([
    ['device', 'beside the others', 'alone', 'a layer besides', laidOut ? `rows (${laidOut.name})` : 'rows'],
    ...devices.map((d, p) => [
      `${p} ${d.name}`,
      `${flops(d.overallFlopsPerSecond)}/s`,
      `${flops(d.overallFlopsPerSecond / d.aloneFactor)}/s`,
      duration(d.layerMs),
      String(rowsHere(laidOut, p)),
    ]),
  ])
}

const rowsHere = (candidate: Candidate | undefined, p: number): number =>
  candidate?.plan.sequences.reduce((sum, { bounds }) => sum + (bounds[p]?.[1] ?? 0) - (bounds[p]?.[0] ?? 0), 0) ?? 0

function linksTable({ links, controls }: Measurements): string {
  const rate = (bits: number): string => `${flops(bits).replace(/F$/, 'bit/s')}`
  const late = (ms: number): string => `${ms.toFixed(ms < 1 ? 3 : 1)} ms`
  return table([
    ['link', 'latency', 'bandwidth'],
    ...links.map(l => [`${l.from} → ${l.to}`, late(l.latencyMs), rate(l.bitsPerSecond)]),
    ...controls.flatMap(c => [
      [`coordinator → ${c.device}`, late(c.latencyMs), rate(c.bitsPerSecond)],
      [`${c.device} → coordinator`, late(c.latencyMs), rate(c.bitsPerSecondBack)],
    ]),
  ])
}

const predictedTable = ({ candidates }: Choice): string =>
  table([['', 'rows', 'predicted'], ...candidates.map(c => [c.name, rowsText(c), duration(c.milliseconds)])])

function verifiedTable({ candidates }: Choice, verified: readonly Verified[]): string {
  const lines = candidates.map(c => {
    const found = verified.find(v => v.candidate === c)
    if (!found) return [c.name, rowsText(c), duration(c.milliseconds), 'not run', '']
    const error = `${found.error >= 0 ? '+' : '−'}${Math.abs(100 * found.error).toFixed(1)} %`
    return [c.name, rowsText(c), duration(found.predictedMs), duration(found.measuredMs), error]
  })
  return `${table([['', 'rows', 'predicted', 'measured', 'error'], ...lines])}\n\nMedians of ${verified[0]?.requests ?? 0} requests each, interleaved, devices' speeds measured in between.`
}

function jsonOf(
  { model, batch }: MeasuredFlags,
  { shape, precision: dtype }: Model,
  rows: readonly number[],
  measurements: Measurements,
  { candidates, chosen, pays, reason }: Choice,
  verified: readonly Verified[],
): object {
  const listed = candidates.map(c => {
    const { predictedMs, measuredMs, error } = verified.find(v => v.candidate === c) ?? {}
    const { name, strategy, sharing, milliseconds } = c
    return { name, strategy, sharing, chosenByMs: milliseconds, predictedMs, measuredMs, error }
  })
  return {
    model,
    shape,
    tokens: rows[0],
    batch,
    dtype,
    measurements,
    candidates: listed,
    chosen: chosen.name,
    pays,
    reason,
  }
}
