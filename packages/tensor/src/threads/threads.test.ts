/** Kernels and engines on real threads: the same bits at every number, and what happens when a thread fails. */
import { spawnSync } from 'node:child_process'
import { setEnvironmentData } from 'node:worker_threads'
import { catalogue, KERNEL_NAMES, type Kernel } from '@prismal/kernels/catalogue'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { attentionBegin, attentionEnd, attentionFold } from '../attention.js'
import { anyCase, buffersOf, call, layOut } from '../backends/kernel-cases.js'
import { plainModule, run, type Subject, sharedModule, threadScript, wasmBuilds } from '../backends/test-subjects.js'
import { wasmKernels } from '../backends/wasm.js'
import { type Engine, type EngineInternals, type EngineOptions, makeEngine } from '../engine.js'
import { OperandError, type PrismalError, ThreadError, UnavailableError } from '../errors.js'
import { WasmMemory } from '../memory.js'
import { layerNorm, linear, pack } from '../operations.js'
import { GRAIN } from './split.js'
import { startTeam, type Team } from './team.js'

const RUNS = Number(process.env.PRISMAL_RUNS ?? (process.env.CI ? 300 : 50))
const FINE = { inlineNs: 0, leastNs: 1e-3, mostNs: GRAIN.mostNs, lineBytes: 1 }
const failingScript = new URL('./testing/failing-thread.mjs', import.meta.url)

describe.each(wasmBuilds.flatMap(({ build }) => [2, 3].map(threads => ({ build, threads }))))(
  'kernels: $build on $threads threads',
  ({ build, threads }) => {
    let team: Team
    let subject: Subject
    const alone = wasmBuilds.find(other => other.build === build) as Subject
    beforeAll(async () => {
      const module = sharedModule(build)
      const memory = new WasmMemory(true)
      memory.ensure(alone.memory.buffer.byteLength)
      const kernels = await wasmKernels(module, memory.wasm)
      team = await startTeam({ module, memory, kernels, threads, script: threadScript, grain: FINE })
      subject = { build, kernels: team.kernels, memory }
    })
    afterAll(() => team.end())

    it.each(KERNEL_NAMES)('%s: the bits of one thread', name => {
      const kernel: Kernel = catalogue[name]
      fc.assert(
        fc.property(anyCase(kernel), one => {
          const layout = layOut(kernel, one, threads)
          const want = run(alone, layout.bytes, kernels => call(kernels, name, one, layout.addresses))
          const got = run(subject, layout.bytes, kernels => call(kernels, name, one, layout.addresses))
          expect(got.returned).toBe(want.returned)
          for (const p of buffersOf(kernel)) {
            if (p.use !== 'scratch') continue
            const at = layout.addresses[p.name] as number
            for (const { after } of [got, want]) after.fill(0, at, at + threads * 4 * p.length(one.sizes))
          }
          expect(Buffer.compare(got.after, want.after)).toBe(0)
        }),
        { numRuns: RUNS },
      )
    })

    it('reports the first of several rows that cannot be converted, whoever finds it', () => {
      const [rows, width] = [96, 8]
      fc.assert(
        fc.property(fc.uniqueArray(fc.nat(rows - 1), { maxLength: 12 }), bad => {
          const x = new Float32Array(subject.memory.buffer, 64, rows * width).fill(1)
          for (const row of bad) x[row * width + (row % width)] = row % 2 ? Number.NaN : 1e6
          const first = bad.length > 0 ? Math.min(...bad) : -1
          const element = bad.length > 0 ? first * width + (first % width) : -1
          expect(subject.kernels.f32ToF16(64, 8192, rows * width)).toBe(element + 1)
          for (const row of bad) x[row * width + (row % width)] = Number.NaN
          expect(subject.kernels.quantiseRows(64, 8192, 16384, rows, width)).toBe(first + 1)
        }),
        { numRuns: RUNS },
      )
    })

    it('sees memory that has grown since the threads started', () => {
      const elements = 4096
      for (let turn = 0; turn < 40; turn++) {
        const at = team.memory.bytes
        team.memory.ensure(at + 3 * 4 * elements)
        // Fills of memory check its size; each part gets a piece of what was added.
        team.kernels.attentionBegin(at, at + 8 * 64, 64, 1, 128)
        const state = new Float32Array(team.memory.buffer, at, 128)
        expect(state.every((x, i) => x === (i % 2 === 0 ? Math.fround(-3.4028234663852886e38) : 0))).toBe(true)
      }
    })
  },
)

const kernelsOf = () => undefined
const make = async (options: EngineOptions, internals: Partial<EngineInternals> = {}): Promise<Engine> => {
  const { build } = wasmBuilds.at(-1) as Subject
  const module = sharedModule(build)
  return makeEngine(
    { module, threadScript, backend: build as 'simd', ...options },
    { kernelsOf, cores: 4, ...internals },
  )
}
const failure = (making: Promise<Engine>): Promise<PrismalError> =>
  making.then(
    engine => {
      engine.dispose()
      throw new Error('an engine was made')
    },
    error => error,
  )

/** LayerNorm, a product, attention of 3 heads × 32, a product with residual: each large enough to be cut. */
function chain(engine: Engine): Float32Array {
  const [rows, width] = [61, 96]
  const wave = (length: number, step: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * step))
  const scope = engine.scope()
  const matrix = (k: number, n: number, step: number) =>
    pack(scope, scope.tensor(wave(k * n, step), [k, n]), 'in,out', scope.tensor(wave(n, 0.3), [n]))
  let x = scope.tensor(wave(rows * width, 0.71), [rows, width])
  for (let layer = 0; layer < 3; layer++) {
    const normed = layerNorm(x, scope.tensor(wave(width, 0.9), [width]), scope.tensor(wave(width, 0.2), [width]), 1e-6)
    const q = linear(normed, matrix(width, width, 0.13 + layer))
    const keyValue = linear(normed, matrix(width, 2 * width, 0.17 + layer))
    const state = attentionBegin(q, 3, 0.17)
    const visible = Int32Array.from({ length: rows }, (_, i) => i + 1)
    attentionFold(state, { k: keyValue.slab(0, width), v: keyValue.slab(width, 2 * width), visible })
    const up = linear(attentionEnd(state), matrix(width, 4 * width, 0.19 + layer), { activation: 'gelu' })
    x = linear(up, matrix(4 * width, width, 0.23 + layer), { residual: x, out: x })
  }
  const values = x.floats()
  scope.dispose()
  return values
}
const bits = (values: Float32Array): string => Buffer.from(values.buffer).toString('hex')

describe('an engine of several threads', () => {
  it('computes the bits of one thread', async () => {
    const one = await make({ threads: 1 })
    const want = chain(one)
    expect(want.every(Number.isFinite)).toBe(true)
    for (const threads of [2, 3, 4])
      for (const grain of [GRAIN, FINE]) {
        const engine = await make({ threads }, { grain })
        expect(engine.capabilities().threads).toBe(threads)
        for (let turn = 0; turn < 5; turn++) expect(bits(chain(engine))).toBe(bits(want))
        expect(engine.numericsClass()).toBe(one.numericsClass())
        expect(engine.arena.usedBytes).toBe(0)
        engine.dispose()
      }
    one.dispose()
  })

  it('says what it has and why not more', async () => {
    const told = async (options: EngineOptions, internals: Partial<EngineInternals> = {}) => {
      const engine = await make(options, internals)
      const { threads, reasons } = engine.capabilities()
      engine.dispose()
      return [threads, reasons.filter(reason => reason.startsWith('threads'))]
    }
    expect(await told({})).toEqual([1, ['threads: one, the default; this machine has 4 cores']])
    expect(await told({ threads: 1 })).toEqual([1, ['threads: one was asked for']])
    expect(await told({ threads: 2 })).toEqual([2, ['threads: 2 were asked for; this machine has 4 cores']])
    expect(await told({ threads: 'auto' }, { cores: 3 })).toEqual([3, []])
    expect(await told({ threads: 'auto' }, { cores: 1 })).toEqual([1, ['threads: one, as this machine has one core']])
  })

  it.each([
    [0, "createEngine: threads is 0, not 'auto' or a whole number from 1 on"],
    [-1, "createEngine: threads is -1, not 'auto' or a whole number from 1 on"],
    [1.5, "createEngine: threads is 1.5, not 'auto' or a whole number from 1 on"],
    ['two', `createEngine: threads is "two", not 'auto' or a whole number from 1 on`],
    [9, 'createEngine: threads is 9; this machine has 4 cores'],
  ])('refuses %s threads', async (threads, message) => {
    expect(await failure(make({ threads: threads as number }))).toEqual(new OperandError(message))
  })

  const one = 'threads: one, as '
  it('has one where the reference backend was asked for', async () => {
    const backend = 'reference'
    const lack = 'the reference backend computes on one thread'
    const error = await failure(makeEngine({ backend, threads: 2 }, { kernelsOf, cores: 4 }))
    expect(error).toEqual(new UnavailableError(`threads: 2 were asked for, but ${lack}`))
    const engine = await makeEngine({ backend, threads: 'auto' }, { kernelsOf, cores: 4 })
    expect(engine.capabilities()).toMatchObject({ threads: 1, reasons: [expect.any(String), one + lack] })
    engine.dispose()
  })

  it.each([
    ['crossOriginIsolated', false, 'memory cannot be shared: this page is not cross-origin isolated'],
    ['SharedArrayBuffer', undefined, 'this runtime has no SharedArrayBuffer'],
  ])('has one where a page or runtime is without threads: %s', async (name, value, lack) => {
    const before = Object.getOwnPropertyDescriptor(globalThis, name)
    Object.defineProperty(globalThis, name, { value, configurable: true })
    try {
      const error = await failure(makeEngine({ threads: 2 }, { kernelsOf, cores: 4 }))
      expect(error).toEqual(new UnavailableError(`threads: 2 were asked for, but ${lack}`))
      const module = plainModule('simd')
      const engine = await makeEngine({ threads: 'auto', module, backend: 'simd' }, { kernelsOf, cores: 4 })
      expect(engine.capabilities().reasons).toContain(one + lack)
      expect(chain(engine).every(Number.isFinite)).toBe(true)
      engine.dispose()
    } finally {
      if (before) Object.defineProperty(globalThis, name, before)
      else delete (globalThis as Record<string, unknown>)[name]
    }
  })

  it('needs a module for shared memory, and says so', async () => {
    const { build } = wasmBuilds.at(-1) as Subject
    const module = plainModule(build)
    const message = `threads: 2 need a module built for shared memory (prismal-${build}-threads.wasm), which the one given is not`
    const error = await failure(make({ threads: 2, module }))
    expect([error.code, error.message]).toEqual(['unavailable', message])
    const engine = await make({ threads: 'auto', module }, { cores: 2 })
    expect([engine.capabilities().threads, engine.capabilities().reasons.at(-1)]).toEqual([1, message])
    expect(chain(engine).every(Number.isFinite)).toBe(true)
    engine.dispose()
  })

  it('needs the script of a helper, and says so', async () => {
    const missing = new URL('./missing.js', threadScript)
    const error = await failure(make({ threads: 2, threadScript: missing }))
    expect(error.code).toBe('unavailable')
    expect(error.message).toMatch(/^threads: a helper thread could not be started: .*missing\.js/)
    const engine = await make({ threads: 'auto', threadScript: missing })
    expect([engine.capabilities().threads, engine.capabilities().reasons.at(-1)]).toEqual([1, error.message])
    expect(chain(engine).every(Number.isFinite)).toBe(true)
    engine.dispose()
  })

  it('ends its threads with dispose()', async () => {
    const engine = await make({ threads: 3 })
    const threads = engine.team?.helperThreads ?? []
    expect(threads).toHaveLength(2)
    const ended = Promise.all(threads.map(thread => thread.ended))
    chain(engine)
    engine.dispose()
    expect(await ended).toHaveLength(2)
  })

  it('does not keep a process alive that forgets it', () => {
    const program = `
      import { createEngine } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)}
      const engine = await createEngine({ threads: 'auto' })
      console.log(JSON.stringify(engine.capabilities().threads))`
    const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      timeout: 50_000,
    })
    expect([Number(stdout) >= 1, status]).toEqual([true, 0])
  })
})

describe('a helper that fails', () => {
  afterEach(() => setEnvironmentData('failing-thread', undefined))
  const untilItThrows = (engine: Engine): unknown => {
    for (let turn = 0; turn < 10_000; turn++)
      try {
        chain(engine)
      } catch (error) {
        return error
      }
    return undefined
  }

  it.each(['dies', 'hangs'])('%s with a part in its hands: a clear error, then a working engine again', async how => {
    const one = await make({ threads: 1 })
    const want = bits(chain(one))
    setEnvironmentData('failing-thread', how)
    const engine = await make({ threads: 3, threadScript: failingScript }, { grain: FINE, partTimeoutMs: 400 })
    setEnvironmentData('failing-thread', undefined)
    const error = untilItThrows(engine)
    expect(error).toBeInstanceOf(ThreadError)
    expect(error).toMatchObject({ code: 'thread-failed', name: 'ThreadError' })
    expect((error as Error).message).toMatch(/^threads: a helper did not finish its part of \w+ within 400 ms/)
    // At once with one thread, …
    expect(engine.capabilities()).toMatchObject({ threads: 1 })
    expect(engine.capabilities().reasons.at(-1)).toMatch(
      /^threads: a helper thread is being replaced: it did not finish/,
    )
    expect(bits(chain(engine))).toBe(want)
    // … then with all again.
    await engine.team?.settled()
    expect(engine.capabilities()).toMatchObject({ threads: 3 })
    expect(engine.capabilities().reasons.join()).not.toContain('replaced')
    expect(bits(chain(engine))).toBe(want)
    for (const e of [one, engine]) e.dispose()
  })

  it('ends while idle: nobody waits for it, and it is replaced', async () => {
    const engine = await make({ threads: 2 }, { grain: FINE })
    const want = bits(chain(engine))
    const [thread] = engine.team?.helperThreads ?? []
    const ended = thread?.ended
    thread?.terminate()
    expect(bits(chain(engine))).toBe(want)
    await ended
    expect(engine.capabilities().threads).toBe(1)
    expect(engine.capabilities().reasons.at(-1)).toMatch(/^threads: a helper thread is being replaced: it exited with/)
    expect(bits(chain(engine))).toBe(want)
    await engine.team?.settled()
    expect(engine.capabilities().threads).toBe(2)
    expect(bits(chain(engine))).toBe(want)
    engine.dispose()
  })

  it('traps: the call throws what happened, and the next one works', async () => {
    const engine = await make({ threads: 2 }, { grain: FINE })
    const want = bits(chain(engine))
    const beyond = engine.memory.bytes - 64
    for (let turn = 0; turn < 20; turn++) {
      expect(() => engine.kernels.relu(beyond, beyond, 4096)).toThrow(
        new ThreadError('threads: a part of relu failed: memory access out of bounds'),
      )
      expect(bits(chain(engine))).toBe(want)
    }
    expect(engine.capabilities().threads).toBe(2)
    engine.dispose()
  })
})
