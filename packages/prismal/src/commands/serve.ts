/** `prismal serve`: a group of devices that answers requests of a task from a NATS server's queue. */
import { hostname } from 'node:os'
import { serveRequests, type TaskRequest } from '@prismal/distribute/nats'
import { folderName, InputError } from '@prismal/models'
import { PrismalError } from '@prismal/tensor'
import { type Command, Option } from 'commander'
import type { Task } from '../locate.js'
import { type Pipelines, pipeline } from '../pipeline.js'
import { versions } from '../versions.js'
import {
  type BackendFlag,
  type EngineFlags,
  engineOptions,
  withBackend,
  withDtype,
  withThreads,
} from './engine-flags.js'
import { atServer, needsNats, type SessionFlags, untilEnded } from './nats-session.js'
import { callStream, callTool, type Outcome, type TaskFlags, task } from './run.js'
import { clusterOf, type DeviceFlags, withDevices, withSharing } from './sharing.js'

interface ServeFlags extends EngineFlags, BackendFlag, DeviceFlags, SessionFlags {
  readonly nats: string
  readonly task: Task
  readonly model?: string
  readonly name?: string
}

/** What an answer holds: as `prismal run --json` prints it, and the model's location. */
export interface Answer extends Outcome {
  readonly engine: ReturnType<Pipelines[Task]['capabilities']>
  readonly versions: Record<string, string>
  readonly model: string
}

export function addServe(program: Command): void {
  const command = program
    .command('serve')
    .description('answer requests of a task (prismal ask) that a NATS server deals out among groups of devices')
    .addOption(new Option('--task <task>', 'what is answered').argParser(task).makeOptionMandatory())
    .option('--model <location>', "a model folder, URL or installed package (default: the task's own)")
    .option('--name <name>', "of this group, in messages (default: the machine's)")
  needsNats(withDevices(withSharing(withThreads(withDtype(withBackend(command)))))).action(serve)
}

async function serve(flags: ServeFlags): Promise<void> {
  const { task: name, name: group = hostname() } = flags
  const ended = untilEnded()
  await atServer('serve', flags, async ({ nc, among }) => {
    const tool = new Tool(name, flags, among.log)
    try {
      const { model } = (await tool.get()).runner
      const answer = async (request: Required<TaskRequest>, piece: (text: string) => void, signal: AbortSignal) =>
        answered(await tool.get(), name, request, piece, signal)
      const serving = serveRequests(
        nc,
        name,
        async (request, piece, signal) => {
          try {
            return await answer(request, piece, signal)
          } catch (error) {
            if (!isOfDevices(error) || signal.aborted) throw error
            // Once more, with devices that are there now.
            among.log(`the devices are looked for again: ${(error as Error).message}`)
            await tool.end()
            return answer(request, piece, signal)
          }
        },
        { ...among, name: group },
      )
      console.log(`serving ${name} as ${group} · ${folderName(model.location)} (sha256 ${model.digest.slice(0, 8)}…)`)
      const lost = nc.closed().then(error => error?.message ?? 'the connection was closed')
      await Promise.race([lost, new Promise(resolve => ended.addEventListener('abort', resolve))])
      await serving.stop()
      console.log(`answered ${serving.answered}`)
    } finally {
      await tool.end()
    }
  })
}

/** A pipeline that can be had anew, with whatever devices are there then. */
class Tool {
  readonly #task: Task
  readonly #flags: ServeFlags
  readonly #warn: (message: string) => void
  #pipeline: Promise<Pipelines[Task]> | undefined

  constructor(task: Task, flags: ServeFlags, warn: (message: string) => void) {
    this.#task = task
    this.#flags = flags
    this.#warn = warn
  }

  get(): Promise<Pipelines[Task]> {
    this.#pipeline ??= this.#open().catch(error => {
      this.#pipeline = undefined
      throw error
    })
    return this.#pipeline
  }

  async end(): Promise<void> {
    const before = this.#pipeline
    this.#pipeline = undefined
    await (await before?.catch(() => undefined))?.dispose()
  }

  async #open(): Promise<Pipelines[Task]> {
    const { nats, ...others } = this.#flags
    // Of the server only requests are wanted where neither number nor names of devices were given.
    const devices = await clusterOf(others.devices || others.device ? this.#flags : others)
    return pipeline(this.#task, this.#flags.model, {
      ...(devices && { devices }),
      ...engineOptions(this.#flags),
      backend: this.#flags.backend,
      warn: this.#warn,
    })
  }
}

async function answered(
  tool: Pipelines[Task],
  name: Task,
  { inputs, options }: Required<TaskRequest>,
  piece: (text: string) => void,
  signal: AbortSignal,
): Promise<Answer> {
  const { model } = tool.runner
  const isImages = model.family === 'vit'
  if (inputs.length === 0) throw new InputError('the request has no inputs')
  // A text where an image belongs would be taken for a file's name, of this machine.
  for (const input of inputs)
    if ((typeof input === 'string') === isImages)
      throw new InputError(
        `${model.location} takes ${isImages ? 'the bytes of images, not texts' : 'texts, not bytes'}`,
      )
  const flags = { ...checked(options), signal }
  const [prompt] = inputs
  const outcome =
    options.stream === true && name === 'text-generation' && inputs.length === 1
      ? await callStream(tool as Pipelines['text-generation'], prompt as string, flags, piece)
      : await callTool(name, tool, inputs, flags)
  return { ...outcome, engine: tool.capabilities(), versions: versions(), model: folderName(model.location) }
}

const KINDS: { readonly [K in keyof Omit<TaskFlags, 'signal'>]-?: (value: unknown) => boolean } = {
  topk: isNumber,
  pooling: value => ['none', 'mean', 'cls'].includes(value as string),
  normalize: value => value === true,
  pair: isText,
  maxNewTokens: isNumber,
  temperature: isNumber,
  topK: isNumber,
  topP: isNumber,
  repetitionPenalty: isNumber,
  seed: isNumber,
  stop: value => Array.isArray(value) && value.length <= 16 && value.every(isText),
}
function isNumber(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value)
}
function isText(value: unknown): boolean {
  return typeof value === 'string'
}

/** The options of a request that are known. Throws `InputError` for others, and for values that are none. */
function checked(options: Readonly<Record<string, unknown>>): TaskFlags {
  const { stream, ...flags } = options
  for (const [name, value] of Object.entries(flags)) {
    const isOne = Object.hasOwn(KINDS, name) ? KINDS[name as keyof typeof KINDS] : undefined
    if (!isOne?.(value)) throw new InputError(`option ${name} is ${JSON.stringify(value)?.slice(0, 100)}`)
  }
  return flags as TaskFlags
}

const isOfDevices = (error: unknown): boolean =>
  error instanceof PrismalError && (error.code === 'device-failed' || error.code === 'connection')
