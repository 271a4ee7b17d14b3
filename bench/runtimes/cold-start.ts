/**
 * From the start of a process to a first answer (vit-cifar10, a JPEG), for the packed packages and for transformers.js on the same
 * weights, beside what the runtime itself takes to start.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { install, type Packed, pack, REPOSITORY, withDependencies } from '../../test/packed/pack.js'
import { PROCESS_RUNTIMES, type ProcessRuntime, run } from '../../test/packed/processes.js'
import { isThere, type Runtime } from '../../test/packed/runtimes.js'
import { startWorkerd, type WorkerOptions } from '../../test/packed/workerd.js'
import { pythonPath, SETUP_COMMAND } from '../peer-plan.js'

const PEER = '@huggingface/transformers'
export const PEER_VERSION = '4.3.1'

const model = join(REPOSITORY, 'models/vit-cifar10')
const image = join(REPOSITORY, 'test/fixtures/images/baseline-420.jpg')

const OURS = `import { pipeline } from 'prismal'
const classify = await pipeline('image-classification', ${JSON.stringify(model)})
const [best] = await classify(${JSON.stringify(image)})
console.log(best.label)
await classify.dispose()
`
const theirs = (models: string): string => `import { env, pipeline } from '${PEER}'
env.allowRemoteModels = false
env.localModelPath = ${JSON.stringify(models)}
const classify = await pipeline('image-classification', 'vit', { dtype: 'fp32' })
const [best] = await classify(${JSON.stringify(image)})
console.log(best.label)
await classify.dispose()
`
const WORKER = `import { memoryFiles, pipeline } from 'prismal'
import config from 'config.bin'
import preprocessor from 'preprocessor.bin'
import weights from 'weights.bin'
import image from 'image.bin'
const files = { 'config.json': config, 'preprocessor_config.json': preprocessor, 'model.safetensors': weights }
export default {
  async fetch() {
    const classify = await pipeline('image-classification', memoryFiles(files))
    return Response.json(await classify(new Uint8Array(image)))
  },
}
`
const THEIR_WORKER = `import { pipeline } from '${PEER}'
export default { fetch: async () => Response.json(await pipeline('image-classification', 'vit')) }
`
const EMPTY_WORKER = `export default { fetch: () => new Response('') }`
const WORKER_DATA = {
  'config.bin': join(model, 'config.json'),
  'preprocessor.bin': join(model, 'preprocessor_config.json'),
  'weights.bin': join(model, 'model.safetensors'),
  'image.bin': image,
}

/** Milliseconds of one run. Throws with what was said where it fails. */
type Timed = () => Promise<number>

interface Subject {
  readonly runtime: Runtime
  readonly empty: Timed
  readonly ours: Timed
  readonly theirs?: Timed
}
export type Contestant = Exclude<keyof Subject, 'runtime'>

const script =
  (runtime: ProcessRuntime, project: string, name: string): Timed =>
  async () => {
    const { code, stderr, milliseconds } = await run(runtime, [name], { cwd: project })
    if (code !== 0) throw new Error(stderr)
    return milliseconds
  }
const worker =
  (options: WorkerOptions): Timed =>
  async () => {
    const running = await startWorkerd(options)
    try {
      const response = await fetch(running.url)
      await response.arrayBuffer()
      if (!response.ok) throw new Error(running.output())
      return performance.now() - running.startedAt
    } finally {
      await running.stop()
    }
  }

/** A folder of models as transformers.js reads them, with this one in it. Throws where Python or a package of it is missing. */
function onnxModels(into: string): string {
  const folder = join(into, 'vit')
  mkdirSync(join(folder, 'onnx'), { recursive: true })
  for (const file of ['config.json', 'preprocessor_config.json']) cpSync(join(model, file), join(folder, file))
  const maker = fileURLToPath(new URL('../peers/onnx_vit.py', import.meta.url))
  execFileSync(pythonPath(), [maker, model, join(folder, 'onnx/model.onnx')], { stdio: ['ignore', 'ignore', 'pipe'] })
  return `${into}/`
}

/** The times of one runtime, turn by turn: an empty script, and first answers of ours and theirs. */
export type ColdStarts = ReadonlyMap<Contestant, readonly number[]>

export interface ColdStartFindings {
  readonly runtimes: ReadonlyMap<Runtime, ColdStarts>
  readonly installed: readonly Installed[]
  /** What was not measured, and why. */
  readonly notes: readonly string[]
}

/** What npm has installed. */
export interface Installed {
  readonly name: string
  readonly bytes: number
  readonly packages: number
}

/** Runs that alternate, of every runtime that is a process and of workerd. */
export async function coldStarts(rounds: number): Promise<ColdStartFindings> {
  const packed = pack()
  const notes: string[] = []
  try {
    const ours = install(packed, withDependencies('prismal'))
    writeFileSync(join(ours, 'empty.js'), '')
    writeFileSync(join(ours, 'first.js'), OURS)
    const peer = peerProject(packed, notes)
    const runtimes = await measured(subjectsOf(ours, peer), rounds, notes)
    const installed = [weightOf('prismal', ours), ...(peer === undefined ? [] : [weightOf('transformers.js', peer)])]
    return { runtimes, installed, notes }
  } finally {
    packed.remove()
  }
}

/** A project with transformers.js and the model; undefined where it cannot be had, and a note says why. */
function peerProject(packed: Packed, notes: string[]): string | undefined {
  try {
    const project = install(packed, [], [`${PEER}@${PEER_VERSION}`])
    writeFileSync(join(project, 'first.js'), theirs(onnxModels(join(project, 'models'))))
    return project
  } catch (error) {
    notes.push(
      `transformers.js was not measured (${SETUP_COMMAND} installs what it needs): ${(error as Error).message}`,
    )
    return undefined
  }
}

function subjectsOf(ours: string, peer: string | undefined): Subject[] {
  const workerd = { project: ours, script: WORKER, data: WORKER_DATA }
  const subjects: Subject[] = [
    ...PROCESS_RUNTIMES.map(runtime => ({
      runtime,
      empty: script(runtime, ours, 'empty.js'),
      ours: script(runtime, ours, 'first.js'),
      ...(peer !== undefined && { theirs: script(runtime, peer, 'first.js') }),
    })),
    {
      ...{ runtime: 'workerd', empty: worker({ project: ours, script: EMPTY_WORKER }), ours: worker(workerd) },
      ...(peer !== undefined && { theirs: worker({ project: peer, script: THEIR_WORKER }) }),
    },
  ]
  return subjects.filter(({ runtime }) => isThere(runtime))
}

/** The times of each contestant in each runtime, turn by turn. A contestant that fails has none, and a note says why. */
async function measured(
  subjects: readonly Subject[],
  rounds: number,
  notes: string[],
): Promise<Map<Runtime, Map<Contestant, number[]>>> {
  const times = new Map(subjects.map(({ runtime }) => [runtime, new Map<Contestant, number[]>()]))
  const failed = new Set<Timed>()
  for (let round = 0; round <= rounds; round++)
    for (const { runtime, ...contestants } of subjects)
      for (const [name, timed] of Object.entries(contestants) as [Contestant, Timed][]) {
        if (failed.has(timed)) continue
        try {
          const milliseconds = await timed()
          // The first round finds the files not yet in memory.
          const of = times.get(runtime) as Map<Contestant, number[]>
          if (round > 0) of.set(name, [...(of.get(name) ?? []), milliseconds])
        } catch (error) {
          if (name !== 'theirs') throw error
          failed.add(timed)
          times.get(runtime)?.delete(name)
          const said = (error as Error).message.trim()
          const [reason] = (/^.*Error: .*$/m.exec(said)?.[0].trim() ?? said).split('. ')
          notes.push(`transformers.js does not run in ${runtime}: ${reason}`)
        }
      }
  return times
}

function weightOf(name: string, project: string): Installed {
  const folder = join(project, 'node_modules')
  let bytes = 0
  let packages = 0
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    // Of npm's own.
    if (path.startsWith('.')) continue
    const found = statSync(join(folder, path))
    if (found.isFile()) bytes += found.size
    else if (/(^|node_modules\/)(@[^/]+\/)?[^@./][^/]*$/.test(path) && existsSync(join(folder, path, 'package.json')))
      packages++
  }
  return { name, bytes, packages }
}
