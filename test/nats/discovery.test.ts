/** Workers announce themselves and are found: real processes and servers. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Msg, NatsConnection } from '@nats-io/nats-core'
import { DeviceError, Secret } from '@prismal/distribute'
import { type Announcement, announce, type Change, Directory, discover, subjectsOf } from '@prismal/distribute/nats'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { parseTold } from '../../packages/distribute/src/nats/announcement.js'
import { hasNatsServer } from '../nats-server.js'
import { RUNS } from '../runs.js'
import { afterwards, connected, spawned, started } from './opened.js'

const DIGEST = 'a'.repeat(64)
const model = (digest = DIGEST) => ({ name: 'vit', digest, dtype: 'f32', numericsClass: 'simd f32 12' })
const device = (id: string, more: Partial<Announcement> = {}): Announcement => ({
  id,
  name: `device ${id}`,
  addresses: [`ws://192.0.2.7:${7000 + id.length}`],
  models: [model()],
  gigaflops: 40,
  threads: 1,
  build: 'simd',
  sessions: 0,
  version: '0.1.0',
  ...more,
})

interface Settings {
  readonly device: Announcement
  readonly secret?: string
  readonly group?: string
  readonly heartbeatMs?: number
  readonly clockOffByMs?: number
}
/** A worker in a process of its own, once it announces itself. */
async function worker(url: string, settings: Settings): Promise<ChildProcess> {
  const child = spawned('announcing-worker.ts', url, settings)
  await once(child.stdout, 'data')
  return child
}

/** A directory whose changes can be waited for, one by one. */
function directoryOf(nc: NatsConnection, options = {}) {
  const changes: Change[] = []
  let wake = (): void => {}
  const directory = new Directory(nc, {
    ...options,
    changed: change => {
      changes.push(change)
      wake()
    },
  })
  afterwards(async () => directory.close())
  const next = async (): Promise<string> => {
    while (changes.length === 0)
      await new Promise<void>(resolve => {
        wake = resolve
      })
    const { kind, device } = changes.shift() as Change
    return `${device.id} ${kind}`
  }
  return { directory, next }
}

describe.skipIf(!hasNatsServer)('discovery', () => {
  it('finds workers that hold the model, the least busy first, then the fastest', async () => {
    const { url } = await started()
    await Promise.all([
      worker(url, { device: device('busy', { sessions: 2, gigaflops: 90 }) }),
      worker(url, { device: device('slow', { gigaflops: 10 }) }),
      worker(url, { device: device('fast', { gigaflops: 80, addresses: ['nats://_/prismal.default.device.fast'] }) }),
      worker(url, { device: device('other', { models: [model('b'.repeat(64))], name: 'laptop' }) }),
    ])
    const nc = await connected(url)
    const found = await discover(nc, { count: 3, digest: DIGEST })
    expect(found.map(d => d.id)).toEqual(['fast', 'slow', 'busy'])
    expect(found[0]).toEqual(device('fast', { gigaflops: 80, addresses: ['nats://_/prismal.default.device.fast'] }))
    expect((await discover(nc, { count: 1, digest: DIGEST, settleMs: 1000 })).map(d => d.id)).toEqual(['fast'])
    const failed = discover(nc, { count: 4, digest: DIGEST, timeoutMs: 1500 })
    await expect(failed).rejects.toThrow(DeviceError)
    await expect(failed).rejects.toThrow(
      '4 devices were wanted with the model sha256 aaaaaaaa…, and 3 found in group default within 1500 ms; ' +
        'laptop holds vit sha256 bbbbbbbb…, not sha256 aaaaaaaa…',
    )
  })

  it('goes on where its listener throws', async () => {
    const { url } = await started()
    const nc = await connected(url)
    const heard: string[] = []
    const logged = new Promise<string>(log => {
      const directory = new Directory(nc, {
        log,
        changed({ device: { id } }) {
          heard.push(id)
          if (heard.length === 1) throw new Error('planted')
        },
      })
      afterwards(async () => directory.close())
    })
    await worker(url, { device: device('first') })
    expect(await logged).toMatch(/planted/)
    await worker(url, { device: device('second') })
    await vi.waitUntil(() => heard.includes('second'), { timeout: 5000 })
  })

  it('waits for workers that are still starting', async () => {
    const { url } = await started()
    const nc = await connected(url)
    const found = discover(nc, { count: 1, digest: DIGEST, timeoutMs: 20_000 })
    await worker(url, { device: device('late') })
    expect((await found).map(d => d.id)).toEqual(['late'])
  })

  it('believes only what carries the MAC of the secret, whatever a clock says', async () => {
    const { url } = await started()
    const secret = Secret.create()
    await Promise.all([
      worker(url, { device: device('none') }),
      worker(url, { device: device('wrong'), secret: Secret.create().reveal() }),
      worker(url, { device: device('right'), secret: secret.reveal(), clockOffByMs: -3_600_000 }),
    ])
    const nc = await connected(url)
    const log: string[] = []
    const ask = { digest: DIGEST, secret, log: (m: string) => log.push(m) }
    expect((await discover(nc, { ...ask, count: 1 })).map(d => d.id)).toEqual(['right'])
    await expect(discover(nc, { ...ask, count: 2, timeoutMs: 1500 })).rejects.toThrow(/and 1 found/)
    expect(log).toContain('not believed that device none is there: it carries no MAC, and this side has a secret')
    expect(log).toContain('not believed that device wrong is there: its MAC is not of this secret')
    expect(log.join()).not.toContain(secret.reveal())
  })

  it('believes no announcement twice, none of another group or question, and none that was altered', {
    timeout: 15_000,
  }, async () => {
    const { url } = await started()
    const secret = Secret.create()
    const nc = await connected(url)
    const { here } = subjectsOf()
    const recorded: Msg[] = []
    let heard = (): void => {}
    const record = (_: unknown, message: Msg): void => {
      recorded.push(message)
      heard()
    }
    nc.subscribe(here, { callback: record })
    const spied = nc.subscribe('_INBOX.>', { callback: record })
    const log: string[] = []
    let noted = (): void => {}
    const note = (line: string): void => {
      log.push(line)
      noted()
    }
    const logged = async (line: string): Promise<void> => {
      while (!log.includes(line))
        await new Promise<void>(resolve => {
          noted = resolve
        })
    }
    const { next } = directoryOf(nc, { secret, log: note })
    const announcing = announce(await connected(url), () => device('a'), { secret, heartbeatMs: 60_000 })
    expect(await next()).toBe('a came')
    await nc.flush()
    const [heartbeat] = recorded as [Msg]
    await announcing.stop()
    expect(await next()).toBe('a left')

    // Whoever has not heard it yet believes a fresh heartbeat once, from whomever.
    const fresh = directoryOf(nc, { secret, log: note })
    const other = directoryOf(nc, { secret, group: 'other', log: (m: string) => note(`other: ${m}`) })
    nc.publish(subjectsOf('other').here, heartbeat.data)
    const text = new TextDecoder().decode(heartbeat.data)
    nc.publish(here, new TextEncoder().encode(text.replace('"gigaflops":40', '"gigaflops":90')))
    nc.publish(here, heartbeat.data)
    expect(await fresh.next()).toBe('a came')
    nc.publish(here, heartbeat.data)

    // An answer to one question is none to another.
    const late = announce(await connected(url), () => device('b'), { secret, heartbeatMs: 60_000 })
    expect(await fresh.next()).toBe('b came')
    recorded.length = 0
    fresh.directory.ask()
    while (!recorded.some(m => m.subject.startsWith('_INBOX.')))
      await new Promise<void>(resolve => {
        heard = resolve
      })
    const answer = recorded.find(m => m.subject.startsWith('_INBOX.')) as Msg
    nc.publish(here, answer.data)
    spied.unsubscribe()
    for (const line of [
      'other: not believed that device a is there: its MAC is not of this secret',
      'not believed that device a is there: its MAC is not of this secret',
      'not believed that device a is there: it is a repetition',
      'not believed that device b is there: it answers another question',
    ])
      await logged(line)
    await late.stop()
    expect(await fresh.next()).toBe('b left')
    expect([await next(), await next()]).toEqual(['b came', 'b left'])
    expect(other.directory.devices).toEqual([])
  })

  it('tells of devices that come, leave, and are lost', async () => {
    const { url } = await started()
    const nc = await connected(url)
    const { directory, next } = directoryOf(nc)
    const leaves = await worker(url, { device: device('leaves'), heartbeatMs: 500 })
    expect(await next()).toBe('leaves came')
    const dies = await worker(url, { device: device('dies'), heartbeatMs: 500 })
    expect(await next()).toBe('dies came')
    leaves.kill('SIGTERM')
    expect(await next()).toBe('leaves left')
    expect((await once(leaves, 'exit'))[0]).toBe(0)
    dies.kill('SIGKILL')
    expect(await next()).toBe('dies lost')
    expect(directory.devices).toEqual([])
  })

  it('finds workers again after the server was killed and started anew', async () => {
    const server = await started()
    await Promise.all(['a', 'b'].map(id => worker(server.url, { device: device(id), heartbeatMs: 500 })))
    const nc = await connected(server.url)
    expect(await discover(nc, { count: 2, digest: DIGEST })).toHaveLength(2)
    await server.kill()
    // From here on: a heartbeat before it would make them known, and lost while the server is away.
    const { next } = directoryOf(nc)
    await started({ port: server.port })
    expect([await next(), await next()].sort()).toEqual(['a came', 'b came'])
    expect((await discover(nc, { count: 2, digest: DIGEST, timeoutMs: 20_000 })).map(d => d.id)).toEqual(['a', 'b'])
  })

  it('keeps groups apart', async () => {
    const { url } = await started()
    await worker(url, { device: device('a'), group: 'red' })
    const nc = await connected(url)
    const seen: string[] = []
    nc.subscribe('prismal.blue.>', { callback: (_, m) => void seen.push(m.subject) })
    expect(await discover(nc, { count: 1, digest: DIGEST, group: 'red' })).toHaveLength(1)
    await expect(discover(nc, { count: 1, digest: DIGEST, group: 'blue', timeoutMs: 300 })).rejects.toThrow(
      /0 found in group blue/,
    )
    expect(seen).toEqual(['prismal.blue.who'])
    await expect(discover(nc, { count: 1, digest: DIGEST, group: 'a.>' })).rejects.toThrow(/group is "a.>"/)
  })

  it('ends with the signal', async () => {
    const nc = await connected((await started()).url)
    const abort = new AbortController()
    const found = discover(nc, { count: 1, digest: DIGEST, signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(found).rejects.toThrow('enough')
  })
})

describe('an announcement', () => {
  const told = { kind: 'here', time: 1, heartbeatMs: 3000, device: device('a') }
  const read = (value: unknown) => parseTold(new TextEncoder().encode(JSON.stringify(value)))

  it('is read as it was told', () => expect(read(told)).toEqual(told))

  it('is refused where a field cannot be, and never breaks the reader', () => {
    expect(read({ ...told, device: { ...told.device, name: 'a\u001b[2J' } })).toBe('its name cannot be')
    expect(read({ ...told, device: { ...told.device, models: [{}] } })).toBe('its models cannot be')
    expect(read({ ...told, heartbeatMs: 1e9 })).toBe('its heartbeatMs cannot be')
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(told.device)), fc.jsonValue(), (field, value) => {
        const result = read({ ...told, device: { ...told.device, [field]: value } })
        if (typeof result === 'object') expect(typeof result.device.name).toBe('string')
        else expect(result).toBe(`its ${field} cannot be`)
      }),
      { numRuns: RUNS },
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
        expect(typeof parseTold(bytes)).toBe('string')
      }),
      { numRuns: RUNS },
    )
  })
})
