/** `prismal run TASK INPUT…`: one inference, its answer and what it cost. */
import { type Cluster, measured, PlanError } from '@prismal/distribute'
import { type Filled, folderName, type Generated, type Label, type NumberArray, type Report } from '@prismal/models'
import { type Command, Option } from 'commander'
import { TASKS, type Task } from '../locate.js'
import { type PipelineCapabilities, type Pipelines, pipeline } from '../pipeline.js'
import { versions } from '../versions.js'
import { type CalibratedFlags, calibratedCluster, withCalibrated } from './calibrated.js'
import {
  type BackendFlag,
  type EngineFlags,
  engineOptions,
  withBackend,
  withDtype,
  withThreads,
} from './engine-flags.js'
import { expectFitting, oneOf } from './fitting.js'
import { above, atLeast, type DeviceFlags, whole, withDevices, withSharing } from './sharing.js'
import { bytes, duration } from './units.js'

/** How a task answers, as commands take it. */
export interface TaskFlags {
  readonly topk?: number
  readonly pooling?: 'none' | 'mean' | 'cls'
  readonly normalize?: true
  readonly pair?: string
  readonly maxNewTokens?: number
  readonly temperature?: number
  readonly topK?: number
  readonly topP?: number
  readonly repetitionPenalty?: number
  readonly seed?: number
  readonly stop?: readonly string[]
  readonly signal?: AbortSignal
}

interface RunFlags extends TaskFlags, DeviceFlags, CalibratedFlags, EngineFlags, BackendFlag {
  readonly model?: string
  readonly measured?: true
  readonly force?: true
  readonly json?: true
}

export interface Outcome {
  readonly output: unknown
  readonly report: Report
}

/** Parses a task's name. */
export const task = oneOf(TASKS, 'Tasks')

const GENERATION: readonly Task[] = ['text-generation']
/** Which tasks the options of {@link withTask} are for. */
const TASKS_OF: Readonly<Record<string, readonly Task[]>> = {
  topk: ['image-classification', 'text-classification', 'fill-mask'],
  pooling: ['feature-extraction'],
  normalize: ['feature-extraction'],
  pair: ['text-classification'],
  ...{ maxNewTokens: GENERATION, temperature: GENERATION, topK: GENERATION, topP: GENERATION },
  ...{ repetitionPenalty: GENERATION, seed: GENERATION, stop: GENERATION },
}

/** Ends the command where options of other tasks were given. */
export const expectTaskOptions = (command: Command, name: Task): void => expectFitting(command, name, TASKS_OF)

export function addRun(program: Command): void {
  const command = program
    .command('run')
    .description('run a model on an input')
    .argument('<task>', TASKS.join(', '), task)
    .argument('<input...>', 'a text, or the path or URL of a JPEG or PNG image; several are one batch')
    .option('--model <location>', "a model folder, URL or installed package (default: the task's own)")
    .option('--json', 'print one JSON object: output, report, engine, versions')
    .option('--measured', 'measure the devices and their links first, and share in the way that is fastest')
    .option('--force', 'with --measured: share where one device would be faster too')
  withTask(withDevices(withCalibrated(withSharing(withThreads(withDtype(withBackend(command))))))).action(run)
}

/** Adds what says how a task answers. */
export function withTask(command: Command): Command {
  return command
    .option('--topk <n>', 'labels or tokens to give (classification, fill-mask)', whole(1))
    .addOption(
      new Option('--pooling <kind>', 'one vector an input (feature-extraction)').choices(['none', 'mean', 'cls']),
    )
    .option('--normalize', 'vectors of length 1 (feature-extraction)')
    .option('--pair <text>', 'the second text of a pair (text-classification)')
    .option('--max-new-tokens <n>', 'tokens to generate', whole(1), 60)
    .option('--temperature <t>', 'sample, the hotter the more freely (default: the most likely token)', atLeast(0))
    .option('--top-k <n>', 'sample among the n most likely tokens', whole(0))
    .option('--top-p <p>', 'sample among the most likely tokens that make up p', above(0, 1))
    .option('--repetition-penalty <x>', 'above 1: tokens that occurred become less likely', above(0))
    .option('--seed <n>', 'start of the random sequence', whole(0))
    .option('--stop <text...>', 'texts that end the generation')
}

async function run(name: Task, inputs: readonly string[], flags: RunFlags, command: Command): Promise<void> {
  expectTaskOptions(command, name)
  if (command.getOptionValueSource('nats') === 'cli' && flags.devices === undefined)
    throw new PlanError('plan: --nats finds devices: say how many with --devices')
  const devices = measuredCluster(await calibratedCluster(flags), flags)
  const warn = (message: string): void => console.error(`warning: ${message}`)
  const { backend } = flags
  const tool = await pipeline(name, flags.model, {
    ...(devices && { devices }),
    ...engineOptions(flags),
    backend,
    warn,
  })
  try {
    const streams = name === 'text-generation' && !flags.json && inputs.length === 1
    const outcome = streams
      ? await streamed(tool as Pipelines['text-generation'], inputs[0] as string, flags)
      : await callTool(name, tool, inputs, flags)
    const engine = tool.capabilities()
    if (flags.json) console.log(JSON.stringify({ ...outcome, engine, versions: versions() }))
    else {
      if (!streams) printOutput(name, outcome.output, inputs)
      console.log(summary(tool.runner.model.location, engine, outcome.report))
    }
  } finally {
    await tool.dispose()
  }
}

/** The devices, which measure themselves before the first request where that was asked for. */
function measuredCluster(devices: Cluster | undefined, flags: RunFlags): Cluster | undefined {
  const { measured: isMeasured, force } = flags
  if (!isMeasured) return devices
  if (flags.budget !== undefined || flags.sharing !== undefined)
    throw new PlanError('plan: --measured chooses how devices share: leave --budget and --sharing out')
  if (!devices || devices.specs.length < 2)
    throw new PlanError('plan: there is one device and nothing to measure; name others with --devices or --device')
  return measured(devices, { force: force ?? false, onChoice: ({ reason }) => console.error(`measured: ${reason}`) })
}

/** Calls a task's pipeline with texts, or with what images are read from. */
export async function callTool(
  name: Task,
  tool: Pipelines[Task],
  sources: readonly (string | Uint8Array)[],
  flags: TaskFlags,
): Promise<Outcome> {
  const signal = flags.signal ? { signal: flags.signal } : {}
  const topk = { ...(flags.topk !== undefined && { topk: flags.topk }), ...signal }
  // Whoever calls knows which of the tasks take images.
  const inputs = sources as readonly string[]
  switch (name) {
    case 'image-classification':
      return (tool as Pipelines[typeof name]).withReport(inputs, { topk: 3, ...topk })
    case 'text-classification': {
      const { pair } = flags
      const texts = pair === undefined ? inputs : inputs.map(text => ({ text, text_pair: pair }))
      return (tool as Pipelines[typeof name]).withReport(texts, { topk: 3, ...topk })
    }
    case 'fill-mask':
      return (tool as Pipelines[typeof name]).withReport(inputs, topk)
    case 'text-generation':
      return (tool as Pipelines[typeof name]).withReport(inputs, generationOptions(flags))
    case 'feature-extraction': {
      const options = { pooling: flags.pooling ?? 'mean', normalize: flags.normalize ?? false, ...signal }
      const { output, report } = await (tool as Pipelines[typeof name]).withReport(inputs, options)
      const arrays = Array.isArray(output) ? output.map(a => a.tolist()) : (output as NumberArray).tolist()
      return { output: arrays, report }
    }
  }
}

/** Generates to the terminal, which shows nothing of a prompt that is refused. */
async function streamed(tool: Pipelines['text-generation'], prompt: string, flags: TaskFlags): Promise<Outcome> {
  let before = prompt
  const outcome = await callStream(tool, prompt, flags, piece => {
    process.stdout.write(before + piece)
    before = ''
  })
  process.stdout.write(`${before}\n`)
  return outcome
}

/** Generates a text, of which `told` gets the pieces. */
export async function callStream(
  tool: Pipelines['text-generation'],
  prompt: string,
  flags: TaskFlags,
  told: (piece: string) => void,
): Promise<Outcome> {
  let outcome: Outcome | undefined
  for await (const piece of tool.stream(prompt, generationOptions(flags), r => {
    outcome = r
  }))
    told(piece)
  return outcome as Outcome
}

const generationOptions = (flags: TaskFlags) => ({
  ...(flags.maxNewTokens !== undefined && { max_new_tokens: flags.maxNewTokens }),
  ...(flags.signal && { signal: flags.signal }),
  ...(flags.temperature !== undefined && { temperature: flags.temperature }),
  ...(flags.topK !== undefined && { top_k: flags.topK }),
  ...(flags.topP !== undefined && { top_p: flags.topP }),
  ...(flags.repetitionPenalty !== undefined && { repetition_penalty: flags.repetitionPenalty }),
  ...(flags.seed !== undefined && { seed: flags.seed }),
  ...(flags.stop && { stop: flags.stop }),
})

/** The answer as people read it. */
export function printOutput(name: Task, output: unknown, inputs: readonly string[]): void {
  const of = <T>(each: (item: T) => string): void => {
    for (const [i, item] of (output as T[]).entries()) {
      const head = inputs.length > 1 ? `${inputs[i]}: ` : ''
      console.log(head + each(item))
    }
  }
  if (name === 'image-classification' || name === 'text-classification')
    of<Label[]>(labels => labels.map(l => `${l.label} ${l.score.toFixed(3)}`).join('  '))
  else if (name === 'fill-mask')
    of<Filled[]>(list => list.map(f => `${f.token_str} ${f.score.toFixed(3)}  ${f.sequence}`).join('\n'))
  else if (name === 'text-generation') of<Generated>(g => g.generated_text)
  else of<number[] | number[][]>(vector => describeVector(vector))
}

/** The first values, and how many there are. */
function describeVector(vector: number[] | number[][]): string {
  const rows = (Array.isArray(vector[0]) ? vector : [vector]) as number[][]
  const [first = []] = rows
  const shown = first
    .slice(0, 6)
    .map(v => v.toFixed(4))
    .join(' ')
  return `[${rows.length > 1 ? `${rows.length} × ` : ''}${first.length}] ${shown} …  (all with --json)`
}

/** `vit-cifar10 · f32 · simd, 1 thread · 2 devices · means · 48 kB exchanged · 7 ms`. */
export function summary(
  location: string,
  { dtype, build, threads }: Pick<PipelineCapabilities, 'dtype' | 'build' | 'threads'>,
  report: Report,
): string {
  const devices = report.devices.filter(d => d.device !== 'coordinator')
  const exchanged = devices.reduce((sum, d) => sum + d.bytesReceived, 0)
  const name = folderName(location)
  const parts = [
    name === 'model' ? folderName(location, 1) : name,
    dtype,
    `${build}, ${threads === 1 ? '1 thread' : `${threads} threads`}`,
    devices.length === 1 ? '1 device' : `${devices.length} devices`,
    ...(devices.length > 1 ? [report.strategy, `${bytes(exchanged)} exchanged`] : []),
    duration(report.milliseconds),
    ...report.deviations,
  ]
  return `${process.stdout.isTTY ? '\n' : ''}${parts.join(' · ')}`
}
