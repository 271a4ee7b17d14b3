/** Where something is missing, refused or of another version: a clear error or a stated fallback; and memory that comes back. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { install, type Packed, pack, REPOSITORY, run, withDependencies } from './pack.js'
import {
  COMMANDS,
  copyScripts,
  PROCESS_RUNTIMES,
  type ProcessRuntime,
  type RunOptions,
  runForJson,
} from './processes.js'
import { isThere, RUNTIMES } from './runtimes.js'
import type { Attempt } from './scripts/attempts.js'
import { startWorkerd } from './workerd.js'

const vit = join(REPOSITORY, 'models/vit-cifar10')
let packed: Packed
let project: string
/** Kernels that say they are of another version. */
let other: string

beforeAll(() => {
  packed = pack()
  project = install(packed, withDependencies('prismal'))
  copyScripts(project, 'scripts/attempts', 'scripts/dispose-rounds')
  const kernels = readFileSync(join(project, 'node_modules/@prismal/tensor/dist/prismal-simd.wasm'))
  other = join(project, 'other.wasm')
  writeFileSync(other, kernels.fill('0', kernels.length - 8))
})
afterAll(() => packed?.remove())

type Outcomes = Readonly<Record<string, unknown>>
interface Circumstances {
  readonly hidden?: string
  readonly flags?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}
function attempt(
  runtime: ProcessRuntime,
  names: readonly Attempt[],
  { hidden = '', flags = [], env = {} }: Circumstances = {},
): Promise<Outcomes> {
  const options: RunOptions = { cwd: project, flags: [...COMMANDS[runtime], ...flags], env }
  return runForJson(runtime, ['scripts/attempts.js', vit, other, hidden, ...names], options)
}

/** What V8 is told; Deno passes it on, JavaScriptCore has its own. */
const v8 = (runtime: ProcessRuntime, flag: string): readonly string[] =>
  runtime === 'Deno' ? [`--v8-flags=${flag}`] : [flag]
const isNode = (runtime: ProcessRuntime): boolean => runtime.startsWith('Node')

const failed = (name: string, code: string, message: RegExp) => ({
  name,
  code,
  message: expect.stringMatching(message),
})
const fallback = (reason: RegExp) => expect.arrayContaining([expect.stringMatching(reason)])
const unavailable = (message: RegExp) => failed('UnavailableError', 'unavailable', message)

describe.each(PROCESS_RUNTIMES)('%s', runtime => {
  if (!isThere(runtime)) return

  it('tells of scripts and kernels that are missing or of another version, and of too little memory', async () => {
    const noScript = /^threads: a helper thread could not be started: .*no-such-thread/
    expect(
      await attempt(runtime, [
        ...(['limited', 'noWorkerScript', 'noDeviceScript', 'noScript', 'autoNoScript'] as const),
        ...(['otherVersion', 'noFile'] as const),
      ]),
    ).toEqual({
      limited: failed(
        'MemoryError',
        'out-of-memory',
        /loading it as f32 needs \d+ bytes, \d+ more than the memory limit/,
      ),
      noWorkerScript: failed('WorkerError', 'worker-failed', /no-such-thread/),
      noDeviceScript: failed('DeviceError', 'device-failed', /^thread could not join: .*no-such-thread/),
      noScript: unavailable(noScript),
      autoNoScript: expect.objectContaining({ threads: 1, reasons: fallback(noScript) }),
      otherVersion: unavailable(/it is of another version \(kernels 00000000\) than this script \([0-9a-f]{8}\)/),
      noFile: unavailable(/kernels could not be loaded from .*other\.wasm\.missing: /),
    })
  })

  it('says that memory cannot be shared without SharedArrayBuffer', async () => {
    expect(await attempt(runtime, ['two', 'auto'], { hidden: 'SharedArrayBuffer' })).toEqual({
      two: unavailable(/^threads: 2 were asked for, but this runtime has no SharedArrayBuffer$/),
      auto: expect.objectContaining({ threads: 1, reasons: fallback(/one, as this runtime has no SharedArrayBuffer/) }),
    })
  })

  it('answers by the reference backend where the processor has no SIMD, and says so', async () => {
    const without: Circumstances =
      runtime === 'Bun' ? { env: { BUN_JSC_useWasmSIMD: '0' } } : { flags: v8(runtime, '--no-enable-sse4-1') }
    const { one } = await attempt(runtime, ['one'], without)
    expect(one).toEqual({
      ...{ label: expect.any(String), build: 'reference', worker: false },
      reasons: fallback(/WebAssembly without SIMD, so the slow reference backend runs/),
    })
  })

  it('has the reference backend without WebAssembly, and says so', async () => {
    // Deno does not start without a compiler.
    const without: Circumstances = isNode(runtime) ? { flags: ['--jitless'] } : { hidden: 'WebAssembly' }
    expect(await attempt(runtime, ['two', 'auto'], without)).toEqual({
      two: unavailable(/the reference backend computes on one thread/),
      auto: expect.objectContaining({ build: 'reference', reasons: fallback(/this runtime has no WebAssembly/) }),
    })
  })

  if (runtime === 'Bun') console.log('skipped: memory that cannot grow in Bun, which cannot be told to have less of it')
  it.skipIf(runtime === 'Bun')('tells by how much memory could not grow', async () => {
    const { one } = await attempt(runtime, ['one'], { flags: v8(runtime, '--wasm-max-mem-pages=100') })
    expect(one).toEqual(failed('MemoryError', 'out-of-memory', /this runtime refused to grow from \d+ to \d+ bytes/))
  })

  if (!isNode(runtime)) console.log(`skipped: a worker without permission in ${runtime}, which asks none for workers`)
  it.skipIf(!isNode(runtime))('says which permission a worker lacks', async () => {
    const permission = runtime === 'Node 20' ? '--experimental-permission' : '--permission'
    const flags = [permission, '--allow-fs-read=/']
    const denied = /could not be started: Access to this API has been restricted/
    expect(await attempt(runtime, ['two', 'auto', 'worker'], { flags })).toEqual({
      two: unavailable(denied),
      auto: expect.objectContaining({ threads: 1, reasons: fallback(denied) }),
      worker: expect.objectContaining({ worker: false, reasons: fallback(denied) }),
    })
  })
})

describe.skipIf(!isThere('Deno'))('Deno that may only read', () => {
  const command = (...args: readonly string[]): string => {
    const flags = ['run', '--allow-read', '--no-prompt', '--node-modules-dir=manual', '--no-lock', '--cached-only']
    return run(RUNTIMES.Deno, [...flags, 'node_modules/prismal/bin/prismal.js', ...args], project)
  }

  it('runs tasks, on threads too, and examines itself', () => {
    const picture = join(REPOSITORY, 'examples/images/cat.png')
    expect(command('run', 'image-classification', picture, '--model', vit)).toMatch(/^cat /)
    expect(command('run', 'image-classification', picture, '--model', vit, '--threads', '2')).toMatch(/^cat /)
    expect(command('doctor')).toMatch(/^machine {6}unknown processor, \d+ cores?\nruntime {6}Deno /)
  })
})

describe('workerd', () => {
  if (!isThere('workerd')) return

  it.each([true, false])('says what it does not do, and what to do instead; Node’s modules: %s', async nodeCompat => {
    const script = `
      import other from './other.wasm'
      import bytes from 'kernels.bin'
      import { createEngine } from '@prismal/tensor'
      const attempt = options => createEngine(options).then(
        engine => ({ threads: engine.capabilities().threads, reasons: engine.capabilities().reasons }),
        ({ name, code, message }) => ({ name, code, message }))
      const attempts = { bytes: { module: bytes }, other: { module: other }, two: { threads: 2 }, auto: { threads: 'auto' } }
      async function answer() {
        const results = {}
        for (const [name, options] of Object.entries(attempts)) results[name] = await attempt(options)
        return Response.json(results)
      }
      export default { fetch: answer }`
    const data = { 'kernels.bin': join(project, 'node_modules/@prismal/tensor/dist/prismal-simd.wasm') }
    const worker = await startWorkerd({ project, script, data, nodeCompat })
    try {
      expect(await (await fetch(worker.url)).json()).toEqual({
        bytes: unavailable(/from the bytes given: .*code generation disallowed.*in workerd: a static import/),
        other: unavailable(/it is of another version/),
        two: expect.objectContaining({ message: expect.stringMatching(/^createEngine: threads is 2; /) }),
        auto: { threads: 1, reasons: fallback(/this runtime has no workers/) },
      })
    } finally {
      await worker.stop()
    }
  })
})

describe('50 times loaded and disposed', () => {
  const [ROUNDS, MOST] = [50, 1.05]
  const GC: { readonly [R in ProcessRuntime]?: readonly string[] } = {
    'Node 20': ['--expose-gc'],
    'Node 24': ['--expose-gc'],
    Deno: ['--v8-flags=--expose-gc'],
    Bun: [],
  }

  const ways = (Object.keys(GC) as ProcessRuntime[]).flatMap(runtime =>
    [1, 2].map(threads => [runtime, threads] as const),
  )
  it.each(ways)('a model leaves no memory behind: %s, threads: %i', async (runtime, threads) => {
    if (!isThere(runtime)) return
    // Engines go on compiling for some fifty rounds: JavaScriptCore has 80 MB after 10, 86 after 60 and after 200. With threads V8
    // takes 8 MB more at once after some hundred and twenty.
    const warmUp = threads > 1 ? 140 : 60
    const options: RunOptions = { cwd: project, flags: [...COMMANDS[runtime], ...(GC[runtime] ?? [])] }
    const command = ['scripts/dispose-rounds.js', vit, String(warmUp + ROUNDS), String(threads)] as const
    const resident = await runForJson<number[]>(runtime, command, options)
    const median = (from: number): number => resident.slice(from, from + 10).toSorted((a, b) => a - b)[5] as number
    const [before, after] = [median(warmUp), median(warmUp + ROUNDS - 10)]
    const mb = [before, after, Math.max(...resident)].map(bytes => (bytes / 1e6).toFixed(0))
    console.log(
      `${runtime}, threads: ${threads}: ${mb[0]} MB after ${warmUp} rounds, ${mb[1]} MB after ${ROUNDS} more, ${mb[2]} MB at most`,
    )
    expect(after / before).toBeLessThan(MOST)
  })
})
