import { readFileSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { catalogueDigest } from '@prismal/kernels/digest'
import {
  add,
  availableBuilds,
  availableThreads,
  createEngine,
  DisposedError,
  MemoryError,
  OperandError,
  type PrismalError,
  UnavailableError,
} from '@prismal/tensor'
import { describe, expect, it } from 'vitest'

const wasmFile = (build: string): URL => new URL(`../../../kernels-as/build/prismal-${build}.wasm`, import.meta.url)
const builds = availableBuilds()
const fastest = builds[0]!
const relaxed = builds.includes('relaxed-simd')
const lacking = (['relaxed-simd', 'simd'] as const).filter(build => !builds.includes(build))
if (lacking.length === 0) console.log('skipped: refusing a build that the runtime lacks; it lacks none')

async function failure(options: object): Promise<PrismalError> {
  return createEngine(options).then(
    () => {
      throw new Error(`an engine was made with ${JSON.stringify(options)}`)
    },
    error => error,
  )
}

describe('createEngine', () => {
  it('refuses options that there are not', async () => {
    const error = await failure({ build: 'reference' })
    expect(error).toBeInstanceOf(OperandError)
    expect(error.message).toBe(
      'createEngine: there is no option build (backend, module, memoryLimitBytes, threads, threadScript, signal)',
    )
  })

  it('says that there is no room for its memory', async () => {
    const { Memory } = WebAssembly
    WebAssembly.Memory = class {
      constructor() {
        throw new RangeError('could not allocate memory')
      }
    } as unknown as typeof Memory
    try {
      const error = await failure({ backend: 'simd' })
      expect(error).toBeInstanceOf(MemoryError)
      expect(error.message).toMatch(/no room for another engine.*ulimit -v.*could not allocate memory/)
    } finally {
      WebAssembly.Memory = Memory
    }
  })

  it('takes the fastest build by itself', async () => {
    const engine = await createEngine()
    expect(engine.build).toBe(fastest)
    engine.dispose()
  })

  it.each(builds)('makes the build that is named: %s', async backend => {
    const engine = await createEngine({ backend })
    expect(engine.capabilities()).toMatchObject({
      backend: backend === 'reference' ? 'reference' : 'wasm',
      build: backend,
      simd: { reference: 'none', simd: 'plain', 'relaxed-simd': 'relaxed' }[backend],
      threads: 1,
      memoryLimitBytes: Number.POSITIVE_INFINITY,
    })
    engine.dispose()
  })

  it('says why nothing faster runs', async () => {
    const threads = expect.stringMatching(/^threads: one, the default; this (machine has|runtime does not tell)/)
    const noRelaxed = 'simd: this runtime has no relaxed SIMD (Node has it from 22 on), so products are not fused'
    const expected = {
      reference: ['simd: the reference backend was asked for', threads],
      simd: [relaxed ? 'simd: the plain build was asked for' : noRelaxed, threads],
      'relaxed-simd': [threads],
    }
    for (const backend of builds) {
      const engine = await createEngine({ backend })
      expect(engine.capabilities().reasons).toEqual(expected[backend])
      engine.dispose()
    }
  })

  it.each(lacking)('refuses %s, which the runtime lacks, and says why', async backend => {
    const error = await failure({ backend })
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error.message).toMatch(/^simd: this runtime has /)
  })

  it.each([
    [{ backend: 'avx' }, 'createEngine: backend is "avx", not one of auto, relaxed-simd, simd, reference'],
    [{ threads: 0 }, "createEngine: threads is 0, not 'auto' or a whole number from 1 on"],
    [{ memoryLimitBytes: 0 }, 'createEngine: memoryLimitBytes is 0, not positive'],
    [{ memoryLimitBytes: Number.NaN }, 'createEngine: memoryLimitBytes is NaN, not positive'],
  ])('refuses %o', async (options, message) => {
    expect(await failure(options)).toEqual(new OperandError(message))
  })

  it.each(builds)('holds %s to the memory limit, and says by how much it would be exceeded', async backend => {
    const engine = await createEngine({ backend, memoryLimitBytes: 10_240 })
    const scope = engine.scope()
    const x = scope.empty([1024]) // 4,096 bytes
    const y = add(x, x)
    expect(() => add(x, y)).toThrow(
      new MemoryError('memory: 4096 more bytes would exceed the limit of 10240 by 2048 (8192 in use)', 2048),
    )
    expect(() => scope.tensor(new Float32Array(513), [513])).toThrow(expect.objectContaining({ missingBytes: 64 }))
    scope.tensor(new Float32Array(512), [512])
    expect(engine.capabilities().memoryLimitBytes).toBe(10_240)
    scope.dispose()
    expect([engine.arena.usedBytes, engine.arena.peakBytes]).toEqual([0, 10_240])
    engine.dispose()
  })

  it('is useless after dispose, and says so', async () => {
    const engine = await createEngine()
    const x = engine.tensor([1], [1])
    const scope = engine.scope()
    engine.dispose()
    engine.dispose()
    expect(engine.arena.usedBytes).toBe(0)
    for (const use of [() => x.data(), () => scope.empty([1]), () => engine.scope(), () => engine.tensor([1], [1])])
      expect(use).toThrow(DisposedError)
    expect(() => engine.kernels).toThrow(new DisposedError('this engine was disposed'))
  })
})

describe.runIf(fastest !== 'reference')('the module of an engine', () => {
  const bytes = new Uint8Array(readFileSync(wasmFile(fastest)))
  const works = async (module: WebAssembly.Module | ArrayBuffer | Uint8Array<ArrayBuffer> | URL | string) => {
    const engine = await createEngine({ module })
    expect([...add(engine.tensor([1, 2], [2]), engine.tensor([3, 4], [2])).data()]).toEqual([4, 6])
    engine.dispose()
  }

  it('is named as what it is', async () => {
    for (const build of builds.filter(b => b !== 'reference')) {
      const engine = await createEngine({ module: wasmFile(build) })
      expect(engine.capabilities()).toMatchObject({ build, simd: build === 'simd' ? 'plain' : 'relaxed' })
      expect(engine.numericsClass().split('/')[0]).toBe(build)
      if (build !== fastest)
        expect(engine.capabilities().reasons).toContain(`simd: the module given is the build ${build}`)
      engine.dispose()
      const other = builds.find(b => b !== build && b !== 'reference')
      if (!other) continue
      const error = await failure({ module: wasmFile(build), backend: other })
      expect([error.code, error.message]).toEqual([
        'unavailable',
        `wasm: the module given is the build ${build}; ${other} was asked for`,
      ])
    }
  })

  it('is not waited for once a signal aborts', async () => {
    const abort = new AbortController()
    const silent = createServer(() => abort.abort(new Error('it takes too long')))
    await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
    const module = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/prismal-simd.wasm`
    expect((await failure({ module, signal: abort.signal })).message).toBe('it takes too long')
    silent.closeAllConnections()
    await new Promise(resolve => silent.close(resolve))
  })

  it('may be given as bytes, a buffer, a module, a URL, a path', async () => {
    await works(bytes)
    await works(bytes.buffer)
    await works(await WebAssembly.compile(bytes))
    await works(wasmFile(fastest))
    await works(wasmFile(fastest).href)
    await works(wasmFile(fastest).pathname)
  })

  it('may be fetched, and a refused fetch is named', async () => {
    const server = createServer((request, response) => {
      if (request.url === '/kernels.wasm') response.end(bytes)
      else response.writeHead(404).end()
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      await works(`${url}/kernels.wasm`)
      const error = await failure({ module: new URL(`${url}/missing.wasm`) })
      expect(error).toBeInstanceOf(UnavailableError)
      expect(error.message).toBe(`wasm: the ${fastest} kernels could not be loaded from ${url}/missing.wasm: HTTP 404`)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it('is named where it is missing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'prismal-'))
    try {
      const url = pathToFileURL(join(folder, 'kernels.wasm'))
      const error = await failure({ module: url })
      expect(error).toBeInstanceOf(UnavailableError)
      expect(error.code).toBe('unavailable')
      expect(error.message).toContain(`kernels could not be loaded from ${url}: ENOENT`)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('is refused where it is damaged or another one', async () => {
    const damaged = await failure({ module: bytes.slice(0, 1000) })
    expect(damaged).toBeInstanceOf(UnavailableError)
    expect(damaged.message).toContain('could not be loaded from the bytes given')
    const empty = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
    const other = await failure({ module: new WebAssembly.Module(Uint8Array.from(empty)) })
    expect(other).toBeInstanceOf(UnavailableError)
    expect(other.message).toMatch(/from the module given: it does not say which version of the kernels it is/)
    const section = [...'\x07prismal', ...catalogueDigest()].map(c => c.charCodeAt(0))
    const lacking = await failure({ module: Uint8Array.from([...empty, 0, section.length, ...section]) })
    expect(lacking.message).toMatch(/has no kernel/)
  })

  it('is refused where it was built from another version, on one thread and on several', async () => {
    for (const [threads, file] of [
      [1, bytes],
      [2, readFileSync(wasmFile(`${fastest}-threads`))],
    ] as const) {
      if (threads > availableThreads()) continue
      const other = Buffer.from(file)
      other.write('00000000', other.lastIndexOf(catalogueDigest()))
      const error = await failure({ module: other, threads })
      expect(error).toBeInstanceOf(UnavailableError)
      expect(error.message).toContain(
        `it is of another version (kernels 00000000) than this script (${catalogueDigest()})`,
      )
    }
  })
})

describe('numerics class', () => {
  it('differs between builds and is the same for engines of one', async () => {
    const classes: string[] = []
    for (const backend of builds) {
      const engines = [await createEngine({ backend }), await createEngine({ backend })]
      const [one, two] = engines.map(engine => engine.numericsClass())
      expect(one).toMatch(new RegExp(`^${backend}/f32/[0-9a-f]{8}$`))
      expect(two).toBe(one)
      for (const engine of engines) {
        expect(engine.arena.usedBytes).toBe(0)
        engine.dispose()
      }
      classes.push(one!)
    }
    expect(new Set(classes).size).toBe(builds.length)
    // Not by their names alone: the probe tells the reference, which rounds once, from the rest. (Whether relaxed SIMD
    // fuses is up to the processor.)
    const digests = classes.map(c => c.split('/')[2])
    for (const digest of digests.slice(0, -1)) expect(digest).not.toBe(digests.at(-1))
  })
})
