/** Devices in processes of their own, joined at their addresses: answers, refusals, and what stays when one side goes. */
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  cluster,
  DeviceError,
  type RemoteOptions,
  remote,
  type SharedRunner,
  type SharingOptions,
} from '@prismal/distribute'
import { host } from '@prismal/distribute/host'
import type { Part } from '@prismal/models'
import { MemoryError } from '@prismal/tensor'
import { build } from 'esbuild'
import { describe, expect, test } from 'vitest'
import { bits } from '../compare.js'
import {
  bitsOfTokens,
  families,
  generators,
  inMemory,
  load,
  rowsOf,
  sequenceFor,
  tokensOf,
} from '../distribution/subjects.js'
import { runProgram } from '../pipeline/ended-process.js'
import { CLI, prismal, type Running, start } from '../prismal-command.js'
import { temporaryFolder } from '../temporary-folder.js'
import { startWorker } from './worker-process.js'

const [subject] = families
const VIT = 'models/vit-cifar10'
const PLANE = 'examples/images/plane.png'

/** A port that nothing listens at. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

/** This device and those at the addresses. */
const joined = async (
  of: (typeof families)[number],
  addresses: readonly string[],
  options: SharingOptions = {},
  remoteOptions: RemoteOptions = {},
): Promise<SharedRunner> =>
  cluster(['local', ...addresses.map(a => remote(a, remoteOptions))], options).runner(await load(of))

describe.each(generators)('$name over web-sockets', of => {
  test.each(['means', 'full'] as const)(
    'generates what devices within one thread generate, handoff %s',
    async handoff => {
      const workers = await Promise.all([1, 2].map(() => startWorker('--model', of.location)))
      const far = await joined(
        of,
        workers.map(w => w.address),
        { handoff },
      )
      const { runner: near } = await inMemory(of, 3)
      try {
        const prompts = [sequenceFor(far.model, 20, 1), sequenceFor(far.model, 7, 2), sequenceFor(far.model, 2, 3)]
        const options = { maxNewTokens: 8, sampling: { temperature: 0.9, seed: 5 } }
        const want = await tokensOf(near.with({ handoff }), prompts, options)
        expect(bitsOfTokens(await tokensOf(far, prompts, options))).toEqual(bitsOfTokens(want))
      } finally {
        await far.dispose()
        await near.dispose()
      }
    },
  )
})

describe.skipIf(!subject)('a worker', () => {
  const of = subject as (typeof families)[number]

  test('serves coordinators one after another and at the same time', async () => {
    const worker = await startWorker('--model', of.location)
    const want = await (async () => {
      const { runner } = await inMemory(of, 2)
      const rows = await rowsOf(runner, [sequenceFor(runner.model, 20, 1)], 'all')
      await runner.dispose()
      return bits(rows)
    })()
    for (let round = 0; round < 2; round++) {
      const runners = await Promise.all([1, 2, 3].map(() => joined(of, [worker.address])))
      const answers = await Promise.all(runners.map(r => rowsOf(r, [sequenceFor(r.model, 20, 1)], 'all')))
      for (const answer of answers) expect(bits(answer)).toEqual(want)
      await Promise.all(runners.map(r => r.dispose()))
    }
  })

  test('is joined while another coordinator of the same process leaves', async () => {
    const worker = await startWorker('--model', of.location)
    let before = await joined(of, [worker.address])
    for (let round = 0; round < 5; round++) {
      const [next, brief] = await Promise.all([
        joined(of, [worker.address]),
        joined(of, [worker.address]).then(runner => runner.dispose()),
        before.dispose(),
      ])
      expect(brief).toBeUndefined()
      expect((await rowsOf(next, [sequenceFor(next.model, 20, 1)], 'all')).length).toBe(20 * next.model.shape.width)
      before = next
    }
    await before.dispose()
  })

  test('that is killed fails the request, which names it; the others serve on', async () => {
    const [doomed, sound] = await Promise.all([1, 2].map(() => startWorker('--model', of.location)))
    const runner = await joined(of, [doomed!.address, sound!.address])
    const sequence = sequenceFor(runner.model, 30, 1)
    await rowsOf(runner, [sequence], 'all')
    await doomed!.end('SIGKILL')
    const error = await rowsOf(runner, [sequence], 'all').catch((e: Error) => e)
    expect(error).toBeInstanceOf(DeviceError)
    expect((error as Error).message).toContain(`device 1 (${doomed!.address})`)
    await runner.dispose()
    const again = await joined(of, [sound!.address])
    expect((await rowsOf(again, [sequence], 'all')).length).toBe(30 * again.model.shape.width)
    await again.dispose()
  })

  test('of another model is refused, naming both', async () => {
    const other = families.find(f => f !== of) as (typeof families)[number]
    const worker = await startWorker('--model', other.location)
    const error = await joined(of, [worker.address]).catch((e: Error) => e)
    expect(error).toBeInstanceOf(DeviceError)
    expect((error as Error).message).toMatch(
      /^ws:\/\/127\.0\.0\.1:\d+ holds vit-odd sha256 [\da-f]{8}…, the coordinator bert-classify sha256 [\da-f]{8}…: /,
    )
    await worker.until(/refused 127\.0\.0\.1:\d+: /)
  })

  test('of another model is refused over data channels without ending the process', async () => {
    const worker = await startWorker('--model', of.location, '--listen', 'rtc+ws://127.0.0.1:0')
    // A thread that has used node-datachannel and is terminated ends its process more often than not.
    for (let round = 0; round < 4; round++) {
      const args = ['image-classification', PLANE, '--model', VIT, '--device', 'local', '--device', worker.address]
      const { code, err } = await prismal('run', ...args)
      expect(err).toMatch(/ holds bert-classify sha256 [\da-f]{8}…, the coordinator vit-cifar10 sha256 /)
      expect(code).toBe(1)
    }
  })

  test('of another numerics class is refused, naming both, or taken where that is said', async () => {
    const worker = await startWorker('--model', of.location, '--backend', 'simd', '--dtype', 'q8')
    const error = await joined(of, [worker.address]).catch((e: Error) => e)
    expect(error).toBeInstanceOf(DeviceError)
    expect((error as Error).message).toMatch(/computes as \S*q8\S*, the coordinator as \S*f32/)
    const runner = await joined(of, [worker.address], {}, { mixed: true })
    const request = runner.begin()
    await request.rows([sequenceFor(runner.model, 20, 1)], 'all')
    expect(request.report().deviations.join()).toMatch(/device 1 \(.+\) computes as .+: equivalent, not identical/)
    request.end()
    await runner.dispose()
  })

  test('whose memory does not suffice is told before anything is sent', async () => {
    const limit = 1_000_000
    const worker = await startWorker('--model', VIT, '--memory-limit', '20MB')
    await worker.end()
    const small = await startWorker('--model', of.location, '--memory-limit', String(limit))
    const runner = await joined(of, [small.address], { strategy: 'full' })
    const batch = Array.from({ length: 60 }, (_, seed) => sequenceFor(runner.model, 40, seed))
    const error = await rowsOf(runner, batch, 'all').catch((e: Error) => e)
    expect(error).toBeInstanceOf(MemoryError)
    expect((error as Error).message).toMatch(
      /^device 1 \(ws:.+\) needs \d+ bytes for this request and may use 1000000: /,
    )
    expect((await rowsOf(runner, batch.slice(0, 1), 'all')).length).toBe(40 * runner.model.shape.width)
    await runner.dispose()
  })
})

test.skipIf(!subject)('options that must be the same are compared, naming both', async () => {
  const of = subject as (typeof families)[number]
  const device = await host({ model: of.location, listen: ['ws://127.0.0.1:0'], windowBytes: 2 ** 20 })
  const error = await joined(of, device.addresses).catch((e: Error) => e)
  expect(error).toBeInstanceOf(DeviceError)
  expect((error as Error).message).toMatch(/ lets 1048576 bytes be on their way, the dialling side 8388608: /)
  const runner = await joined(of, device.addresses, {}, { windowBytes: 2 ** 20 })
  expect((await rowsOf(runner, [sequenceFor(runner.model, 20, 1)], 'first')).length).toBe(runner.model.shape.width)
  await runner.dispose()
  await device.close()
})

test.skipIf(!subject)('a transport of one’s own serves both sides', async () => {
  const of = subject as (typeof families)[number]
  const folder = temporaryFolder()
  const outfile = join(folder, 'tcp-transport.mjs')
  // As whoever writes one compiles it: threads import JavaScript.
  await build({
    entryPoints: ['examples/own-transport/tcp-transport.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
  })
  const transport = pathToFileURL(outfile).href
  const device = await host({ model: of.location, listen: ['tcp://127.0.0.1:0'], transport })
  const runner = await joined(of, device.addresses, {}, { transport })
  const { runner: near } = await inMemory(of, 2)
  const sequence = sequenceFor(runner.model, 20, 1)
  try {
    expect(bits(await rowsOf(runner, [sequence], 'all'))).toEqual(bits(await rowsOf(near, [sequence], 'all')))
  } finally {
    await runner.dispose()
    await near.dispose()
    await device.close()
  }
})

describe.skipIf(!subject)('a device that is still loading its model', () => {
  const of = subject as (typeof families)[number]

  test('is joined once it has', async () => {
    const listen = `ws://127.0.0.1:${await freePort()}`
    const starting = host({ model: of.location, listen: [listen] })
    let runner: SharedRunner | undefined
    while (!runner)
      runner = await joined(of, [listen]).catch(error => {
        if (/ECONNREFUSED/.test(error.message)) return undefined
        throw error
      })
    expect(await rowsOf(runner, [sequenceFor(runner.model, 20, 1)], 'first')).toHaveLength(runner.model.shape.width)
    await runner.dispose()
    await (await starting).close()
  })

  test.each([true, false])('is given up when a signal aborts (sockets on a thread: %s)', async networkThread => {
    let fetched = (): void => {}
    const asked = new Promise<void>(resolve => {
      fetched = resolve
    })
    const fetch = (): Promise<string> => {
      fetched()
      return new Promise(() => {})
    }
    const device = await host({ name: 'late', listen: ['ws://127.0.0.1:0'], fetch })
    for (const way of ['the device', 'the cluster'] as const) {
      const controller = new AbortController()
      const { signal } = controller
      const source = remote(device.addresses, { networkThread, ...(way === 'the device' && { signal }) })
      const joining = cluster([source]).runner(await load(of), way === 'the cluster' ? { signal } : {})
      const rejected = expect(joining).rejects.toBe('too late')
      await asked
      controller.abort('too late')
      await rejected
    }
    await device.close()
  })

  test('and is closed leaves nothing behind that keeps its process', async () => {
    const { out, err, code } = await runProgram(`
      import { cluster, remote } from 'prismal/distribute'
      import { host } from 'prismal/host'
      import { loadModel } from 'prismal/models'
      import { openFiles } from '@prismal/models/node'
      import { createEngine } from 'prismal/tensor'
      const location = ${JSON.stringify(of.location)}
      const model = await loadModel(await openFiles(location), { engine: await createEngine(), warn() {} })
      let fetched
      const asked = new Promise(resolve => { fetched = resolve })
      const fetch = async () => { fetched(); return location }
      const device = await host({ name: 'late', listen: ['ws://127.0.0.1:0'], fetch })
      const joining = cluster([remote(device.addresses[0])]).runner(model).catch(({ message }) => console.log(message))
      await asked
      await device.close('enough')
      await joining
      model.dispose()`)
    expect({ err, code }).toEqual({ err: '', code: 0 })
    expect(out).toMatch(/enough|closed/)
  })
})

test.each([
  ['a thread', ''],
  ['a device elsewhere', "const device = await host({ model, listen: ['ws://127.0.0.1:0'] })"],
])('a pipeline that fails after %s has joined lets it go', async (_, elsewhere) => {
  const { out, err, code } = await runProgram(`
    import { pipeline } from 'prismal'
    import { cluster, remote, thread } from 'prismal/distribute'
    import { host } from 'prismal/host'
    const model = 'models/vit-cifar10'
    ${elsewhere}
    const devices = cluster(['local', ${elsewhere ? 'remote(device.addresses[0])' : 'thread()'}])
    await pipeline('text-generation', model, { devices }).catch(({ name }) => console.log(name))
    ${elsewhere ? 'await device.close()' : ''}`)
  expect({ out, err, code }).toEqual({ out: 'ModelError\n', err: '', code: 0 })
})

describe.skipIf(!subject)('while a device computes', () => {
  const of = subject as (typeof families)[number]
  /** Silence after which a side counts as gone: less than a request takes. */
  const limits = { heartbeatMs: 100, silenceMs: 1000 }

  test('its signs of life go on, and an abort reaches it', async () => {
    const options = { model: of.location, listen: ['ws://127.0.0.1:0'], ...limits }
    const device = start(process.execPath, [
      ...['--no-warnings', '--input-type=module', '--eval'],
      `import { host } from 'prismal/host'; console.log('at', ...(await host(${JSON.stringify(options)})).addresses)`,
    ])
    const [, address = ''] = await device.until(/^at (\S+)/m)
    // All rows are the other device's, and this thread only waits.
    const runner = await joined(of, [address], { strategy: 'whole', weights: [0, 1] }, limits)
    try {
      let batch: Part[] = []
      for (let took = 0, size = 1000; took < 1.5 * limits.silenceMs; size *= 2) {
        batch = Array.from({ length: size }, (_, seed) => sequenceFor(runner.model, of.rows.max, seed))
        const request = runner.begin()
        await request.rows(batch, 'first')
        took = request.report().devices[1]?.milliseconds as number
        request.end()
      }
      const controller = new AbortController()
      const aborted = runner.begin(controller.signal)
      const rows = aborted.rows(batch, 'first')
      controller.abort(new Error('enough'))
      await expect(rows).rejects.toThrow('enough')
      aborted.end()
      // The device has stopped: the next request is the only one that it computes.
      const request = runner.begin()
      await request.rows(batch.slice(0, 1), 'first')
      expect(request.report().devices[1]?.milliseconds).toBeLessThan(limits.silenceMs)
      request.end()
    } finally {
      await runner.dispose()
    }
  })
})

test.each(['ws', 'rtc+ws'])('a worker whose coordinator was killed serves others and ends (%s)', async scheme => {
  const worker = await startWorker('--model', 'models/gpt2-chronicle', '--listen', `${scheme}://127.0.0.1:0`)
  const generate = (tokens: number): Running => {
    const args = ['text-generation', 'And it came to pass', '--max-new-tokens', String(tokens)]
    return start(process.execPath, [CLI, 'run', ...args, '--device', 'local', worker.address])
  }
  const doomed = generate(400)
  await doomed.until(/And it came to pass\S* \S+ \S+/) // the worker decodes
  await doomed.end('SIGKILL')
  expect(await generate(4).ended).toMatchObject({ code: 0, err: '' })
  expect(await worker.end()).toMatchObject({ code: 0 })
})

describe('prismal worker', () => {
  test('refuses weights that do not fit its memory', async () => {
    const { code, err, out } = await prismal(
      'worker',
      '--model',
      VIT,
      '--memory-limit',
      '1MB',
      '--listen',
      'ws://127.0.0.1:0',
    )
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toMatch(/memory|limit/)
  })

  test('refuses to be open to other machines without a secret', async () => {
    const { code, err, out } = await prismal('worker', '--model', VIT, '--listen', 'ws://0.0.0.0:0')
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toMatch(/^ws:\/\/0\.0\.0\.0:0 is not on this machine alone.+prismal secret/)
  })

  test('names a port that is in use', async () => {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const { code, err, out } = await prismal('worker', '--model', VIT, '--listen', `ws://127.0.0.1:${port}`)
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toContain(`ws://127.0.0.1:${port}`)
    expect(err).toMatch(/in use/)
    await new Promise(resolve => server.close(resolve))
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('ends by %s', async signal => {
    const worker = await startWorker('--model', VIT)
    expect(await worker.end(signal)).toMatchObject({ code: 0, err: '' })
  })
})

describe('prismal run --device', () => {
  test('shares with workers', async () => {
    const workers = await Promise.all([1, 2].map(() => startWorker('--model', VIT)))
    const [a, b] = workers.map(w => w.address) as [string, string]
    const run = (...flags: string[]) => prismal('run', 'image-classification', PLANE, '--json', ...flags)
    const here = JSON.parse((await run('--devices', '2', '--segments', '8')).out)
    const there = await run('--device', 'local', a, '--segments', '8')
    expect(there).toMatchObject({ code: 0, err: '' })
    expect(JSON.parse(there.out).output).toEqual(here.output)
    // Nothing of it is computed by the process that was asked, but the head.
    const elsewhere = await run('--device', a, '--device', b, '--segments', '8')
    expect(elsewhere).toMatchObject({ code: 0, err: '' })
    const { output, report } = JSON.parse(elsewhere.out)
    expect(output).toEqual(here.output)
    expect(report.devices.map((d: { device: string }) => d.device)).toEqual([a, b, 'coordinator'])
    expect(report.deviations).toEqual([])
  })

  test('streams a text that was started on one device and goes on on another', async () => {
    const worker = await startWorker('--model', 'models/gpt2-chronicle')
    const run = (...flags: string[]) =>
      prismal('run', 'text-generation', 'And it came to pass', '--max-new-tokens', '12', ...flags)
    const near = await run('--devices', '2')
    const far = await run('--device', 'local', '--device', worker.address)
    expect(far).toMatchObject({ code: 0, err: '' })
    expect(far.out.split('\n')[0]).toBe(near.out.split('\n')[0])
  })

  test('names an address that does not answer, within its time', async () => {
    const server = createServer(socket => void socket.resume()) // takes connections, and says nothing
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const silent = await prismal(
      ...[
        'run',
        'image-classification',
        PLANE,
        '--device',
        'local',
        `ws://127.0.0.1:${port}`,
        '--connect-timeout',
        '0.5',
      ],
    )
    expect({ code: silent.code, out: silent.out }).toEqual({ code: 1, out: '' })
    expect(silent.err).toContain(`ws://127.0.0.1:${port}`)
    expect(silent.err).toMatch(/500 ms|0\.5 s/)
    await new Promise(resolve => server.close(resolve))
    const absent = await prismal('run', 'image-classification', PLANE, '--device', 'local', `ws://127.0.0.1:${port}`)
    expect({ code: absent.code, out: absent.out }).toEqual({ code: 1, out: '' })
    expect(absent.err).toContain(`ws://127.0.0.1:${port}`)
    expect(absent.err).toMatch(/nothing listens there/)
  })

  test.each([
    [['--device', 'local', '--device', 'local'], /local was given twice/],
    [['--device', 'local', '--devices', '3'], /--devices is 3, but 1/],
    [['--device', 'local', 'gopher://x'], /no transport has the scheme gopher/],
    [['--device', 'local', 'nonsense'], /not an address/],
    [['--device', 'local', 'ws://192.0.2.7:7040'], /share a secret/],
    [['--nats', 'nats://127.0.0.1:4222'], /say how many with --devices/],
  ])('%j is refused', async (flags, message) => {
    const { code, err, out } = await prismal('run', 'image-classification', PLANE, ...flags)
    expect(code).toBeGreaterThan(0)
    expect(out).toBe('')
    expect(err).toMatch(message)
  })
})
