/** Memory of processes that load a model and answer one request, and how fast loading is: a process a case. */
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Unavailable } from './contender.js'
import { summary } from './measure.js'
import { type PeerCase, type Setup, setupName } from './peer-cases.js'
import { contenderFor } from './peer-plan.js'
import { isMade, type ModelInputs, type ModelName, modelFolder, randomModel } from './random-models.js'
import { atMost, bar, type NotMeasured, type Row } from './report.js'
import { compileScripts, scriptPath } from './scripts.js'

const MB = 1e6

interface MemoryCase {
  readonly subject: PeerCase
  readonly setup: Setup
  readonly devices?: 2
  /** Most that a process may take over the weights, and in all, in bytes. */
  readonly mostBesideWeights?: number
  readonly mostInAll?: number
}

const ours = (dtype: Setup['dtype'] = 'f32'): Setup => ({ engine: 'prismal', threads: 1, dtype })
const web = (dtype: Setup['dtype'] = 'f32'): Setup => ({ engine: 'onnxruntime-web', threads: 1, dtype })
const of = (name: string, model: ModelName, rows: number, output: PeerCase['output']): PeerCase => ({
  ...{ name, model, rows, output },
})
const VIT = of('vit-b16', 'vit-b16', 197, 'classify')
const VIT_F16 = of('vit-b16 from f16', 'vit-b16-f16', 197, 'classify')
const BERT = of('bert-base-128', 'bert-base', 128, 'hidden')
const GPT2 = of('gpt2-prefill-512', 'gpt2', 512, 'prefill')
const LONG = of('gpt2-16k-prefill-16384', 'gpt2-16k', 16384, 'prefill')
const XL = of('gpt2-xl-prefill-512', 'gpt2-xl', 512, 'prefill')

/** Over the process before and the weights. */
const MOST_WHILE_LOADING = 64 * MB
/** Bytes a second, at best, of an f32 file that the system holds in memory. */
const LEAST_LOADING = 500 * MB

const CASES: readonly MemoryCase[] = [
  { subject: VIT, setup: ours(), mostBesideWeights: 110 * MB },
  { subject: VIT, setup: ours('q8') },
  { subject: VIT, setup: web() },
  { subject: VIT, setup: web('q8') },
  { subject: VIT_F16, setup: ours() },
  { subject: BERT, setup: ours() },
  { subject: BERT, setup: web() },
  { subject: GPT2, setup: ours() },
  { subject: GPT2, setup: ours('q8') },
  { subject: GPT2, setup: ours(), devices: 2 },
  { subject: GPT2, setup: web() },
  { subject: LONG, setup: ours() },
  { subject: XL, setup: ours('q8'), mostInAll: 2200 * MB },
  { subject: XL, setup: ours('q8'), devices: 2, mostInAll: 2200 * MB },
]

export interface MemoryOptions {
  /** How often each model is loaded, each time by a process of its own. */
  readonly loads: number
  /** Only the cases whose name contains this. */
  readonly only?: string
}

export async function benchMemory(options: MemoryOptions): Promise<{ rows: Row[]; notMeasured: NotMeasured[] }> {
  await compileScripts()
  const rows: Row[] = []
  const notMeasured: NotMeasured[] = []
  for (const one of CASES) {
    if (options.only !== undefined && !one.subject.name.includes(options.only)) continue
    try {
      rows.push(...(await measure(one, options.loads)))
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error
      notMeasured.push({ suite: 'memory', name: one.subject.name, variant: variantOf(one), reason: error.message })
    }
  }
  return { rows, notMeasured }
}

const variantOf = ({ setup, devices }: MemoryCase): string =>
  `${setupName(setup)}${devices ? `, ${devices} devices in two processes` : ''}`

interface Sample {
  readonly loadMs: number
  readonly requestMs: number
  readonly weightBytes: number
  /** Each process's, over what it took before. */
  readonly loadBytes: number
  readonly requestBytes: readonly number[]
}

async function measure(one: MemoryCase, loads: number): Promise<Row[]> {
  const samples: Sample[] = []
  const folder = folderOf(one)
  const fileBytes = statSync(weightsFile(one, folder)).size
  for (let i = 0; i < loads; i++) samples.push(await sample(one, folder, fileBytes))
  const variant = variantOf(one)
  const { name } = one.subject
  const { weightBytes } = samples[0]!
  const loadMs = summary(samples.map(s => s.loadMs))
  const besideLoad = Math.max(...samples.map(s => s.loadBytes)) - weightBytes
  const isOurs = one.setup.engine === 'prismal'
  const processes = samples[0]!.requestBytes.map((_, p) => Math.max(...samples.map(s => s.requestBytes[p]!)))
  const speed = fileBytes / loadMs.median / 1e3
  const isHeldToSpeed = isOurs && one.setup.dtype === 'f32' && one.subject.model !== 'vit-b16-f16'
  const reading: Row = {
    ...{ suite: 'memory', name, variant: `${variant}: reading`, milliseconds: loadMs },
    rate: { value: speed, unit: 'MB/s' },
    ...(isHeldToSpeed && { bar: bar(fileBytes / loadMs.least / 1e3, LEAST_LOADING / MB, '≥ 500 MB/s at best') }),
  }
  const loading: Row = {
    ...{ suite: 'memory', name, variant: `${variant}: loading`, milliseconds: loadMs },
    memory: { peakBytes: besideLoad + weightBytes, weightBytes, over: 'the process before' },
    ...(isOurs && !one.devices && { bar: atMost(besideLoad / MB, MOST_WHILE_LOADING / MB, 'weights + 64 MB') }),
  }
  const requests = processes.map((peakBytes, p): Row => {
    const beside = one.mostBesideWeights
    const limit = beside
      ? atMost((peakBytes - weightBytes) / MB, beside / MB, `weights + ${beside / MB} MB`)
      : one.mostInAll
        ? atMost(peakBytes / MB, one.mostInAll / MB, `≤ ${one.mostInAll / MB} MB`)
        : undefined
    const which = processes.length > 1 ? `: a request, process ${p + 1}` : ': a request'
    const milliseconds = summary(samples.map(s => s.requestMs))
    const memory = { peakBytes, weightBytes, over: 'nothing' } as const
    return {
      ...{ suite: 'memory', name, variant: variant + which, milliseconds, memory },
      ...(limit && { bar: limit }),
    }
  })
  return [...(one.devices ? [] : [reading]), loading, ...requests]
}

function folderOf({ subject: { model } }: MemoryCase): string {
  // 3 GB are not written unasked.
  if (model !== 'gpt2-xl') return randomModel(model)
  if (!isMade(model)) throw new Unavailable(`\`npm run bench:models -- ${model}\` was not run`)
  return modelFolder(model)
}

function weightsFile({ subject, setup }: MemoryCase, folder: string): string {
  if (setup.engine === 'prismal') return join(folder, 'model.safetensors')
  const path = join(folder, `${subject.name}${setup.dtype === 'f32' ? '' : `-${setup.dtype}`}.onnx`)
  if (statSync(path, { throwIfNoEntry: false }) === undefined) throw new Unavailable(`${basename(path)} was not made`)
  return path
}

/** Reads a file once, so that it comes from the page cache afterwards. */
function readThrough(path: string): void {
  const buffer = new Uint8Array(4 * 2 ** 20)
  const file = openSync(path, 'r')
  while (readSync(file, buffer) > 0);
  closeSync(file)
}

async function sample(one: MemoryCase, folder: string, fileBytes: number): Promise<Sample> {
  const { subject, setup, devices } = one
  const inputs = JSON.parse(readFileSync(join(folder, 'inputs.json'), 'utf8')) as ModelInputs
  readThrough(weightsFile(one, folder))
  const contender = contenderFor(setup)
  try {
    const [before] = await contender.memory()
    const sharedWith = devices && { sharedWith: scriptPath('process-device-child') }
    const base = { folder, case: subject, threads: setup.threads, dtype: setup.dtype, inputs }
    const loaded = await contender.load({ kind: 'model', ...base, ...sharedWith })
    const [after] = await contender.memory()
    const { milliseconds } = await contender.turn(1)
    const request = await contender.memory()
    return {
      loadMs: loaded.milliseconds,
      requestMs: milliseconds[0]!,
      weightBytes: loaded.weightBytes ?? fileBytes,
      loadBytes: after!.peakBytes - before!.bytes,
      requestBytes: request.map(m => m.peakBytes),
    }
  } finally {
    await contender.end()
  }
}
