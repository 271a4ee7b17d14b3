/** `prismal calibrate TASK`: chooses how devices share by trying it on inputs without labels. */
import { writeFileSync } from 'node:fs'
import { PlanError } from '@prismal/distribute'
import type { Command } from 'commander'
import { type Calibration, calibrate } from '../calibrate/calibrate.js'
import { describeSharing } from '../calibrate/describe.js'
import { readInputs } from '../calibrate/inputs.js'
import { CALIBRATED_TASKS } from '../calibrate/losses.js'
import type { SharingFile } from '../calibrate/sharing-file.js'
import type { Task } from '../locate.js'
import { type Pipelines, pipeline } from '../pipeline.js'
import { versions } from '../versions.js'
import { byteCount, percentage } from './calibrated.js'
import { type EngineFlags, engineOptions, withDtype, withThreads } from './engine-flags.js'
import { oneOf } from './fitting.js'
import { outputFile } from './output.js'
import { atLeast, clusterOf, type DeviceFlags, whole, withDevices } from './sharing.js'
import { bytes, table } from './units.js'

interface CalibrateFlags extends DeviceFlags, EngineFlags {
  readonly model?: string
  readonly inputs: readonly string[]
  readonly budget?: number
  readonly maxLoss?: number
  readonly confidence: number
  readonly limit: number
  readonly seed: number
  readonly json?: true
  readonly out?: string
}

export function addCalibrate(program: Command): void {
  const command = program
    .command('calibrate')
    .description('choose how devices share, by trying it on inputs without labels')
    .argument('<task>', CALIBRATED_TASKS.join(', '), oneOf(CALIBRATED_TASKS, 'Tasks that can be calibrated'))
    .option('--model <location>', "a model folder, URL or installed package (default: the task's own)")
    .requiredOption(
      '--inputs <what...>',
      'images, folders of them, CIFAR .bin; texts a line (two with a tab between are a pair); .json lists of texts',
    )
    .option('--devices <P>', 'devices that share; where none are named, as many in this process', whole(2))
    .option('--max-loss <percent>', 'most that may be lost: points, or percent of the bits per byte', percentage)
    .option('--budget <bytes>', 'most that a device may receive for an input, e.g. 50kB', byteCount)
    .option('--confidence <c>', 'probability that what is said of the loss is true', atLeast(0.5), 0.95)
    .option('--limit <n>', 'inputs to use at most', whole(2), 2000)
    .option('--seed <n>', 'start of the random order of the inputs', whole(0), 1)
    .option('--out <file>', 'write the choice for prismal run --sharing', outputFile)
    .option('--json', 'print one JSON object')
  withDevices(withThreads(withDtype(command))).action(run)
}

async function run(name: Task, flags: CalibrateFlags): Promise<void> {
  const { devices, maxLoss, budget, confidence, limit, seed } = flags
  const named = flags.device || flags.nats ? await clusterOf(flags) : undefined
  if (!named && devices === undefined) throw new PlanError('plan: say how many devices will share with --devices')
  const inputs = readInputs(name, flags.inputs, limit)
  const tool = (await pipeline(name, flags.model, {
    ...(named && { devices: named }),
    ...engineOptions(flags),
    warn: message => console.error(`warning: ${message}`),
  })) as Pipelines['image-classification']
  try {
    const found = await calibrate(tool, inputs as never, {
      ...(!named && { devices: devices as number }),
      ...(maxLoss !== undefined && { maxLoss }),
      ...(budget !== undefined && { budgetBytes: budget }),
      ...{ confidence, seed, limit, onProgress: progressLine },
    })
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
    const { location, digest } = tool.runner.model
    const { devices: P, sharing, ...calibration } = found
    const file: SharingFile = {
      ...{ format: 1, task: name, model: { location, digest }, devices: P, sharing, calibration },
    }
    if (flags.out !== undefined) writeFileSync(flags.out, `${JSON.stringify(file, null, 2)}\n`)
    if (flags.json) console.log(JSON.stringify({ ...file, versions: versions() }))
    else console.log(calibrationText(found))
    if (flags.out !== undefined && !flags.json) console.log(`\nprismal run ${name} … --sharing ${flags.out}`)
  } finally {
    await tool.dispose()
  }
}

/** One line that is written over, on a terminal only. */
function progressLine({ sharing, inputs }: { sharing: Calibration['sharing']; inputs: number }): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${describeSharing(sharing)}: ${inputs} inputs`)
}

/** Two digits, and never −0.00. */
const figure = (value: number): string => (Number.isFinite(value) ? value.toFixed(2).replace(/^-(0\.00)$/, '$1') : '?')
const count = (n: number): string => n.toLocaleString('en')

/** What was tried, what was chosen, and how sure that is. */
export function calibrationText(found: Calibration): string {
  const { tried, sharing, unit, inputsAre, loss, confidence, inputs, bytesFull } = found
  const rows = tried.map(t => [
    describeSharing(t.sharing),
    bytes(t.bytes),
    count(t.inputs),
    `${figure(t.loss.estimate)} (≤ ${figure(t.loss.upper)})`,
    found.maxLoss === undefined ? '' : t.holds ? 'holds' : 'not shown',
  ])
  const head = ['', 'received a device', 'tried on', `loss, ${unit}`, '']
  const isExact = sharing.strategy === 'full' && sharing.wire === undefined
  const certain = `${Number((100 * confidence).toFixed(2))} % confidence`
  // What was tested is the limit, of all candidates; a race's bound is the winner's own.
  const most = found.maxLoss ?? figure(loss.upper)
  const isKnown = Number.isFinite(loss.upper)
  const lines = [
    ...(tried.length > 0 ? [table([head, ...rows]), ''] : []),
    `${describeSharing(sharing)}: ${bytes(found.bytes)} received a device and input (full: ${bytes(bytesFull)})`,
    isExact
      ? 'loses nothing'
      : isKnown
        ? `loses about ${figure(loss.estimate)} ${unit}, with ${certain} no more than ${most} (n = ${count(found.triedOn)} of ${count(inputs)} ${inputsAre})`
        : `nothing is known of what it loses: ${tooFew(found)}`,
    ...whatIsMissing(found),
  ]
  return lines.join('\n')
}

const tooFew = ({ inputs, inputsAre, neededInputs }: Calibration): string =>
  `${count(inputs)} ${inputsAre} are too few to tell, it takes at least ${count(neededInputs as number)}`

function whatIsMissing(found: Calibration): string[] {
  const { isFallback, next, neededInputs, maxLoss, inputs, inputsAre } = found
  if (!next) return []
  const what = `${describeSharing(next.sharing)} (${bytes(next.bytes)})`
  const first = isFallback ? ['nothing cheaper could be shown to lose so little, so every row is sent'] : []
  if (!Number.isFinite(next.loss.upper)) return [...first, `${what} may do: ${tooFew(found)}`]
  if (next.loss.lower > (maxLoss as number)) return [...first, `${what} loses more than ${maxLoss}`]
  if (neededInputs !== undefined && neededInputs > inputs)
    return [
      ...first,
      `${what} may do: about ${count(neededInputs)} ${inputsAre} would show it, ${count(inputs)} are too few`,
    ]
  return [...first, `${what} seems to lose ${figure(next.loss.estimate)}, which is too near to ${maxLoss} or above it`]
}
