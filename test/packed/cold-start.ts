/**
 * How long the packed packages take from the start of a process to a first answer (vit-cifar10, a JPEG), beyond what the
 * runtime itself takes to start: medians of runs that alternate. `npx tsx test/packed/cold-start.ts [rounds]`, on what is built.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { install, pack, REPOSITORY, withDependencies } from './pack.js'
import { PROCESS_RUNTIMES, run } from './processes.js'
import { isThere, type Runtime } from './runtimes.js'
import { startWorkerd, type WorkerOptions } from './workerd.js'

const rounds = Number(process.argv[2] ?? 9)
const model = join(REPOSITORY, 'models/vit-cifar10')
const image = join(REPOSITORY, 'test/fixtures/images/baseline-420.jpg')

const FIRST = `import { pipeline } from 'prismal'
const classify = await pipeline('image-classification', ${JSON.stringify(model)})
await classify(${JSON.stringify(image)})
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
const EMPTY_WORKER = `export default { fetch: () => new Response('') }`

const packed = pack()
const project = install(packed, withDependencies('prismal'))
writeFileSync(join(project, 'empty.js'), '')
writeFileSync(join(project, 'first.js'), FIRST)

/** Milliseconds of one run. */
type Timed = () => Promise<number>
const script = (runtime: (typeof PROCESS_RUNTIMES)[number], name: string): Timed => {
  return async () => {
    const { code, stderr, milliseconds } = await run(runtime, [name], { cwd: project })
    if (code !== 0) throw new Error(`${runtime}: ${stderr}`)
    return milliseconds
  }
}
const worker = (options: Omit<WorkerOptions, 'project'>): Timed => {
  return async () => {
    const running = await startWorkerd({ project, ...options })
    const response = await fetch(running.url)
    await response.arrayBuffer()
    const milliseconds = performance.now() - running.startedAt
    await running.stop()
    if (!response.ok) throw new Error(running.output())
    return milliseconds
  }
}
const data = {
  'config.bin': join(model, 'config.json'),
  'preprocessor.bin': join(model, 'preprocessor_config.json'),
  'weights.bin': join(model, 'model.safetensors'),
  'image.bin': image,
}

const subjects: { runtime: Runtime; empty: Timed; first: Timed }[] = [
  ...PROCESS_RUNTIMES.map(runtime => ({
    runtime,
    empty: script(runtime, 'empty.js'),
    first: script(runtime, 'first.js'),
  })),
  { runtime: 'workerd' as const, empty: worker({ script: EMPTY_WORKER }), first: worker({ script: WORKER, data }) },
].filter(({ runtime }) => isThere(runtime))

const times = new Map(subjects.map(({ runtime }) => [runtime, { empty: [] as number[], first: [] as number[] }]))
for (let round = 0; round <= rounds; round++)
  for (const { runtime, empty, first } of subjects) {
    const [a, b] = [await empty(), await first()]
    // The first round finds the files not yet in memory.
    if (round === 0) continue
    times.get(runtime)?.empty.push(a)
    times.get(runtime)?.first.push(b)
  }
packed.remove()

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] as number
const medians = [...times].map(([runtime, { empty, first }]) => ({
  runtime,
  startMs: Math.round(median(empty)),
  firstAnswerMs: Math.round(median(first)),
  moreMs: Math.round(median(first.map((ms, i) => ms - (empty[i] as number)))),
}))
console.table(medians)
const folder = fileURLToPath(new URL('build/', import.meta.url))
mkdirSync(folder, { recursive: true })
writeFileSync(join(folder, 'cold-start.json'), `${JSON.stringify({ rounds, medians }, null, 2)}\n`)
