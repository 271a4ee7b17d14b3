/** What a worker is for, and what becomes of a pipeline when its worker dies or there is none. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pipeline, WorkerError } from 'prismal'
import { UnavailableError } from 'prismal/tensor'
import { describe, expect, it } from 'vitest'
import { runProgram } from './ended-process.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const vit = join(root, 'models/vit-cifar10')
const chronicle = join(root, 'models/gpt2-chronicle')
const pictures = Array.from({ length: 48 }, () => join(root, 'examples/images/cat.png'))

/** The longest time that a timer of this thread waited while `work` ran, and how long that took; in ms. */
async function watched(work: () => Promise<unknown>): Promise<{ gap: number; took: number }> {
  const start = performance.now()
  let last = start
  let gap = 0
  const look = (): void => {
    const now = performance.now()
    gap = Math.max(gap, now - last)
    last = now
  }
  const timer = setInterval(look, 1)
  await work()
  look()
  clearInterval(timer)
  return { gap, took: performance.now() - start }
}

describe('the calling thread', () => {
  it('stays responsive while the worker computes', async () => {
    const here = await pipeline('image-classification', vit)
    const there = await pipeline('image-classification', vit, { worker: true })
    const pixels = { width: 32, height: 32, data: new Uint8Array(3 * 32 * 32) }
    const batch = Array.from({ length: 96 }, () => pixels)
    // What else the machine does makes gaps too: the shortest of several rounds has the least of it.
    const gaps = { here: Number.POSITIVE_INFINITY, there: Number.POSITIVE_INFINITY }
    for (let round = 0; round < 4 && !(gaps.here / gaps.there > 3); round++) {
      gaps.here = Math.min(gaps.here, (await watched(() => here(batch))).gap)
      gaps.there = Math.min(gaps.there, (await watched(() => there(batch))).gap)
    }
    await Promise.all([here.dispose(), there.dispose()])
    expect(gaps.here / gaps.there).toBeGreaterThan(3)
  })

  it('ends a call in the middle, and the next one has its memory', async () => {
    const tool = await pipeline('image-classification', vit, { worker: true })
    const whole = await tool.withReport(pictures)
    const full = Math.min((await watched(() => tool(pictures))).took, (await watched(() => tool(pictures))).took)
    const abort = new AbortController()
    const reason = new Error('enough')
    const ended = tool(pictures, { signal: abort.signal }).then(
      () => 'answered',
      (error: unknown) => error,
    )
    setTimeout(() => abort.abort(reason), full / 10)
    const { took } = await watched(async () => expect(await ended).toBe(reason))
    expect(took / full).toBeLessThan(0.7)
    expect(await tool(pictures, { signal: abort.signal }).catch((error: unknown) => error)).toBe(reason)
    const after = await tool.withReport(pictures)
    expect(after.output).toEqual(whole.output)
    expect(after.report.devices[0]?.peakBytes).toBe(whole.report.devices[0]?.peakBytes)
    await tool.dispose()
  })

  it('ends a stream in the middle, with the reason', async () => {
    const tool = await pipeline('text-generation', chronicle, { worker: true })
    const abort = new AbortController()
    const pieces: string[] = []
    const read = async () => {
      for await (const piece of tool('Call me', { max_new_tokens: 100, signal: abort.signal })) {
        pieces.push(piece)
        if (pieces.length === 3) abort.abort()
      }
    }
    expect(await read().catch((error: unknown) => error)).toBe(abort.signal.reason)
    expect(pieces.length).toBe(3)
    const alone = new AbortController()
    const ended = tool('Call me', { max_new_tokens: 400, signal: alone.signal }).then(undefined, error => error)
    setTimeout(() => alone.abort(), 20)
    expect(await ended).toBe(alone.signal.reason)
    expect(await tool('Call me', { max_new_tokens: 3 })).toHaveLength(1)
    await tool.dispose()
  })
})

describe('a worker that dies', () => {
  const workerScript = new URL('./dying-worker.mjs', import.meta.url)
  const rejected = (promise: PromiseLike<unknown>): Promise<unknown> =>
    Promise.resolve(promise).then(
      value => ({ value }),
      (error: unknown) => error,
    )

  it.each([
    ['exit', /^the pipeline's worker ended: it exited with code 3; another pipeline starts another$/],
    ['throw', /^the pipeline's worker ended: it threw out of the blue; another/],
  ])('by %s fails what waits and what comes', async (way, message) => {
    const tool = await pipeline('text-generation', chronicle, { worker: true, workerScript })
    const reading = tool.stream('Call me', { max_new_tokens: 300 })[Symbol.asyncIterator]()
    await reading.next()
    const pending = [rejected(tool('Call me', { max_new_tokens: 300 })), rejected(tool(way, { max_new_tokens: 300 }))]
    for (const outcome of [
      ...(await Promise.all(pending)),
      await rejected(reading.next()),
      await rejected(tool('x')),
    ]) {
      expect(outcome).toBeInstanceOf(WorkerError)
      expect(outcome).toMatchObject({ code: 'worker-failed', message: expect.stringMatching(message) })
    }
    await tool.dispose()
    await tool.dispose()
  })

  it('while loading, or never starts, fails the loading', async () => {
    const dies = pipeline('text-generation', 'throw', { worker: true, workerScript })
    // Either the model is missing or the worker is gone, whichever is heard of first.
    expect(await rejected(dies)).toBeInstanceOf(Error)
    const missing = new URL('./no-such-worker.mjs', import.meta.url)
    const never = await rejected(pipeline('text-generation', chronicle, { worker: true, workerScript: missing }))
    expect(never).toBeInstanceOf(WorkerError)
    expect((never as Error).message).toMatch(/it threw Cannot find module .*no-such-worker\.mjs/)
    const wrong = await rejected(pipeline('text-generation', chronicle, { worker: true, workerScript: 'x.js' }))
    expect(wrong).toBeInstanceOf(UnavailableError)
    expect((wrong as Error).message).toMatch(/^workerScript x\.js cannot be started: /)
    const refuses = (): never => {
      throw new Error('not today')
    }
    const refused = await rejected(pipeline('text-generation', chronicle, { worker: true, workerScript: refuses }))
    expect((refused as Error).message).toBe('workerScript cannot be started: not today')
  })
})

describe('a process', () => {
  const load = (options: object, before = ''): string =>
    `import { pipeline } from 'prismal'
     ${before}
     const tool = await pipeline('image-classification', 'models/vit-cifar10', ${JSON.stringify(options)})\n`
  const picture = "'examples/images/cat.png'"

  it('ends though a pipeline was forgotten, and waits for its calls', async () => {
    const options = { worker: true, threads: 'auto' }
    const forgotten = await runProgram(`${load(options)} console.log('loaded')`)
    expect(forgotten).toEqual({ code: 0, out: 'loaded\n', err: '' })
    const called = await runProgram(`${load(options)} tool(${picture}).then(([best]) => console.log(best.label))`)
    expect(called).toEqual({ code: 0, out: 'cat\n', err: '' })
  })

  it('waits for the end of a pipeline that is disposed while it computes', async () => {
    const ended = `const call = tool(${picture}).catch(error => error.code)
      await tool.dispose()
      console.log(await call)`
    expect(await runProgram(load({ worker: true }) + ended)).toEqual({ code: 0, out: 'disposed\n', err: '' })
  })

  it('without workers computes where it is, and says why', async () => {
    const forbidden = process.allowedNodeEnvironmentFlags.has('--permission')
      ? '--permission'
      : '--experimental-permission'
    const tell = `const [best] = await tool(${picture})
      console.log(best.label, JSON.stringify(tool.capabilities()))
      await tool.dispose()`
    const refused = await runProgram(load({ worker: true }) + tell, [forbidden, '--allow-fs-read=*'])
    expect(refused.err).toBe('')
    const [, label, told = ''] = /^(\w+) (.*)\n$/.exec(refused.out) ?? []
    const { worker, reasons } = JSON.parse(told)
    expect([label, worker]).toEqual(['cat', false])
    expect(reasons).toContainEqual(expect.stringMatching(/^worker: none, as it could not be started: .*restricted/))
  })

  it('without WebAssembly computes by reference on one thread, and says why', async () => {
    const pixels = '{ width: 32, height: 32, data: new Uint8Array(3072) }'
    const tell = `const labels = await tool(${pixels})
      console.log(labels.length, JSON.stringify(tool.capabilities()))
      await tool.dispose()`
    const { out, err } = await runProgram(load({ threads: 'auto' }, 'delete globalThis.WebAssembly') + tell)
    expect(err).toBe('')
    const [, count, told = ''] = /^(\d+) (.*)\n$/.exec(out) ?? []
    expect(count).toBe('5')
    expect(JSON.parse(told)).toMatchObject({ backend: 'reference', simd: 'none', threads: 1 })
    expect(JSON.parse(told).reasons).toEqual([
      expect.stringMatching(/^simd: this runtime has no WebAssembly/),
      'threads: one, as the reference backend computes on one thread',
    ])
  })
})
