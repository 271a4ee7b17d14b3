/** Requests that groups of devices share: real servers, each group a process. */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { DeviceError, HandshakeError, Secret } from '@prismal/distribute'
import { ask } from '@prismal/distribute/nats'
import { PrismalError } from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sealer } from '../../packages/distribute/src/nats/keys.js'
import { inOrder, numbered, packRequest, unpackRequest } from '../../packages/distribute/src/nats/requests.js'
import { hasNatsServer } from '../nats-server.js'
import { RUNS } from '../runs.js'
import { connected, spawned, started } from './opened.js'

interface Group {
  readonly child: ChildProcess
  /** Resolves once the group has said a line that begins so. */
  said(what: string): Promise<string>
}
async function group(url: string, settings: object): Promise<Group> {
  const child = spawned('serving-group.ts', url, settings)
  const lines: string[] = []
  const waiting = new Set<() => void>()
  createInterface({ input: child.stdout }).on('line', line => {
    lines.push(line)
    for (const look of waiting) look()
  })
  const said = (what: string): Promise<string> =>
    new Promise(resolve => {
      const look = (): void => {
        const line = lines.find(l => l.startsWith(what))
        if (line === undefined) return
        waiting.delete(look)
        resolve(line)
      }
      waiting.add(look)
      look()
    })
  await said('ready')
  return { child, said }
}

interface Answer {
  readonly name: string
  readonly inputs: readonly unknown[]
  readonly text?: string
}

describe.skipIf(!hasNatsServer)('requests', () => {
  it('spread over the groups that serve them, each answered once and by one', async () => {
    const { url } = await started()
    const groups = await Promise.all(['a', 'b'].map(name => group(url, { name })))
    const nc = await connected(url)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => ask<Answer>(nc, 'test', { inputs: [`input ${i}`] })),
    )
    expect(answers.map(({ result }) => result.inputs)).toEqual(Array.from({ length: 20 }, (_, i) => [`input ${i}`]))
    expect(answers.every(({ by, result }) => by === result.name)).toBe(true)
    const by = answers.map(a => a.by).sort()
    expect(new Set(by)).toEqual(new Set(['a', 'b']))
    for (const { child } of groups) child.kill('SIGTERM')
    const answered = await Promise.all(groups.map(g => g.said('answered')))
    expect(answered.map(line => Number(line.split(' ')[1])).reduce((sum, n) => sum + n, 0)).toBe(20)
  })

  it('lose nothing but the time when a group dies: another answers what it had taken', async () => {
    const { url } = await started()
    const a = await group(url, { name: 'a' })
    const nc = await connected(url)
    const abort = new AbortController()
    const request = { inputs: ['first'], options: { hang: true } }
    const hanging = ask<Answer>(nc, 'test', request, { silenceMs: 2000, signal: abort.signal })
    hanging.catch(() => {})
    await a.said('took first')
    const b = await group(url, { name: 'b' })
    const others = await Promise.all(
      Array.from({ length: 5 }, (_, i) => ask<Answer>(nc, 'test', { inputs: [`other ${i}`] })),
    )
    expect(others.map(o => o.by)).toEqual(Array(5).fill('b'))
    a.child.kill('SIGKILL')
    await b.said('took first')
    // It hangs there too, until nobody waits any more.
    abort.abort(new Error('enough'))
    await expect(hanging).rejects.toThrow('enough')
    await b.said('aborted')
    expect((await ask<Answer>(nc, 'test', { inputs: ['again'] })).by).toBe('b')
  })

  it('of which text was told are not asked again', async () => {
    const { url } = await started()
    const a = await group(url, { name: 'a' })
    const nc = await connected(url)
    let told = (_: string): void => {}
    const piece = new Promise<string>(resolve => {
      told = resolve
    })
    const request = { inputs: ['x'], options: { say: 'Once upon', hang: true } }
    const hanging = ask(nc, 'test', request, { silenceMs: 1500, onPiece: text => told(text) })
    hanging.catch(() => {})
    expect(await piece).toBe('Once upon')
    a.child.kill('SIGKILL')
    await expect(hanging).rejects.toThrow('a, which had taken the request, is gone: it said nothing for 1500 ms')
  })

  it('wait while a group is busy, and go to the next that has room', async () => {
    const { url } = await started()
    const a = await group(url, { name: 'a' })
    const nc = await connected(url)
    const abort = new AbortController()
    const hanging = ask(nc, 'test', { inputs: ['first'], options: { hang: true } }, { signal: abort.signal })
    hanging.catch(() => {})
    await a.said('took first')
    await expect(ask(nc, 'test', { inputs: ['x'] }, { timeoutMs: 1500 })).rejects.toThrow('all that serve it are busy')
    const second = ask<Answer>(nc, 'test', { inputs: ['second'] })
    abort.abort(new Error('enough'))
    await expect(hanging).rejects.toThrow('enough')
    await a.said('aborted')
    expect((await second).by).toBe('a')
  })

  it('end with the error of the group, by its code', async () => {
    const { url } = await started()
    await group(url, { name: 'a' })
    const failed = ask(await connected(url), 'test', { inputs: ['x'], options: { fail: 'no such thing' } })
    await expect(failed).rejects.toThrow(PrismalError)
    await expect(failed).rejects.toMatchObject({ code: 'bad-input', message: 'no such thing' })
  })

  it('say that nobody serves a task', async () => {
    const { url } = await started()
    await group(url, { name: 'a', group: 'other' })
    const failed = ask(await connected(url), 'test', { inputs: ['x'] }, { appearMs: 300 })
    await expect(failed).rejects.toThrow(DeviceError)
    await expect(failed).rejects.toThrow(/nobody serves test in group default/)
  })

  it('are sealed by a secret, which both sides must have', async () => {
    const { url } = await started()
    const secret = Secret.create()
    await group(url, { name: 'a', secret: secret.reveal() })
    await group(url, { name: 'plain', group: 'plain' })
    const nc = await connected(url)
    const seen: Uint8Array[] = []
    nc.subscribe('>', { callback: (_, message) => void seen.push(message.data) })
    const request = { inputs: ['a private text'], options: { say: 'a private piece' } }
    const pieces: string[] = []
    const { result } = await ask<Answer>(nc, 'test', request, { secret, onPiece: text => pieces.push(text) })
    expect(result.inputs).toEqual(['a private text'])
    expect(pieces).toEqual(['a private piece'])
    expect(seen.length).toBeGreaterThan(3)
    expect(Buffer.concat(seen).includes('private')).toBe(false)
    await expect(ask(nc, 'test', request)).rejects.toThrow(HandshakeError)
    await expect(ask(nc, 'test', request)).rejects.toThrow('it is sealed with a secret, and this side has none')
    await expect(ask(nc, 'test', request, { secret: Secret.create() })).rejects.toThrow(/sealed with another secret/)
    await expect(ask(nc, 'test', request, { secret, group: 'plain' })).rejects.toThrow(
      'it is not sealed, and this side has a secret',
    )
    expect((await ask<Answer>(nc, 'test', request, { group: 'plain' })).by).toBe('plain')
  })

  it('carry inputs and answers that are longer than a message', async () => {
    const { url } = await started({ jetStream: true })
    const secret = Secret.create()
    await group(url, { name: 'a', secret: secret.reveal() })
    const nc = await connected(url)
    const image = new Uint8Array(3_000_000).fill(7)
    image[2_999_999] = 9
    const { result } = await ask<Answer>(nc, 'test', { inputs: ['text', image] }, { secret })
    expect(result.inputs).toEqual(['text', [3_000_000, 7, 9]])
    const long = await ask<Answer>(nc, 'test', { inputs: ['x'], options: { long: 5_000_000 } }, { secret })
    expect(long.result.text).toHaveLength(5_000_000)
    await expect(ask(nc, 'test', { inputs: [new Uint8Array(65 << 20)] }, { secret })).rejects.toThrow(/a request takes/)
  })

  it('say what long inputs need where the server has no store', async () => {
    const { url } = await started()
    await group(url, { name: 'a' })
    const failed = ask(await connected(url), 'test', { inputs: [new Uint8Array(2_000_000)] })
    await expect(failed).rejects.toThrow(/without JetStream.*nats-server -js/)
  })
})

describe('what is sealed', () => {
  // Its source and the build have a class each.
  const REFUSED = { code: 'handshake' }

  it('opens in its place only, and as it was', async () => {
    const secret = Secret.create()
    const [ours, other] = [sealer(secret, 'request a'), sealer(secret, 'request b')]
    const text = new TextEncoder().encode('a private text')
    const sealed = await ours.seal('reply 1 0', text)
    expect(await ours.open('reply 1 0', sealed)).toEqual(text)
    await expect(ours.open('reply 1 1', sealed)).rejects.toMatchObject(REFUSED)
    await expect(other.open('reply 1 0', sealed)).rejects.toMatchObject(REFUSED)
    for (const at of sealed.keys()) {
      const altered = sealed.slice()
      altered[at] = (altered[at] as number) ^ 1
      await expect(ours.open('reply 1 0', altered), String(at)).rejects.toMatchObject(REFUSED)
    }
    expect(Buffer.compare(await ours.seal('reply 1 0', text), sealed)).not.toBe(0)
  })

  it('is missed where a reply was lost', () => {
    const reply = numbered(3, new Uint8Array([7]))
    expect(inOrder(reply, 3)).toEqual(new Uint8Array([7]))
    expect(() => inOrder(reply, 2)).toThrow('reply 3 came where 2 was due: one was lost')
    expect(() => inOrder(new Uint8Array(2), 0)).toThrow(/one was lost/)
  })
})

describe('a request on its way', () => {
  it('is read as it was packed, and never breaks the reader', () => {
    const input = fc.oneof(fc.string(), fc.uint8Array())
    fc.assert(
      fc.property(fc.array(input), fc.array(fc.tuple(fc.nat(), fc.nat(255))), (inputs, changes) => {
        const bytes = packRequest({ inputs })
        expect(unpackRequest(bytes).inputs).toEqual(inputs)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        try {
          expect(Array.isArray(unpackRequest(bytes).inputs)).toBe(true)
        } catch (error) {
          expect((error as PrismalError).code).toBe('connection')
        }
      }),
      { numRuns: RUNS },
    )
  })
})
