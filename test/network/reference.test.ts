/** The distributed reference cases over every transport, each device in a process of its own; and the bits that come of it. */
import { join } from 'node:path'
import { cluster, remote } from '@prismal/distribute'
import { availableBuilds } from '@prismal/tensor'
import { type SharedWay, verifyFolder, WAYS } from 'prismal'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bits } from '../compare.js'
import { families, inMemory, load, rowsOf, sequenceFor, subjects } from '../distribution/subjects.js'
import { hasNatsServer, type NatsServer, natsServer } from '../nats-server.js'
import { sharedFolder } from '../shared-folder.js'
import { startWorker } from './worker-process.js'

const reference = sharedFolder('reference')
/** The fastest build that this runtime has: the others are held to the same cases within one process. */
const [build = 'simd'] = availableBuilds()

let server: NatsServer | undefined
beforeAll(async () => {
  if (hasNatsServer) server = await natsServer()
})
afterAll(() => server?.stop())

const ways = WAYS.filter(way => way !== 'memory' && way !== 'message-port' && (way !== 'nats' || hasNatsServer))
const listenAt: { readonly [W in SharedWay]?: () => string } = {
  'web-socket': () => 'ws://127.0.0.1:0',
  'web-rtc': () => 'rtc+ws://127.0.0.1:0',
  nats: () => `${server?.url}/prismal.test.device.${crypto.randomUUID()}`,
}

describe.skipIf(!reference).each(ways)('over %s', way => {
  test.each(subjects)('$name gives its reference results', async ({ name }) => {
    const folder = join(reference as string, name)
    const options = { builds: [build], precisions: ['f32' as const], threads: [1], ways: [way] }
    const failed: string[] = []
    let cases = 0
    for await (const result of verifyFolder(folder, { ...options, ...(server && { nats: server.url }) })) {
      if (result.way === way) cases++
      if (result.failure) failed.push(`${result.name}, ${result.way}: ${result.failure}`)
    }
    expect(failed).toEqual([])
    expect(cases).toBeGreaterThan(12)
  })

  test.each(families)('$name has the bits that devices within one thread give', async of => {
    const workers = await Promise.all(
      [1, 2].map(() => startWorker('--model', of.location, '--listen', (listenAt[way] as () => string)())),
    )
    const far = await cluster(['local', ...workers.map(w => remote(w.address))]).runner(await load(of))
    const { runner: near } = await inMemory(of, 3)
    try {
      const batch = [sequenceFor(far.model, of.rows.max, 1), sequenceFor(far.model, of.rows.max, 2)]
      for (const strategy of ['means', 'full', 'whole', 'isolated'] as const)
        for (const wire of ['f32', 'f16', 'int8'] as const) {
          const options = { strategy, wire, segments: 3 }
          const want = await rowsOf(near.with(options), batch, 'all')
          expect(bits(await rowsOf(far.with(options), batch, 'all'))).toEqual(bits(want))
        }
      const request = far.begin()
      await request.rows(batch, 'all')
      expect(request.report().deviations).toEqual([])
      request.end()
    } finally {
      await far.dispose()
      await near.dispose()
    }
    for (const worker of workers) expect(await worker.end()).toMatchObject({ code: 0, err: '' })
  })
})
