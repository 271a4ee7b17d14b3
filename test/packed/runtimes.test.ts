/** The packed packages in Node, Deno, Bun and workerd: goldens, roles in a cluster, and a first answer from an empty folder. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sharedFolder } from '../shared-folder.js'
import { disagreements } from './bits.js'
import type { Checked, CheckResult } from './check.js'
import { expectFirstAnswer, FIRST_ANSWER_S } from './first-answer.js'
import { foundBy, versionOf } from './found.js'
import { install, type Packed, pack, REPOSITORY, withDependencies } from './pack.js'
import { copyScripts, PROCESS_RUNTIMES, type ProcessRuntime, run, runForJson, start } from './processes.js'
import { type Found, record, recorded } from './results.js'
import { isThere, type Runtime } from './runtimes.js'
import { type Served, serveFolders } from './serve-folders.js'
import { startWorkerd, type WorkerOptions } from './workerd.js'
import { tells } from './write-table.js'

const REFERENCES = ['vit-square', 'vit-odd', 'bert-classify', 'bert-fill-mask', 'bert-old-names', 'gpt2', 'gpt2-odd']
const OWN = ['vit-cifar10', 'gpt2-chronicle']
const reference = sharedFolder('reference')
const models = join(REPOSITORY, 'models')
const folders = [...(reference ? REFERENCES.map(name => join(reference, name)) : []), ...OWN.map(n => join(models, n))]
const vit = join(models, 'vit-cifar10')
const image = (name: string): string => join(REPOSITORY, 'test/fixtures/images', name)
const [jpeg, png] = [image('baseline-420.jpg'), image('rgb-8.png')]

type Labels = readonly { readonly label: string; readonly score: number }[]
interface Answer {
  readonly output: Labels
  readonly report: { readonly strategy: string; readonly devices: readonly unknown[] }
}

/** The command, as npm links it. */
const COMMAND = 'node_modules/prismal/bin/prismal.js'
/** What it says of several pictures. */
interface Classified extends Pick<Answer, 'report'> {
  readonly output: readonly Labels[]
}
const SHARED = ['--devices', '2', '--strategy', 'full', '--topk', '5', '--json'] as const
/** Of what its doctor says. */
interface Told {
  readonly runtime: { readonly runtime: string }
  readonly engine: { readonly build: string; readonly fused: boolean }
}

let packed: Packed
let project: string
let installSeconds: number
let served: Served
let device: ChildProcess
let address: string
const everywhere: (Checked & { runtime: Runtime })[] = []
const labels: string[] = []

beforeAll(async () => {
  packed = pack()
  const started = performance.now()
  project = install(packed, [...withDependencies('prismal'), '@prismal/vit-cifar10'])
  installSeconds = (performance.now() - started) / 1000
  copyScripts(project, 'check', 'scripts/check-folders', 'scripts/host', 'scripts/ask', 'scripts/ask-in-workerd')
  writeFileSync(join(project, 'classify.js'), CLASSIFY)
  served = await serveFolders({ ...(reference && { reference }), models })
  ;({ device, address } = await startDevice('Node 24'))
})
afterAll(async () => {
  await served?.close()
  if (device) await endDevice(device)
  packed?.remove()
})

/** Six lines: the first thing that anybody writes. */
const CLASSIFY = `import { pipeline } from 'prismal'
const classify = await pipeline('image-classification')
const images = await classify(process.argv.slice(2), { topk: 1 })
const { backend } = classify.capabilities()
console.log(JSON.stringify({ backend, labels: images.map(([best]) => best.label) }))
await classify.dispose()
`

async function startDevice(runtime: ProcessRuntime): Promise<{ device: ChildProcess; address: string }> {
  const device = start(runtime, ['scripts/host.js', vit], { cwd: project })
  let errors = ''
  device.stderr?.on('data', piece => {
    errors += piece
  })
  const line = once(device.stdout as NodeJS.ReadableStream, 'data').then(([piece]) => String(piece))
  const end = once(device, 'exit').then(([code]) => {
    throw new Error(`the device ended with ${code}: ${errors}`)
  })
  const [address] = JSON.parse(await Promise.race([line, end])) as string[]
  end.catch(() => {})
  return { device, address: address as string }
}
async function endDevice(device: ChildProcess): Promise<void> {
  const ended = once(device, 'exit')
  device.stdin?.end()
  await ended
}

function expectGoldens(runtime: Runtime, { results }: CheckResult): void {
  everywhere.push(...results.map(result => ({ ...result, runtime })))
  expect(results.filter(r => r.failure !== undefined)).toEqual([])
  expect(new Set(results.map(r => r.model)).size).toBe(folders.length)
}

/** Every runtime gives the same labels. */
function expectSame(label: string): void {
  labels.push(label)
  expect(new Set(labels).size).toBe(1)
}

function expectShared({ output, report }: Answer): Found {
  expect(output).toHaveLength(5)
  expect(report.strategy).toBe('full')
  expect(report.devices.length).toBeGreaterThanOrEqual(2)
  return { works: true }
}

describe.each(PROCESS_RUNTIMES)('%s', runtime => {
  if (!isThere(runtime)) return
  const found = { runtime, version: versionOf(runtime) }
  let checked: CheckResult
  let images: Found
  let coordinator: Found
  let worker: Found

  it('gives the golden results, alone, on threads and shared', async () => {
    checked = await runForJson<CheckResult>(runtime, ['scripts/check-folders.js', ...folders], { cwd: project })
    expectGoldens(runtime, checked)
  })

  it(`classifies an image by six lines within ${FIRST_ANSWER_S} s from an empty folder on`, async () => {
    const { code, stdout, stderr, milliseconds } = await run(runtime, ['classify.js', jpeg, png], { cwd: project })
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
    const { backend, labels } = JSON.parse(stdout) as { backend: string; labels: string[] }
    expect(backend).toBe('wasm')
    expect(labels).toHaveLength(2)
    expectSame(labels.join())
    expectFirstAnswer(runtime, installSeconds, milliseconds / 1000)
    images = { works: true, note: 'JPEG, PNG' }
  })

  it('has the command, which tells what is fast and shares an inference', async () => {
    const told = await runForJson<Told>(runtime, [COMMAND, 'doctor', '--json'], { cwd: project })
    expect(told.runtime.runtime).toContain(found.version)
    const { works, note } = foundBy(checked).relaxedSimd
    expect(told.engine).toMatchObject({ build: works ? 'relaxed-simd' : 'simd', fused: works && note === undefined })
    const shared = [COMMAND, 'run', 'image-classification', jpeg, png, ...SHARED] as const
    const { output, report } = await runForJson<Classified>(runtime, shared, { cwd: project })
    expectSame(output.map(([best]) => best?.label).join())
    expectShared({ output: output[0] ?? [], report })
  })

  it('asks a device in another process', async () => {
    const command = ['scripts/ask.js', vit, jpeg, address] as const
    coordinator = expectShared(await runForJson<Answer>(runtime, command, { cwd: project }))
  })

  it('is asked by a coordinator in another process, and ends when told', async () => {
    const { device, address } = await startDevice(runtime)
    const command = ['scripts/ask.js', vit, jpeg, address] as const
    worker = expectShared(await runForJson<Answer>('Node 24', command, { cwd: project }))
    await endDevice(device)
    expect(device.exitCode).toBe(0)
  })

  afterAll(() => {
    if (checked && images && coordinator && worker)
      record({ ...found, ...foundBy(checked), images, coordinator, worker })
  })
})

describe('workerd', () => {
  if (!isThere('workerd')) return
  let checked: CheckResult
  let shared: Found

  const data = {
    'config.bin': join(vit, 'config.json'),
    'preprocessor.bin': join(vit, 'preprocessor_config.json'),
    'weights.bin': join(vit, 'model.safetensors'),
  }
  const CHECK = `
    import { urlFiles } from '@prismal/models'
    import { check } from './check.js'
    const answer = async request => Response.json(await check({ ...(await request.json()), open: urlFiles }))
    export default { fetch: request => answer(request).catch(error => new Response(error.stack, { status: 500 })) }`
  const ASK = `export { default } from './scripts/ask-in-workerd.js'`
  async function ask<T>(options: Omit<WorkerOptions, 'project'>, ...requests: readonly [string, BodyInit][]) {
    const worker = await startWorkerd({ project, ...options })
    try {
      const answers: T[] = []
      for (const [query, body] of requests) {
        const response = await fetch(worker.url + query, { method: 'POST', body })
        const text = await response.text()
        if (!response.ok) throw new Error(`${query || 'alone'}: ${text}\n${worker.output()}`)
        answers.push(JSON.parse(text) as T)
      }
      return { answers, bundle: worker.bundle }
    } finally {
      await worker.stop()
    }
  }

  it.each([true, false])('gives the golden results, alone and shared; Node’s modules: %s', async nodeCompat => {
    const below = (name: string): string => `${served.origin}/${OWN.includes(name) ? 'models' : 'reference'}/${name}`
    const locations = [...(reference ? REFERENCES : []), ...OWN].map(below)
    const { answers } = await ask<CheckResult>({ script: CHECK, nodeCompat }, ['', JSON.stringify({ locations })])
    ;[checked] = answers as [CheckResult]
    expectGoldens('workerd', checked)
  })

  it.each([true, false])('classifies images, alone and with another device; Node’s modules: %s', async nodeCompat => {
    const started = performance.now()
    const device = `?device=${encodeURIComponent(address)}`
    const { answers, bundle } = await ask<Answer>(
      { script: ASK, data, nodeCompat },
      ['', readFileSync(jpeg)],
      ['', readFileSync(png)],
      [device, readFileSync(jpeg)],
    )
    const [first, second, together] = answers as [Answer, Answer, Answer]
    const both = [first, second].map(({ output: [best] }) => best?.label).join()
    expectSame(both)
    expectFirstAnswer('workerd', installSeconds, (performance.now() - started) / 1000)
    console.log(`workerd: the bundle has ${bundle.bytes} bytes`)
    shared = expectShared(together)
  })

  it.each([true, false])('keeps what waits while garbage is collected; Node’s modules: %s', async nodeCompat => {
    const COLLECT = `
      import worker from './scripts/ask-in-workerd.js'
      export default {
        async fetch(request) {
          const timer = setInterval(gc, 1)
          return worker.fetch(request).finally(() => clearInterval(timer))
        },
      }`
    const options = { script: COLLECT, data, nodeCompat, v8Flags: ['--expose-gc'] }
    const { answers } = await ask<Answer>(options, [`?device=${encodeURIComponent(address)}`, readFileSync(jpeg)])
    expectShared(answers[0] as Answer)
  })

  afterAll(() => {
    if (checked && shared)
      record({
        ...{ runtime: 'workerd', version: versionOf('workerd'), ...foundBy(checked) },
        ...{ coordinator: shared, worker: { works: false, note: 'it listens for requests only' } },
        images: { works: true, note: 'JPEG, PNG' },
      })
  })
})

describe('all of them', () => {
  it('are told of in README.md as they were seen (npx tsx test/packed/write-table.ts)', () => {
    const readme = readFileSync(join(REPOSITORY, 'README.md'), 'utf8')
    const seen = new Set<string>(everywhere.map(r => r.runtime))
    const untold = recorded().filter(found => seen.has(found.runtime) && !tells(readme, found))
    expect(untold).toEqual([])
  })

  it('agree to the bit within a numerics class', () => {
    const seen = new Set(everywhere.map(r => r.runtime))
    expect(seen.size).toBe([...PROCESS_RUNTIMES, 'workerd' as const].filter(isThere).length)
    expect(disagreements(everywhere)).toEqual([])
  })
})
