/** What every transport has to do, once `reliable()` stands above it. One suite; what it runs over is in subjects.ts. */

import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type Connection, ConnectionError, reliable } from '@prismal/distribute'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Listening, type Subject, subjects } from './subjects.js'

const MIB = 2 ** 20
/** Silence is noticed soon, so that tests need not wait; a busy machine answers within it. */
const QUICK = { heartbeatMs: 100, silenceMs: 1000 }

/** Bytes to cut messages from, so that each has others. */
const noise = randomBytes(4 * MIB + 1009)
function message(bytes: number, number = 0): Uint8Array {
  const made = new Uint8Array(bytes)
  for (let at = 0; at < bytes; at += noise.length) made.set(noise.subarray(0, Math.min(noise.length, bytes - at)), at)
  for (let at = 0; at < Math.min(4, bytes); at++) made[at] = number >>> (8 * at)
  return made
}
const isSame = (a: Uint8Array | undefined, b: Uint8Array): boolean => a !== undefined && Buffer.compare(a, b) === 0

/** Collects so many messages. */
function collect(end: Connection, count: number): Promise<Uint8Array[]> {
  return new Promise((resolve, reject) => {
    const all: Uint8Array[] = []
    if (count === 0) resolve(all)
    end.receive(each => {
      all.push(each)
      if (all.length === count) resolve(all)
    })
    end.closed.then(reason => reject(new Error(`closed after ${all.length} of ${count} messages: ${reason}`)))
  })
}

describe.each(subjects)('$name', (subject: Subject) => {
  let listening: Listening
  /** Takes the other end of the next connection. */
  let accept: (connection: Connection) => void
  const open: Connection[] = []
  /** What Node has to say where listeners pile up. */
  const warnings: string[] = []
  const warned = ({ name, message }: Error): void => {
    if (name === 'MaxListenersExceededWarning') warnings.push(message)
  }

  beforeAll(async () => {
    process.on('warning', warned)
    listening = await subject.open(connection => accept(connection))
  })
  afterEach(() => {
    for (const end of open.splice(0)) end.close('the test is over')
  })
  afterAll(async () => {
    await listening.end()
    process.off('warning', warned)
    expect(warnings).toEqual([])
  })

  async function rawPair(): Promise<[Connection, Connection]> {
    const arrived = new Promise<Connection>(resolve => {
      accept = resolve
    })
    const pair: [Connection, Connection] = [await listening.dial(), await arrived]
    open.push(...pair)
    return pair
  }
  async function pair(options = {}): Promise<[Connection, Connection]> {
    const [a, b] = await rawPair()
    const ends: [Connection, Connection] = [reliable(a, options), reliable(b, options)]
    open.unshift(...ends)
    return ends
  }

  it('brings messages of any size, whole and in order, both ways at once', async () => {
    const [{ maxMessageBytes }] = await rawPair()
    const most = Math.min(maxMessageBytes, MIB)
    const size = fc.oneof(
      fc.nat({ max: 300 }),
      fc.integer({ min: -70, max: 70 }).chain(d => fc.constantFrom(1, 2, 3).map(n => Math.min(n * most, 4 * MIB) + d)),
    )
    const sizes = fc.array(size, { maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(sizes, sizes, async (forth, back) => {
        const [a, b] = await pair()
        const sent = [forth, back].map(each => each.map((bytes, number) => message(bytes, number)))
        const came = [collect(b, forth.length), collect(a, back.length)]
        await Promise.all([a, b].flatMap((end, i) => (sent[i] ?? []).map(each => end.send(each.slice()))))
        for (const [i, all] of (await Promise.all(came)).entries())
          expect(all.map((each, number) => isSame(each, sent[i]?.[number] as Uint8Array))).toEqual(all.map(() => true))
        a.close()
        await b.closed
      }),
      { numRuns: 12 },
    )
  })

  it('brings tens of megabytes both ways at once', async () => {
    const [a, b] = await pair()
    const [forth, back] = [message(24 * MIB + 1, 1), message(17 * MIB - 1, 2)]
    const came = [collect(b, 2), collect(a, 2)]
    await Promise.all([a.send(forth.slice()), b.send(back.slice()), a.send(message(0)), b.send(message(5, 3))])
    const [atB, atA] = await Promise.all(came)
    expect(isSame(atB?.[0], forth)).toBe(true)
    expect(isSame(atA?.[0], back)).toBe(true)
    expect([atB?.[1]?.length, atA?.[1]?.length]).toEqual([0, 5])
  })

  it('stops a sender whose messages are not taken, and goes on when they are', async () => {
    const windowBytes = 2 * MIB
    const [a, b] = await pair({ windowBytes })
    let release = (): void => {}
    const gate = new Promise<void>(resolve => {
      release = resolve
    })
    const count = 64
    let taken = 0
    let done = (): void => {}
    const all = new Promise<void>(resolve => {
      done = resolve
    })
    const first = new Promise<void>(resolve => {
      b.receive(async () => {
        resolve()
        await gate
        if (++taken === count) done()
      })
    })
    let accepted = 0
    const sending = (async () => {
      for (let i = 0; i < count; i++) {
        await a.send(message(MIB / 4, i))
        accepted++
      }
    })()
    await first
    // The way back is open all the while: fifty messages pass it before anything is taken.
    const back = collect(a, 50)
    for (let i = 0; i < 50; i++) await b.send(message(10, i))
    await back
    const held = accepted
    expect(held * (MIB / 4)).toBeLessThanOrEqual(windowBytes)
    expect(taken).toBe(0)
    release()
    await Promise.all([sending, all])
    expect(accepted).toBe(count)
  })

  it('closes with a reason, from either side, after what was sent before; twice is harmless', async () => {
    const reasons = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.nat({ max: 5 }), reasons, async (isFirst, count, reason) => {
        const [a, b] = await pair()
        const [closer, other] = isFirst ? [a, b] : [b, a]
        const came: number[] = []
        other.receive(each => void came.push(each.length))
        const sends = Array.from({ length: count }, (_, i) => closer.send(message(i * 1000, i)))
        closer.close(reason)
        closer.close('another reason')
        expect(await closer.closed).toBe(reason)
        expect(await other.closed).toBe(reason)
        other.close('too late')
        await Promise.all(sends)
        expect(came).toEqual(Array.from({ length: count }, (_, i) => i * 1000))
        for (const end of [a, b]) await expect(end.send(message(1))).rejects.toThrow(ConnectionError)
        await expect(closer.send(message(1))).rejects.toThrow(reason)
      }),
      { numRuns: 10 },
    )
  })

  it('rejects sends that wait when the other side closes', async () => {
    const [a, b] = await pair({ windowBytes: MIB })
    b.receive(() => new Promise(() => {}))
    const sends = Array.from({ length: 12 }, (_, i) => a.send(message(MIB / 2, i)))
    const settled = Promise.allSettled(sends)
    b.close('enough of it')
    expect(await a.closed).toBe('enough of it')
    const rejected = (await settled).filter(each => each.status === 'rejected')
    expect(rejected.length).toBeGreaterThan(0)
    for (const each of rejected) expect(each.reason).toBeInstanceOf(ConnectionError)
  })

  it('ends with a reason where the other end neither reads nor answers', async () => {
    const [raw] = await rawPair()
    const end = reliable(raw, QUICK)
    open.push(end)
    const sending = Array.from({ length: 20 }, (_, i) => end.send(message(MIB, i)))
    const settled = Promise.allSettled(sending)
    expect(await end.closed).toMatch(/nothing was heard of the other side/)
    const rejected = (await settled).filter(each => each.status === 'rejected')
    expect(rejected.length).toBeGreaterThan(0)
    for (const each of rejected) expect(each.reason).toBeInstanceOf(ConnectionError)
  })

  it('ends with the reason where the raw connection below ends', async () => {
    const [a, b] = await rawPair()
    const end = reliable(a)
    end.receive(() => {})
    b.close('the ground gave way')
    expect(await end.closed).toContain('the ground gave way')
    await expect(end.send(message(1))).rejects.toThrow(/the ground gave way/)
  })

  it('carries many connections at once, each its own messages', async () => {
    const count = 60
    accept = connection => {
      const echo = reliable(connection)
      open.unshift(echo)
      echo.receive(each => echo.send(each))
    }
    const results = await Promise.all(
      Array.from({ length: count }, async (_, i) => {
        const end = reliable(await listening.dial())
        open.unshift(end)
        const sent = Array.from({ length: 12 }, (_, j) => message((i * 997 + j * 4001) % 30_000, i * 100 + j))
        const came = collect(end, sent.length)
        for (const each of sent) await end.send(each.slice())
        const all = await came
        return all.length === sent.length && all.every((each, j) => isSame(each, sent[j] as Uint8Array))
      }),
    )
    expect(results).toEqual(Array.from({ length: count }, () => true))
  })

  // Those within one process have no other that could end.
  const start = subject.startProcess
  if (!start) return

  describe('with another process', () => {
    async function echoing(
      start: NonNullable<Subject['startProcess']>,
    ): Promise<{ end: Connection; child: ChildProcess }> {
      const { child, dial } = await start()
      const end = reliable(await dial(), QUICK)
      open.push(end)
      const came = collect(end, 1)
      await end.send(message(1000, 7))
      expect(isSame((await came)[0], message(1000, 7))).toBe(true)
      return { end, child }
    }

    it('ends where the process is killed', async () => {
      const { end, child } = await echoing(start)
      const killed = once(child, 'exit')
      child.kill('SIGKILL')
      expect(await end.closed).not.toBe('')
      await expect(end.send(message(1))).rejects.toThrow(ConnectionError)
      await killed
    })

    it('ends where the process stands still', async () => {
      const { end, child } = await echoing(start)
      const killed = once(child, 'exit')
      child.kill('SIGSTOP')
      expect(await end.closed).toMatch(/nothing was heard of the other side/)
      child.kill('SIGKILL')
      await killed
    })

    it('ends where the process ends in order, and nothing keeps that', async () => {
      const { end, child } = await echoing(start)
      const exited = once(child, 'exit')
      child.send('end')
      expect(await end.closed).toContain('the process ends')
      expect((await exited)[0]).toBe(0)
    })
  })
})
