/** Messages arrive whole and in order, within the window, or both sides are told why not. */
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import { faults, sealPair, type Tap, tapped } from '../../../test/wire/connections.js'
import { ConnectionError } from './errors.js'
import { type PacketHeader, packetCost, readHeader } from './packets.js'
import { type ReliableConnection, type ReliableOptions, reliable } from './reliable.js'
import type { Connection } from './transport.js'
import { memoryPair } from './transports/memory.js'

interface PairOptions {
  readonly maxMessageBytes?: number
  readonly options?: ReliableOptions
  readonly isSealed?: boolean
  /** What happens on the way there, and on the way back. */
  readonly there?: Tap
  readonly back?: Tap
}

async function pair(given: PairOptions = {}): Promise<[ReliableConnection, ReliableConnection]> {
  const { maxMessageBytes = 2 ** 30, options = {}, isSealed = false } = given
  const [a, b] = memoryPair()
  const seals = isSealed ? await sealPair() : undefined
  return [
    reliable(tapped(a, maxMessageBytes, given.there), { ...options, ...(seals && { seal: seals[0] }) }),
    reliable(tapped(b, maxMessageBytes, given.back), { ...options, ...(seals && { seal: seals[1] }) }),
  ]
}

/** Bytes that tell which message they belong to, and where. */
const message = (length: number, seed: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i * 31 + seed * 7)

/** Collects what arrives; `until` resolves once so many have. */
function collected(connection: Connection, delay?: () => Promise<void>) {
  const messages: Uint8Array[] = []
  const waiting: { count: number; resolve: () => void }[] = []
  connection.receive(m => {
    messages.push(m)
    for (const { count, resolve } of waiting) if (messages.length >= count) resolve()
    return delay?.()
  })
  return {
    messages,
    until: (count: number): Promise<void> =>
      messages.length >= count ? Promise.resolve() : new Promise(resolve => waiting.push({ count, resolve })),
  }
}
const sizes = fc.array(fc.oneof(fc.nat(80), fc.nat(5000)), { minLength: 1, maxLength: 12 })
const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe.each([false, true])('sealed: %s', isSealed => {
  test('any messages over any transport arrive whole and in order, both ways at once', async () => {
    await fc.assert(
      fc.asyncProperty(
        sizes,
        sizes,
        fc.integer({ min: 64, max: 3000 }),
        fc.boolean(),
        async (there, back, max, isSlow) => {
          const windowBytes = 1024 + (max % 7) * 999
          const ends = await pair({ maxMessageBytes: max, isSealed, options: { windowBytes } })
          const received = ends.map(end => collected(end, isSlow ? nextTurn : undefined))
          const sent = [there, back].map((lengths, side) => lengths.map((length, i) => message(length, i + side)))
          for (const [side, messages] of sent.entries()) for (const m of messages) void ends[side]!.send(m)
          await Promise.all([received[1]!.until(there.length), received[0]!.until(back.length)])
          expect(received[1]!.messages).toEqual(sent[0])
          expect(received[0]!.messages).toEqual(sent[1])
          ends[0].close('enough')
          expect(await Promise.all(ends.map(e => e.closed))).toEqual(['enough', 'enough'])
          expect(ends[1].bytesReceived).toBe(ends[0].bytesSent)
        },
      ),
      { numRuns: RUNS / 4 },
    )
  })

  test('packets that are dropped, repeated, swapped or (sealed) cut end it on both sides, and no wrong message arrives', async () => {
    // Transports carry whole messages: only a seal tells where one does not.
    const kinds = (Object.keys(faults) as (keyof typeof faults)[]).filter(kind => isSealed || kind !== 'cut')
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), fc.constantFrom(...kinds), async (lengths, at, kind) => {
        const there = faults[kind](at % lengths.length)
        const [a, b] = await pair({ maxMessageBytes: 512, isSealed, there })
        const { messages } = collected(b)
        const sent = [...lengths, 10, 600].map(message)
        const sending = sent.map(m => a.send(m).catch(error => expect(error).toBeInstanceOf(ConnectionError)))
        const reason = await b.closed
        expect(reason).toMatch(
          kind === 'cut'
            ? /not a prismal packet|altered/
            : /^packet \d+ came where \d+ was due: (one was|\d+ were) lost|repeated/,
        )
        expect(await a.closed).toBe(reason)
        await Promise.all(sending)
        expect(messages).toEqual(sent.slice(0, messages.length))
        expect(messages.length).toBeLessThan(sent.length)
      }),
      { numRuns: RUNS / 4 },
    )
  })

  test('the window is never exceeded', async () => {
    const windows = fc.integer({ min: 1024, max: 9000 })
    await fc.assert(
      fc.asyncProperty(sizes, windows, fc.integer({ min: 64, max: 4000 }), async (lengths, windowBytes, max) => {
        const overhead = isSealed ? 16 : 0
        let sent = 0
        let credited = 0
        let most = 0
        const [a, b] = await pair({
          maxMessageBytes: max,
          isSealed,
          options: { windowBytes },
          there: (packet, forward) => {
            if (readHeader(packet, overhead).kind === 'data') sent += packetCost(packet.length)
            most = Math.max(most, sent - credited)
            return forward(packet)
          },
          back: (packet, forward) => {
            credited = readHeader(packet, overhead).taken
            return forward(packet)
          },
        })
        const received = collected(b, nextTurn)
        for (const [i, length] of lengths.entries()) void a.send(message(length, i))
        await received.until(lengths.length)
        expect(most).toBeLessThanOrEqual(windowBytes)
        if (sent > 2 * windowBytes) expect(most).toBeGreaterThan(windowBytes / 4)
      }),
      { numRuns: RUNS / 4 },
    )
  })

  test('send waits for room, and a message that is longer than the window passes', async () => {
    const [a, b] = await pair({ isSealed, options: { windowBytes: 4096 }, maxMessageBytes: 1000 })
    const long = message(20_000, 3)
    await a.send(message(900, 1))
    const through: number[] = []
    const sending = [1, 2].map(async n => {
      await a.send(long)
      through.push(n)
    })
    await nextTurn()
    expect(through).toEqual([])
    const received = collected(b)
    await received.until(3)
    await Promise.all(sending)
    expect(received.messages).toEqual([message(900, 1), long, long])
    expect(through).toEqual([1, 2])
  })

  test('a credit is sent for each quarter of the window, and none where data goes back', async () => {
    const credits: [number, number] = [0, 0]
    const counted =
      (side: 0 | 1): Tap =>
      (packet, forward) => {
        if (readHeader(packet, isSealed ? 16 : 0).kind === 'credit') credits[side]++
        return forward(packet)
      }
    const [a, b] = await pair({ isSealed, options: { windowBytes: 8192 }, there: counted(0), back: counted(1) })
    const received = collected(b)
    for (let i = 0; i < 40; i++) await a.send(message(1000, i))
    await received.until(40)
    expect(credits[0]).toBe(0)
    expect(credits[1]).toBeGreaterThan(0)
    expect(credits[1]).toBeLessThanOrEqual((40 * 1028) / 2048)
    const answered = collected(a)
    for (let i = 0; i < 40; i++) {
      void b.send(message(1000, i))
      await a.send(message(1000, i))
      await Promise.all([answered.until(i + 1), received.until(41 + i)])
    }
    expect(credits[0] + credits[1]).toBeLessThan(30)
  })

  test('what was sent before a close arrives before it, also what waits for room', async () => {
    const [a, b] = await pair({ isSealed, options: { windowBytes: 1024 } })
    const sending = Array.from({ length: 20 }, (_, i) => a.send(message(200, i)))
    a.close('that was all')
    a.close('again')
    await expect(a.send(message(1, 0))).rejects.toThrow('the connection is closed: that was all')
    const { messages } = collected(b)
    expect(await b.closed).toBe('that was all')
    expect(await a.closed).toBe('that was all')
    await Promise.all(sending)
    expect(messages).toEqual(Array.from({ length: 20 }, (_, i) => message(200, i)))
  })
})

describe('without a seal', () => {
  test('nothing is asynchronous, and a message of one fragment is not copied on arrival', () => {
    const [rawA, rawB] = memoryPair({ schedule: deliver => deliver() })
    let packet: Uint8Array | undefined
    const a = reliable(
      tapped(rawA, 1000, (p, forward) => {
        packet ??= p
        return forward(p)
      }),
    )
    const { messages } = collected(reliable(rawB))
    void a.send(message(300, 1))
    expect(messages).toEqual([message(300, 1)])
    expect(messages[0]!.buffer).toBe(packet!.buffer)
    void a.send(message(3000, 2))
    expect(messages[1]).toEqual(message(3000, 2))
  })
})

describe('a side that breaks the rules is told and closed', () => {
  const bytes = (kind: number, flags: number, zero: number, number: number, taken: number, body: number): Uint8Array =>
    Uint8Array.of(kind, flags, zero, 0, number, 0, 0, 0, taken, 0, 0, 0, ...new Uint8Array(body))
  const cases: [what: string, packets: Uint8Array[], reason: RegExp][] = [
    ['too short', [new Uint8Array(11)], /11 bytes are fewer than its 12/],
    ['of an unknown kind', [bytes(5, 0, 0, 0, 0, 0)], /kind 5 is unknown/],
    ['with unknown flags', [bytes(0, 2, 0, 0, 0, 0)], /flags 2 do not belong to data/],
    ['with flags on a ping', [bytes(2, 1, 0, 0, 0, 0)], /flags 1 do not belong to ping/],
    ['with reserved bytes', [bytes(0, 1, 9, 0, 0, 0)], /bytes 2 and 3 are not 0/],
    ['a ping with a body', [bytes(2, 0, 0, 0, 0, 1)], /1 bytes do not belong to ping/],
    ['a close with a novel', [bytes(4, 0, 0, 0, 0, 1025)], /1025 bytes do not belong to close/],
    ['a pong unasked for', [bytes(3, 0, 0, 0, 0, 0)], /a pong came where none was asked for/],
    ['credit for nothing', [bytes(1, 0, 0, 0, 9, 0)], /credits 9 bytes where 0 were on their way/],
    ['ahead', [bytes(0, 1, 0, 2, 0, 4)], /packet 2 came where 0 was due: 2 were lost/],
    ['again', [bytes(0, 1, 0, 0, 0, 4), bytes(0, 1, 0, 0, 0, 4)], /packet 0 came where 1 was due: it was repeated/],
    ['an empty fragment', [bytes(0, 0, 0, 0, 0, 0)], /a fragment is empty/],
    ['an empty last fragment', [bytes(0, 0, 0, 0, 0, 4), bytes(0, 1, 0, 1, 0, 0)], /a fragment is empty/],
    ['too long a message', [bytes(0, 0, 0, 0, 0, 90), bytes(0, 1, 0, 1, 0, 20)], /longer than 100 bytes/],
    ['beyond the window', Array.from({ length: 5 }, (_, i) => bytes(0, 1, 0, i, 0, 1)), /window of 1024 bytes allows/],
  ]
  test.each(cases)('%s', async (_, packets, reason) => {
    const [raw, theirs] = memoryPair()
    const answers: (PacketHeader & { text: string })[] = []
    theirs.receive(p => {
      answers.push({ ...readHeader(p, 0), text: new TextDecoder().decode(p.subarray(12)) })
    })
    const connection = reliable(raw, { maxFrameBytes: 100, windowBytes: 1024 })
    for (const packet of packets) await theirs.send(packet)
    expect(await connection.closed).toMatch(reason)
    expect(await theirs.closed).toMatch(reason)
    expect(answers.at(-1)).toMatchObject({ kind: 'close', text: expect.stringMatching(reason) })
    await expect(connection.send(new Uint8Array(1))).rejects.toThrow(ConnectionError)
  })

  test('a message that is too long is refused where it is sent, and the connection goes on', async () => {
    const [a, b] = await pair({ options: { maxFrameBytes: 100 } })
    const received = collected(b)
    await expect(a.send(new Uint8Array(101))).rejects.toThrow('a message of 101 bytes is longer than 100, the longest')
    await a.send(message(100, 1))
    await received.until(1)
    expect(received.messages).toEqual([message(100, 1)])
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('no room')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no room'))],
  ])('a handler that %s', async (_, handler) => {
    const [a, b] = await pair()
    b.receive(handler)
    await a.send(message(1, 1))
    expect(await a.closed).toBe('a message was refused: no room')
  })

  test('reasons are cut between characters and printed without control characters', async () => {
    const [a, b] = await pair()
    a.close(`\u001b[31m${'é'.repeat(2000)}`)
    expect(await b.closed).toBe(` [31m${'é'.repeat(509)}`)
  })
})

describe('signs of life', () => {
  const options = { heartbeatMs: 5, silenceMs: 25 }

  test.each(['a side that is gone', 'a way back that is cut'])('%s closes it', async which => {
    const [rawA, rawB] = memoryPair()
    const a = reliable(rawA, options)
    if (which === 'a side that is gone') {
      expect(await a.closed).toMatch(/^nothing was heard of the other side for \d+ ms: it counts as gone$/)
      return
    }
    const b = reliable(tapped(rawB, 1000, () => {}))
    const [atA, atB] = await Promise.all([a.closed, b.closed])
    expect(atA).toMatch(/^nothing was heard/)
    expect(atB).toBe(atA)
  })

  test('keep an idle connection, and tell the time of a round trip', async () => {
    let pongs = 0
    let resolve: () => void
    const enough = new Promise<void>(r => {
      resolve = r
    })
    const [a, b] = await pair({
      options: { heartbeatMs: 2, silenceMs: 1000 },
      back: (packet, forward) => {
        if (readHeader(packet, 0).kind === 'pong' && ++pongs === 10) resolve()
        return forward(packet)
      },
    })
    expect(a.roundTripMs).toBeUndefined()
    const reason = await Promise.race([enough, a.closed, b.closed])
    expect(reason).toBeUndefined()
    expect(a.roundTripMs).toBeGreaterThanOrEqual(0)
    a.close()
  })

  test('are not missed by a thread that stood still', async () => {
    let resolve: () => void
    const answered = new Promise<void>(r => {
      resolve = r
    })
    let stoodStill = false
    const [a, b] = await pair({
      options: { heartbeatMs: 5, silenceMs: 40 },
      back: (packet, forward) => {
        if (stoodStill && readHeader(packet, 0).kind === 'pong') resolve()
        return forward(packet)
      },
    })
    for (const began = performance.now(); performance.now() - began < 100; );
    stoodStill = true
    expect(await Promise.race([answered, a.closed, b.closed])).toBeUndefined()
    a.close()
  })

  test('do not keep a process alive', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
    const before = timers()
    const [a, b] = await pair()
    expect(timers()).toBe(before)
    a.close()
    expect(timers()).toBe(before)
    await b.closed
  })

  test('pass the data that waits', async () => {
    const kinds: string[] = []
    const releases: (() => void)[] = []
    const [rawA, rawB] = memoryPair()
    const a = reliable(
      tapped(rawA, 2 ** 18, async (packet, forward) => {
        kinds.push(readHeader(packet, 0).kind)
        await new Promise<void>(resolve => releases.push(resolve))
        return forward(packet)
      }),
    )
    const sending = a.send(message(2 ** 22, 1))
    const data = kinds.length
    expect(data).toBeLessThanOrEqual(4)
    await rawB.send(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
    expect(kinds.slice(data)).toEqual(['pong'])
    a.close()
    rawB.close('enough')
    await expect(sending).rejects.toThrow(ConnectionError)
  })

  test('come from who only receives, over a link on which everything else waits behind data', async () => {
    const link: (() => void)[] = []
    const delivering = setInterval(() => link.shift()?.(), 10)
    onTestFinished(() => clearInterval(delivering))
    const [a, b] = await pair({
      maxMessageBytes: 1000,
      options: { heartbeatMs: 20, silenceMs: 100 },
      // It says at once that it is ready for more, as a socket with a large buffer does.
      there: (packet, forward) => void link.push(() => void forward(packet)),
    })
    const received = collected(b)
    void a.send(message(40_000, 1))
    expect(await Promise.race([received.until(1), a.closed, b.closed])).toBeUndefined()
    expect(received.messages).toEqual([message(40_000, 1)])
    a.close()
    await b.closed
  })

  test('a close without an answer takes bounded time', async () => {
    const [raw] = memoryPair()
    const a = reliable(raw, options)
    a.close('nobody there')
    expect(await a.closed).toBe('nobody there')
    expect(await raw.closed).toBe('nobody there')
  })
})

test.each([
  [{ windowBytes: 1000 }, /windowBytes is 1000/],
  [{ heartbeatMs: 0 }, /heartbeatMs is 0/],
  [{ heartbeatMs: 10, silenceMs: 10 }, /silenceMs is 10/],
  [{ maxFrameBytes: 0 }, /maxFrameBytes is 0/],
])('options %j are refused', (options, message) => {
  expect(() => reliable(memoryPair()[0], options)).toThrow(message)
})
