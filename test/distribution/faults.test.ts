/** Whatever fails, and whenever: a clear error within its limit, memory where it was, and a coordinator that can go on. */
import { cp, rm } from 'node:fs/promises'
import { setEnvironmentData } from 'node:worker_threads'
import {
  cluster,
  DeviceError,
  type DeviceSource,
  decodeFrame,
  encodeFrame,
  type Frame,
  type Member,
  memoryDevice,
  PlanError,
  type SharedRunner,
} from '@prismal/distribute'
import { thread } from '@prismal/distribute/threads'
import { memoryPair } from '@prismal/distribute/transports/memory'
import { aloneRunner, type Model } from '@prismal/models'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { bits } from '../compare.js'
import { temporaryFolder } from '../temporary-folder.js'
import {
  families,
  generators,
  inMemory,
  load,
  rowsOf,
  sequenceFor,
  tokensOf,
  toldDeliveries,
  usedBytes,
} from './subjects.js'

const LIMIT_MS = 5000
/** The error of a request that must fail; it may take `LIMIT_MS`. */
async function failure(request: Promise<unknown>): Promise<Error> {
  const started = performance.now()
  const error = await request.then(
    () => undefined,
    (e: unknown) => e as Error,
  )
  expect(performance.now() - started).toBeLessThan(LIMIT_MS)
  if (!error) throw new Error('the request was answered where an error was due')
  return error
}

type Fault = 'exit' | 'throw' | 'damage' | 'cut'
/** A thread whose `at`-th message does not leave as it should. */
function faultyThread(how: Fault, at: number): DeviceSource {
  const source = thread({ script: new URL('./faulty-thread.mjs', import.meta.url), name: 'faulty' })
  return {
    name: source.name,
    join(model, memory) {
      setEnvironmentData('fault', { how, at })
      return source.join(model, memory)
    },
  }
}

/** A request that failed is given up on all devices; one may be letting events through before it hears of it. */
const memoryIsBack = (models: readonly Model[], idle: readonly number[]): Promise<boolean> =>
  vi.waitUntil(() => usedBytes(models).join() === idle.join(), { timeout: LIMIT_MS, interval: 1 })

const rowsOfSubject = (rows: { max: number }): number => Math.min(rows.max, 50)

describe.each(families)('$name: a thread fails in mid-request', subject => {
  const [p0, faulty, p2] = [0, 1, 2]

  /** One request on this device, a faulty thread and a sound one. `true` where the fault was never reached. */
  async function survives(how: Fault, at: number): Promise<boolean> {
    const model = await load(subject)
    const idle = model.engine.arena.usedBytes
    const runner = await cluster(['local', faultyThread(how, at), thread({ name: 'sound' })]).runner(model)
    try {
      const sequence = sequenceFor(model, rowsOfSubject(subject.rows), 1)
      const shared = await rowsOf(runner, [sequence], 'all').catch((error: Error) => error)
      if (!(shared instanceof Error)) return true
      expect(shared).toBeInstanceOf(DeviceError)
      expect(shared.message).toMatch(new RegExp(`device ${faulty}`))
      const again = await failure(rowsOf(runner, [sequence], 'all'))
      expect(again).toBeInstanceOf(DeviceError)
      expect(again.message).toMatch(new RegExp(`device ${faulty}`))
      if (how === 'exit' || how === 'throw') {
        // Once the cluster knows that it lacks a device it says so without trying.
        await runner.members[faulty]!.control.closed
        const known = await failure(rowsOf(runner, [sequence], 'all'))
        expect(known.message).toMatch(new RegExp(`^device ${faulty} \\(faulty\\) ended: .+`))
      }
      await memoryIsBack([model], [idle])
      // The coordinator's own model goes on.
      expect((await rowsOf(aloneRunner(model), [sequence], 'all')).length).toBe(sequence.to * model.shape.width)
      expect(model.engine.arena.usedBytes).toBe(idle)
      return false
    } finally {
      await runner.dispose()
    }
  }

  // How frames are damaged has nothing to do with what they carry: one family shows it.
  const faults: Fault[] = subject === families[0] ? ['exit', 'throw', 'damage', 'cut'] : ['exit', 'throw']
  test.each(faults)('at its first, second, … message: %s', async how => {
    const layers = (await load(subject)).shape.layers
    let at = 1
    for (; ; at++) {
      const started = performance.now()
      const isAnswered = await survives(how, at)
      expect(performance.now() - started).toBeLessThan(LIMIT_MS)
      if (isAnswered) break
    }
    // Rows to each device that hears it, layer by layer, then its output and account.
    const hearers = subject.family === 'gpt2' ? [p2] : [p0, p2]
    expect(at - 1).toBe(layers * hearers.length + 2)
  })

  test('a thread that is ended from outside', async () => {
    const model = await load(subject)
    const idle = model.engine.arena.usedBytes
    const runner = await cluster(['local', thread(), thread()]).runner(model)
    try {
      const request = rowsOf(runner, [sequenceFor(model, rowsOfSubject(subject.rows), 1)], 'all')
      const error = failure(request)
      await runner.members[2]!.end()
      expect(await error).toBeInstanceOf(DeviceError)
      expect((await error).message).toMatch(/device 2/)
      await memoryIsBack([model], [idle])
    } finally {
      await runner.dispose()
    }
  })
})

describe.each(generators)('$name: a thread fails while it generates', subject => {
  test.each(['exit', 'throw'] as const)('at its third message: %s', async how => {
    // The last device decodes: what it sends are tokens.
    const model = await load(subject)
    const idle = model.engine.arena.usedBytes
    const runner = await cluster(['local', faultyThread(how, 3)]).runner(model)
    const request = runner.begin()
    const seen: number[] = []
    const generated = async (): Promise<void> => {
      for await (const { id } of request.tokens([sequenceFor(model, 20, 1)], { maxNewTokens: 30 })) seen.push(id)
    }
    const error = await failure(generated())
    request.end()
    expect(error).toBeInstanceOf(DeviceError)
    expect(error.message).toMatch(/^device 1 \(faulty\) ended: .+/)
    expect(seen.length).toBeLessThan(3)
    await memoryIsBack([model], [idle])
    await runner.dispose()
  })
})

describe.each(families)('$name: abort', subject => {
  const DEVICES = 3
  const deliveries = toldDeliveries()
  let runner: SharedRunner
  let models: readonly Model[]
  beforeAll(async () => {
    ;({ runner, models } = await inMemory(subject, DEVICES, deliveries))
  })
  afterAll(() => runner.dispose())

  /** Aborts at the first, second, … message until the request ends before. Gives the number of those that were aborted. */
  async function abortEverywhere(run: (signal: AbortSignal) => Promise<void>): Promise<number> {
    const sequence = sequenceFor(runner.model, subject.rows.max, 3)
    const want = await rowsOf(runner, [sequence], 'all')
    const idle = usedBytes(models)
    for (let at = 1; ; at++) {
      const controller = new AbortController()
      let delivered = 0
      deliveries.onDelivery = () => {
        if (++delivered === at) controller.abort(new Error(`aborted at message ${at}`))
      }
      const error = await run(controller.signal).then(
        () => undefined,
        (e: unknown) => e as Error,
      )
      deliveries.onDelivery = () => {}
      expect(bits(await rowsOf(runner, [sequence], 'all'))).toEqual(bits(want))
      await memoryIsBack(models, idle)
      if (!error) return at - 1
      expect(error.message).toBe(`aborted at message ${at}`)
    }
  }

  test('of rows, at any message, gives memory back on all devices', async () => {
    const sequence = sequenceFor(runner.model, subject.rows.max, 4)
    const aborted = await abortEverywhere(async signal => {
      const request = runner.begin(signal)
      try {
        await request.rows([sequence], 'all')
      } finally {
        request.end()
      }
    })
    expect(aborted).toBeGreaterThan(2 * DEVICES)
  })

  if (generators.includes(subject))
    test('of a generation, at any message, gives memory back on all devices', async () => {
      const prompt = sequenceFor(runner.model, 12, 4)
      const aborted = await abortEverywhere(async signal => {
        const request = runner.begin(signal)
        try {
          for await (const { id } of request.tokens([prompt], { maxNewTokens: 6 })) expect(id).toBeGreaterThanOrEqual(0)
        } finally {
          request.end()
        }
      })
      expect(aborted).toBeGreaterThan(2 * DEVICES)
    })

  test('before it begins: nothing is sent', async () => {
    let delivered = 0
    deliveries.onDelivery = () => delivered++
    const request = runner.begin(AbortSignal.abort(new Error('too late')))
    await expect(request.rows([sequenceFor(runner.model, subject.rows.max, 1)], 'all')).rejects.toThrow('too late')
    request.end()
    deliveries.onDelivery = () => {}
    expect(delivered).toBe(0)
  })
})

describe.each(generators)('$name: tokens that nobody takes any more', subject => {
  test.each([1, 2, 5])('leaving the loop after %i ends the request on all devices', async taken => {
    const { runner, models } = await inMemory(subject, 3)
    const idle = usedBytes(models)
    const prompt = sequenceFor(runner.model, 12, 4)
    const whole = await tokensOf(runner, [prompt], { maxNewTokens: 40 })
    const request = runner.begin()
    const ids: number[] = []
    for await (const { id } of request.tokens([prompt], { maxNewTokens: 40 })) if (ids.push(id) === taken) break
    request.end()
    expect(ids).toEqual(whole.slice(0, taken).map(t => t.id))
    expect((await tokensOf(runner, [prompt], { maxNewTokens: 2 })).map(t => t.id)).toEqual(
      whole.slice(0, 2).map(t => t.id),
    )
    await memoryIsBack(models, idle)
    await runner.dispose()
  })

  test('a thread does not need more memory from one such loop to the next', async () => {
    const model = await load(subject)
    const idle = model.engine.arena.usedBytes
    const runner = await cluster(['local', thread()]).runner(model)
    const prompt = sequenceFor(model, 12, 4)
    let peak = 0
    for (let i = 0; i < 20; i++) {
      const left = runner.begin()
      for await (const _ of left.tokens([prompt], { maxNewTokens: 40 })) break
      left.end()
      const request = runner.begin()
      for await (const { id } of request.tokens([prompt], { maxNewTokens: 40 })) expect(id).toBeGreaterThanOrEqual(0)
      peak = request.report().devices[1]!.peakBytes
      request.end()
    }
    // A loop that was left may still give its memory back while the next request takes its own: twice one request's.
    await tokensOf(aloneRunner(model), [prompt], { maxNewTokens: 40 })
    expect(peak).toBeLessThanOrEqual(idle + 2 * (model.engine.arena.peakBytes - idle))
    await runner.dispose()
  })
})

describe.each(families.filter(s => s.family === 'vit'))('$name: values beyond f16', subject => {
  test.each(['memory', 'message ports'])('the error names the device, and the cluster goes on (%s)', async over => {
    const model = await load(subject)
    const idle = model.engine.arena.usedBytes
    const another = over === 'memory' ? memoryDevice(() => load(subject)) : thread()
    const runner = await cluster(['local', another, another], { strategy: 'full', wire: 'f16' }).runner(model)
    const sound = sequenceFor(model, 50, 1)
    const want = await rowsOf(runner, [sound], 'all')
    const patches = sound.patches!.slice()
    patches.fill(1e9, 20 * model.shape.patchWidth, 21 * model.shape.patchWidth) // row 21 is device 1's
    for (let i = 0; i < 5; i++) {
      const error = await failure(rowsOf(runner, [{ ...sound, patches }], 'all'))
      expect(error).toBeInstanceOf(DeviceError)
      expect(error.message).toMatch(
        /^device 1 \(.+\): f16 holds finite values up to ±65504; .+ at row 4, column \d+ does not fit/,
      )
      expect((error.cause as { code: string }).code).toBe('out-of-range')
      expect(bits(await rowsOf(runner, [sound], 'all'))).toEqual(bits(want))
    }
    expect(model.engine.arena.usedBytes).toBe(idle)
    await runner.dispose()
  })
})

describe.each(generators.slice(0, 1))('a device that breaks the rules ($name)', subject => {
  /** A cluster of this device and one whose member is changed. */
  async function withChanged(
    change: (member: Member) => Partial<Member>,
  ): Promise<{ runner: SharedRunner; model: Model }> {
    const source = memoryDevice(() => load(subject), 'odd')
    const changed: DeviceSource = {
      name: source.name,
      async join(model, memory) {
        const member = await source.join(model, memory)
        return { ...member, ...change(member) }
      },
    }
    const model = await load(subject)
    return { runner: await cluster(['local', changed]).runner(model), model }
  }

  /** A member whose frames to the coordinator are other ones. */
  const answering =
    (answer: (frame: Frame) => Frame[]) =>
    ({ control }: Member): Partial<Member> => ({
      control: {
        maxMessageBytes: control.maxMessageBytes,
        closed: control.closed,
        send: message => control.send(message),
        close: reason => control.close(reason),
        receive(handler) {
          let [received, sent] = [0, 0]
          control.receive(message => {
            for (const frame of answer(decodeFrame(message, received++))) handler(encodeFrame(frame, sent++))
          })
        },
      },
    })

  test('one whose link is gone does not wait for what will not come', async () => {
    const { runner } = await withChanged(({ link }) => ({
      link(peer) {
        const [connection] = memoryPair()
        connection.close('unplugged')
        return link(peer, { connection })
      },
    }))
    // The first device sends, unaware; the second one would wait.
    const error = await failure(rowsOf(runner, [sequenceFor(runner.model, 20, 1)], 'last'))
    expect(error).toBeInstanceOf(DeviceError)
    expect(error.message).toBe('device 1 (odd): the connection to device 0 (local) closed: unplugged')
    await runner.dispose()
  })

  test.each([
    {
      what: 'fewer values',
      answer: (f: Frame) => [f.kind === 'output' ? { ...f, data: f.data.subarray(8) } : f],
      came: 478,
    },
    {
      what: 'more values',
      answer: (f: Frame) => [f.kind === 'output' ? { ...f, data: new Uint8Array(4000) } : f],
      came: 1000,
    },
    { what: 'no output', answer: (f: Frame) => (f.kind === 'output' ? [] : [f]), came: 0 },
  ])('$what are not taken for an answer', async ({ answer, came }) => {
    const { runner, model } = await withChanged(answering(answer))
    const due = 10 * model.shape.width
    const error = await failure(rowsOf(runner, [sequenceFor(model, 20, 1)], 'all'))
    expect(error).toBeInstanceOf(DeviceError)
    expect(error.message).toBe(`device 1 (odd): ${came} values of rows came where ${due} were asked for`)
    await runner.dispose()
  })
})

describe.each(generators.slice(0, 1))('joining ($name)', subject => {
  test('a device with another model is refused, both digests named, and ended', async () => {
    const model = await load(subject)
    const other = await load(generators[1]!)
    const error = await failure(cluster(['local', memoryDevice(async () => other, 'stranger')]).runner(model))
    expect(error).toBeInstanceOf(DeviceError)
    expect(error.message).toContain('stranger holds another model')
    expect(error.message).toContain(other.digest.slice(0, 8))
    expect(error.message).toContain(model.digest.slice(0, 8))
    expect(() => other.engine.kernels).toThrow(/disposed/)
    expect(await tokensOf(aloneRunner(model), [sequenceFor(model, 5, 1)], { maxNewTokens: 2 })).toHaveLength(2)
    model.dispose()
  })

  test('a folder that a thread cannot read is the reason that it gives; those that joined before are ended', async () => {
    const folder = temporaryFolder()
    await cp(subject.location, folder, { recursive: true })
    const model = await load({ location: folder })
    await rm(folder, { recursive: true })
    const before = await load(subject)
    const error = await failure(
      cluster(['local', memoryDevice(async () => before), thread({ name: 'kitchen' })]).runner(model),
    )
    expect(error).toBeInstanceOf(DeviceError)
    expect(error.message).toBe(`kitchen could not join: ${folder} is not a folder (it does not exist)`)
    expect(() => before.engine.kernels).toThrow(/disposed/)
    model.dispose()
  })

  test('more threads than the machine has cores are the reason that a device gives', async () => {
    const model = await load(subject)
    const error = await failure(cluster(['local', thread({ name: 'crowd', threads: 10_000 })]).runner(model))
    expect(error).toBeInstanceOf(DeviceError)
    expect(error.message).toMatch(/^crowd could not join: createEngine: threads is 10000; this machine has /)
    model.dispose()
  })

  test('a device that computes with several threads gives the bits of one', async () => {
    const model = await load(subject)
    const runner = await cluster(['local', thread({ threads: 'auto' })]).runner(model)
    const { runner: inThread } = await inMemory(subject, 2)
    const sequence = sequenceFor(model, 20, 1)
    expect(bits(await rowsOf(runner, [sequence], 'all'))).toEqual(bits(await rowsOf(inThread, [sequence], 'all')))
    await runner.dispose()
    await inThread.dispose()
  })

  test('a thread that takes its links late is waited for', async () => {
    const model = await load(subject)
    const late = thread({ script: new URL('./late-thread.mjs', import.meta.url), name: 'late' })
    const runner = await cluster(['local', late, thread()]).runner(model)
    const sequence = sequenceFor(model, 20, 1)
    const { runner: inThread } = await inMemory(subject, 3)
    expect(bits(await rowsOf(runner, [sequence], 'all'))).toEqual(bits(await rowsOf(inThread, [sequence], 'all')))
    await runner.dispose()
    await inThread.dispose()
  })

  test('a script that is not there', async () => {
    const model = await load(subject)
    const script = new URL('./no-such-thread.mjs', import.meta.url)
    const error = await failure(cluster([thread({ script, name: 'attic' })]).runner(model))
    expect(error).toBeInstanceOf(DeviceError)
    expect(error.message).toMatch(/^attic could not join: it threw .*no-such-thread/)
    model.dispose()
  })

  test('a cluster of no devices, options that cannot be, and more devices than there are', async () => {
    expect(() => cluster([])).toThrow(PlanError)
    expect(() => cluster(['local'], { segments: 0 })).toThrow(/segments is 0/)
    expect(() => cluster(['local'], { weights: [1, 2] })).toThrow(/2 weights were given for 1 devices/)
    // As callers without types may give them.
    for (const [options, error] of [
      [{ weights: '12' }, /weights is "12", not a list of numbers/],
      [{ lost: null }, /lost is null, not \[device, layer\]/],
      [{ segmnts: 3 }, /there is no option "segmnts" \(strategy, /],
    ] as const) {
      expect(() => cluster(['local'], options as never)).toThrow(PlanError)
      expect(() => cluster(['local'], options as never)).toThrow(error)
    }
    const runner = await cluster(['local']).runner(await load(subject))
    expect(() => runner.with({}, 2)).toThrow(/devices is 2; this cluster has 1/)
    await runner.dispose()
  })

  test('after it was disposed a cluster says so', async () => {
    const { runner, models } = await inMemory(subject, 2)
    const sequence = sequenceFor(runner.model, 5, 1)
    const pending = failure(rowsOf(runner, [sequence], 'all'))
    await runner.dispose()
    expect((await pending).message).toMatch(/disposed/)
    for (const { engine } of models) expect(() => engine.kernels).toThrow(/disposed/)
    await expect(rowsOf(runner, [sequence], 'all')).rejects.toThrow(/disposed/)
  })
})
