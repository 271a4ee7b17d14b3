/** A pipeline in a worker is the pipeline: the same answers, costs, errors and signals, from another thread. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import {
  decodeImage,
  InputError,
  ModelError,
  memoryFiles,
  type NumberArray,
  type PipelineOptions,
  type ProgressInfo,
  pipeline,
  type Report,
} from 'prismal'
import { cluster, thread } from 'prismal/distribute'
import { DisposedError, MemoryError, OperandError, type PrismalError, UnavailableError } from 'prismal/tensor'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const vit = join(root, 'models/vit-cifar10')
const chronicle = join(root, 'models/gpt2-chronicle')
const cat = join(root, 'examples/images/cat.png')
const ship = join(root, 'examples/images/ship.png')

const inWorker = { worker: true } as const
const both = <T>(make: (options: PipelineOptions) => Promise<T>): Promise<[T, T]> =>
  Promise.all([make({}), make(inWorker)])
/** What a promise is rejected with. */
const thrown = (promise: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(promise).then(
    () => {
      throw new Error('nothing was thrown')
    },
    (error: unknown) => error,
  )

/** A report without its times. */
const counted = ({ devices, ...report }: Report) => ({
  ...{ ...report, milliseconds: 0 },
  devices: devices.map(d => ({ ...d, milliseconds: 0, stages: d.stages.map(s => ({ ...s, milliseconds: 0 })) })),
})

describe('classifying in a worker', () => {
  const open = () => both(options => pipeline('image-classification', vit, options))
  let [here, there]: Awaited<ReturnType<typeof open>> = [] as never
  beforeAll(async () => {
    ;[here, there] = await open()
  })
  afterAll(() => Promise.all([here.dispose(), there.dispose()]))

  it('gives the same labels and the same costs', async () => {
    for (const input of [[cat, ship], [cat], []])
      expect(await there(input, { topk: 3 })).toEqual(await here(input, { topk: 3 }))
    expect(await there(cat, { topk: 3 })).toEqual(await here(cat, { topk: 3 }))
    const [a, b] = [await here.withReport([cat, ship]), await there.withReport([cat, ship])]
    expect(b.output).toEqual(a.output)
    expect(counted(b.report)).toEqual(counted(a.report))
    expect(b.report.milliseconds).toBeGreaterThan(0)
  })

  it('takes pictures in whatever form, and leaves them to the caller', async () => {
    const file = readFileSync(cat)
    const within = new Uint8Array([...new Uint8Array(100), ...file]).subarray(100)
    const { width, height, channels, data } = await decodeImage(file)
    expect(channels).toBe(3)
    const canvas = Uint8ClampedArray.from({ length: width * height * 4 }, (_, i) =>
      i % 4 === 3 ? 255 : (data[3 * (i >> 2) + (i % 4)] as number),
    )
    const forms = [cat, pathToFileURL(cat), new Blob([file]), file, within, { width, height, data }]
    const all = [...forms, { width, height, data: canvas }]
    const want = await here(cat)
    for (const form of all) expect(await there(form)).toEqual(want)
    expect(await there(all)).toEqual(all.map(() => want))
    expect([file.length, within.length, canvas.length].every(n => n > 0)).toBe(true)
  })

  it('serves calls that overlap, each its own answer', async () => {
    const inputs = [cat, ship, cat, ship, cat]
    const apart = []
    for (const input of inputs) apart.push(await here(input))
    expect(await Promise.all(inputs.map(input => there(input)))).toEqual(apart)
  })

  it('fails as it does here: class, code and message', async () => {
    const wrong = [
      'nope.png',
      fileURLToPath(import.meta.url),
      new Uint8Array(3),
      { width: 3, height: 2, data: new Uint8Array(7) },
    ]
    for (const input of wrong) {
      const [a, b] = (await Promise.all([here, there].map(tool => thrown(tool(input))))) as PrismalError[]
      expect(b).toBeInstanceOf(InputError)
      expect([b?.message, b?.code, b?.name]).toEqual([a?.message, a?.code, a?.name])
    }
    expect(((await thrown(there('nope.png'))) as Error).cause).toMatchObject({ code: 'ENOENT' })
    expect(await there(cat)).toEqual(await here(cat))
  })

  it('refuses what no message can carry', async () => {
    const error = await thrown(there((() => {}) as never))
    expect(error).toBeInstanceOf(InputError)
    expect((error as Error).message).toMatch(/^the input or an option cannot be sent to the pipeline's worker: /)
  })

  it('tells what it runs on, and of its model what is known without weights', () => {
    const { model } = there.runner
    const { location, family, precision, labels, shape, digest } = here.runner.model
    expect(model).toMatchObject({ location, family, precision, labels, shape, digest })
    expect(model.engine.build).toBe(here.runner.model.engine.build)
    expect(there.capabilities()).toEqual({ ...here.capabilities(), worker: true })
    expect(here.capabilities()).toMatchObject({ dtype: 'f32', worker: false, threads: 1 })
    const unreachable = [() => model.forward, () => model.engine.arena, () => there.runner.begin()]
    for (const reach of unreachable) expect(reach).toThrow(UnavailableError)
    expect(unreachable[0]).toThrow("model.forward is in the pipeline's worker, out of reach of this thread")
  })
})

describe('vectors and texts from a worker', () => {
  it('are the same arrays, with their method', async () => {
    const [here, there] = await both(options => pipeline('feature-extraction', undefined, options))
    const texts = ['a cat on a mat', 'ein Hund']
    for (const options of [{}, { pooling: 'mean', normalize: true }] as const) {
      const [a, b] = [await here(texts, options), await there(texts, options)]
      const pairs = ([a].flat() as NumberArray[]).map((one, i) => [one, ([b].flat() as NumberArray[])[i]] as const)
      expect(pairs.length).toBe('pooling' in options ? 1 : 2)
      for (const [one, other] of pairs) {
        expect([other?.dims, other?.data]).toEqual([one.dims, one.data])
        expect(other?.tolist()).toEqual(one.tolist())
      }
    }
    await Promise.all([here.dispose(), there.dispose()])
  })

  it('are the same text: awaited, iterated, with its cost', async () => {
    const [here, there] = await both(options => pipeline('text-generation', chronicle, options))
    const options = { max_new_tokens: 12, temperature: 0.9, seed: 5, stop: 'zzz' }
    expect(await there(['Call me', 'And'], options)).toEqual(await here(['Call me', 'And'], options))
    const streamed = async (tool: typeof here) => {
      const pieces: string[] = []
      const reports: unknown[] = []
      for await (const piece of tool.stream('Call me', options, ({ output, report }) =>
        reports.push([output, counted(report)]),
      ))
        pieces.push(piece)
      return { pieces, reports }
    }
    const [a, b] = [await streamed(here), await streamed(there)]
    expect(a.pieces.length).toBeGreaterThan(5)
    expect(a.reports.length).toBe(1)
    expect(b).toEqual(a)
    const iterated: string[] = []
    for await (const piece of there('Call me', options)) iterated.push(piece)
    expect(iterated).toEqual(a.pieces)

    // A reader that stops early gives the request's memory back: two more take what one took.
    const peak = async () => (await there.withReport('Call me', options)).report.devices[0]?.peakBytes
    const before = await peak()
    for await (const _ of there('Call me', options)) break
    expect(await peak()).toBe(before)
    expect(await thrown(there('x', { max_new_tokens: 0 }))).toBeInstanceOf(InputError)
    expect(await thrown(there.stream('x', { max_new_tokens: 0 })[Symbol.asyncIterator]().next())).toBeInstanceOf(
      InputError,
    )
    expect(await peak()).toBe(before)
    await Promise.all([here.dispose(), there.dispose()])
  })
})

describe('loading in a worker', () => {
  it('tells its progress and its warnings', async () => {
    const told: ProgressInfo[] = []
    const tool = await pipeline('text-generation', chronicle, { ...inWorker, progress_callback: i => told.push(i) })
    await tool.dispose()
    expect(told.at(-1)).toMatchObject({ status: 'progress', name: chronicle, progress: 100 })
    const warnings: string[] = []
    const warn = (message: string): void => void warnings.push(message)
    const features = await pipeline('feature-extraction', undefined, { ...inWorker, warn })
    const here: string[] = []
    await (await pipeline('feature-extraction', undefined, { warn: message => void here.push(message) })).dispose()
    await features.dispose()
    expect(warnings).toEqual(here)
  })

  it('opens files at addresses of their own, and refuses the files themselves', async () => {
    const names = ['config.json', 'model.safetensors', 'preprocessor_config.json']
    const bytes = (name: string): Buffer => readFileSync(join(vit, name))
    const urls = Object.fromEntries(names.map(name => [name, `data:;base64,${bytes(name).toString('base64')}`]))
    const [here, there] = await both(options => pipeline('image-classification', urls, options))
    expect(there.capabilities().worker).toBe(true)
    expect(await there(cat)).toEqual(await here(cat))
    await Promise.all([here.dispose(), there.dispose()])
    const files = memoryFiles(Object.fromEntries(names.map(name => [name, bytes(name)])))
    await expect(pipeline('image-classification', files, inWorker)).rejects.toThrow('files and worker were both given')
  })

  it('takes dtype, threads, build and a limit', async () => {
    const options = { ...inWorker, dtype: 'q8', threads: 'auto', backend: 'simd', memoryLimitBytes: 1e9 } as const
    const tool = await pipeline('image-classification', vit, options)
    const here = await pipeline('image-classification', vit, { ...options, worker: false })
    expect(tool.capabilities()).toEqual({ ...here.capabilities(), worker: true })
    expect(tool.capabilities()).toMatchObject({ dtype: 'q8', build: 'simd', memoryLimitBytes: 1e9 })
    expect(await tool(cat)).toEqual(await here(cat))
    await Promise.all([tool.dispose(), here.dispose()])
  })

  it('is stopped by its signal, with the reason, before and in between', async () => {
    const reason = new Error('enough')
    for (const abortAt of ['start', 'progress']) {
      const abort = new AbortController()
      if (abortAt === 'start') abort.abort(reason)
      const progress_callback = () => abort.abort(reason)
      const loading = pipeline('text-generation', chronicle, { ...inWorker, signal: abort.signal, progress_callback })
      expect(await thrown(loading)).toBe(reason)
    }
  })

  it('fails with what a callback throws', async () => {
    const reason = new Error('mine')
    const progress_callback = (): void => {
      throw reason
    }
    expect(await thrown(pipeline('text-generation', chronicle, { ...inWorker, progress_callback }))).toBe(reason)
  })

  const failures: [string, Parameters<typeof pipeline>, new (...args: never[]) => PrismalError][] = [
    ['a model of another kind', ['text-generation', vit, inWorker], ModelError],
    ['no model', ['fill-mask', './nope', inWorker], ModelError],
    ['an unknown task', ['translation' as never, vit, inWorker], InputError],
    ['threads above the cores', ['image-classification', vit, { ...inWorker, threads: 4096 }], OperandError],
    ['another dtype', ['image-classification', vit, { ...inWorker, dtype: 'q4' as never }], InputError],
    ['too little memory', ['image-classification', vit, { ...inWorker, memoryLimitBytes: 5e6 }], MemoryError],
  ]
  it.each(failures)('fails as it does here: %s', async (_, [task, model, options], Kind) => {
    const here = (await thrown(pipeline(task, model, { ...options, worker: false }))) as PrismalError
    const there = (await thrown(pipeline(task, model, options))) as PrismalError
    expect(there).toBeInstanceOf(Kind)
    expect({ ...there, message: there.message }).toEqual({ ...here, message: here.message })
  })

  it('refuses devices, which live in the thread that joined them, and what is no yes or no', async () => {
    const devices = cluster(['local'])
    const error = await thrown(pipeline('image-classification', vit, { ...inWorker, devices }))
    expect(error).toEqual(
      new InputError(
        'devices and worker were both given: devices are joined from the thread that has them, so choose one',
      ),
    )
    const other = pipeline('image-classification', vit, { worker: 'yes' as never })
    expect(await thrown(other)).toEqual(new InputError('worker is "yes", not true or false'))
  })
})

describe('a generation', () => {
  it.each([[{}], [inWorker]])('is caught and finished like a promise: %o', async options => {
    const tool = await pipeline('text-generation', chronicle, options)
    expect(await tool('Call me', { max_new_tokens: 0 }).catch(error => error)).toBeInstanceOf(InputError)
    let isOver = false
    const generation = tool('Call me', { max_new_tokens: 2 })
    const texts = await generation.finally(() => {
      isOver = true
    })
    expect(isOver).toBe(true)
    // Awaited again it is the same, not another.
    expect(await generation).toBe(texts)
    await tool.dispose()
  })
})

describe('the end of a scope', () => {
  it.each([[{}], [inWorker]])('is the end of its pipeline: %o', async options => {
    const tool = await pipeline('text-generation', chronicle, options)
    await tool[Symbol.asyncDispose]()
    expect(await thrown(tool('x'))).toBeInstanceOf(DisposedError)
  })
})

describe('after dispose()', () => {
  it.each([
    ['in a worker', () => inWorker],
    ['in this thread', () => ({})],
    ['by devices', () => ({ devices: cluster(['local', thread()]) })],
  ])('calls fail, those in flight too; twice is harmless: %s', async (_, options) => {
    const tool = await pipeline('text-generation', chronicle, options())
    const pending = thrown(tool('Call me', { max_new_tokens: 200 }))
    const reading = tool.stream('Call me', { max_new_tokens: 200 })[Symbol.asyncIterator]()
    await reading.next()
    await tool.dispose()
    await tool.dispose()
    for (const error of [await pending, await thrown(reading.next()), await thrown(tool('x'))]) {
      expect(error).toBeInstanceOf(DisposedError)
      expect((error as Error).message).toBe('this pipeline was disposed')
    }
  })
})
