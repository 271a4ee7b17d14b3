/** Sealing: nothing but the packets of the connection opens, in their order; Node's cipher and WebCrypto give the same bytes. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import { aesGcm, type MakeCipher, syncCipher, TAG_BYTES, webCipher } from './aes-gcm.js'
import { ConnectionError } from './errors.js'
import type { Seal } from './seal.js'

const CIPHERS: readonly [string, MakeCipher][] = [
  ['web', webCipher],
  ['node', syncCipher() as MakeCipher],
]
const PAIRS = CIPHERS.flatMap(([a, one]) => CIPHERS.map(([b, other]) => [`${a} → ${b}`, one, other] as const))

const key = (n: number) => new Uint8Array(32).fill(n)
const bytes = fc.uint8Array({ maxLength: 300 })
interface Packet {
  readonly header: Uint8Array
  readonly body: Uint8Array
}
const packets = fc.array(fc.record<Packet>({ header: fc.uint8Array({ maxLength: 20 }), body: bytes }), {
  minLength: 1,
  maxLength: 12,
})

interface Limits {
  readonly packetsPerKey?: number
  readonly bytesPerKey?: number
}
/** The two ends of a connection. */
const ends = async (one: MakeCipher, other: MakeCipher, limits: Limits = {}): Promise<[Seal, Seal]> => [
  await aesGcm({ sending: key(1), receiving: key(2), cipher: one, ...limits }),
  await aesGcm({ sending: key(2), receiving: key(1), cipher: other, ...limits }),
]
const sealAll = (seal: Seal, all: readonly Packet[]): Promise<Uint8Array[]> =>
  Promise.all(all.map(({ header, body }) => seal.seal(header, body)))

describe.each(PAIRS)('sealing, %s', (_, one, other) => {
  test('what is sealed opens, with keys that change on the way', () =>
    fc.assert(
      fc.asyncProperty(packets, fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 600 }), async (all, p, b) => {
        const [a, z] = await ends(one, other, { packetsPerKey: p, bytesPerKey: b })
        const sealed = await sealAll(a, all)
        expect(sealed.map(s => s.length)).toEqual(all.map(({ body }) => body.length + TAG_BYTES))
        const opened = await Promise.all(sealed.map((s, i) => z.open((all[i] as Packet).header, s)))
        expect(opened.map(o => [...o])).toEqual(all.map(({ body }) => [...body]))
      }),
      { numRuns: RUNS },
    ))

  test('any change to one packet closes the way for it and all that follow', () =>
    fc.assert(
      fc.asyncProperty(packets, fc.nat(), fc.nat(), fc.integer({ min: 1, max: 255 }), async (all, which, at, flip) => {
        const [a, z] = await ends(one, other)
        const sealed = await sealAll(a, all)
        const bad = which % all.length
        const header = (all[bad] as Packet).header.slice()
        const packet = sealed[bad] as Uint8Array
        const place = at % (header.length + packet.length)
        if (place < header.length) header[place] = (header[place] as number) ^ flip
        else packet[place - header.length] = (packet[place - header.length] as number) ^ flip
        const opened = await Promise.allSettled(
          sealed.map((s, i) => z.open(i === bad ? header : (all[i] as Packet).header, s)),
        )
        expect(opened.map(o => o.status)).toEqual(all.map((_, i) => (i < bad ? 'fulfilled' : 'rejected')))
        for (const o of opened) if (o.status === 'rejected') expect(o.reason).toBeInstanceOf(ConnectionError)
        await expect(z.open(new Uint8Array(0), sealed[0] as Uint8Array)).rejects.toThrow(`packet ${bad} does not open`)
      }),
      { numRuns: RUNS },
    ))

  test('any other order, a repeat, a gap, the other direction or other keys do not open', () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 2, max: 8 }), fc.nat(), fc.nat(), async (count, first, second) => {
        // The same packet each time: only its number tells one from another.
        const packet = { header: key(7), body: key(8) }
        const [a, z] = await ends(one, other)
        const sealed = await sealAll(a, Array(count).fill(packet))
        expect(new Set(sealed.map(s => s.join())).size).toBe(count)
        const i = first % count
        const j = second % count
        fc.pre(i !== j)
        for (const s of sealed.slice(0, Math.min(i, j))) await z.open(packet.header, s)
        await expect(z.open(packet.header, sealed[Math.max(i, j)] as Uint8Array)).rejects.toThrow(ConnectionError)
        const [, again] = await ends(one, other)
        await again.open(packet.header, sealed[0] as Uint8Array)
        await expect(again.open(packet.header, sealed[0] as Uint8Array)).rejects.toThrow(ConnectionError)
        // Sent back to where it came from.
        await expect(a.open(packet.header, sealed[0] as Uint8Array)).rejects.toThrow(ConnectionError)
        const stranger = await aesGcm({ sending: key(2), receiving: key(3), cipher: other })
        await expect(stranger.open(packet.header, sealed[0] as Uint8Array)).rejects.toThrow(ConnectionError)
      }),
      { numRuns: 20 },
    ))

  test('what is shorter than its tag does not open', async () => {
    for (let length = 0; length < TAG_BYTES; length++) {
      const [, z] = await ends(one, other)
      await expect(z.open(key(7), new Uint8Array(length))).rejects.toThrow(ConnectionError)
    }
  })
})

describe('sealing', () => {
  test('gives the same bytes by either cipher, also in the next epochs', () =>
    fc.assert(
      fc.asyncProperty(packets, async all => {
        const limits = { packetsPerKey: 3 }
        const [web] = await ends(webCipher, webCipher, limits)
        const [node] = await ends(syncCipher() as MakeCipher, webCipher, limits)
        expect(await sealAll(node, all)).toEqual(await sealAll(web, all))
      }),
      { numRuns: RUNS },
    ))

  test('settles in the order of the calls, whatever the platform finishes first', async () => {
    // Finishes the first packet last.
    const waiting: (() => void)[] = []
    const slow: MakeCipher = () => ({
      seal: (_nonce, _header, body) =>
        new Promise(resolve => {
          waiting.push(() => resolve(body))
        }),
      open: (_nonce, _header, sealed) => sealed,
    })
    const [a] = await ends(slow, slow)
    const settled: number[] = []
    const all = [0, 1, 2].map(n => a.seal(key(0), key(n)).then(() => settled.push(n)))
    for (const finish of waiting.reverse()) finish()
    await Promise.all(all)
    expect(settled).toEqual([0, 1, 2])
  })

  test('seals what it was given, though the caller uses the memory again at once', async () => {
    for (const [, cipher] of CIPHERS) {
      const [a, z] = await ends(cipher, cipher, { packetsPerKey: 1 })
      const header = key(5)
      const body = key(6)
      for (let n = 0; n < 3; n++) {
        const sealing = a.seal(header.fill(n), body.fill(n + 10))
        header.fill(99)
        body.fill(99)
        expect(await z.open(key(n), await sealing)).toEqual(key(n + 10))
      }
    }
  })

  test('never uses a nonce twice with a key, nor a key for longer than it may', async () => {
    const used = new Map<string, Set<string>>()
    const spy: MakeCipher = raw => ({
      seal(nonce, _header, body) {
        const nonces = used.get(raw.join()) ?? new Set()
        used.set(raw.join(), nonces.add(nonce.join()))
        return body
      },
      open: (_nonce, _header, sealed) => sealed,
    })
    for (const limits of [{ packetsPerKey: 7 }, { bytesPerKey: 70 }]) {
      used.clear()
      const [a, z] = await ends(spy, spy, limits)
      const body = new Uint8Array(10)
      for (let n = 0; n < 600; n++) await Promise.all([a.seal(body, body), z.seal(body, body)])
      const counts = [...used.values()].map(nonces => nonces.size)
      expect(counts.reduce((sum, count) => sum + count)).toBe(1200)
      expect(Math.max(...counts)).toBe(7)
    }
  })

  test('counts beyond 2³² packets: every bit of the number is in the nonce', async () => {
    const nonces: number[][] = []
    const spy: MakeCipher = () => ({
      seal(nonce, _header, body) {
        nonces.push([...nonce])
        return body
      },
      open: (_nonce, _header, sealed) => sealed,
    })
    const numbers = [0, 1, 255, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 3, 2 ** 52]
    for (const firstNumber of numbers) {
      const a = await aesGcm({ sending: key(1), receiving: key(2), cipher: spy, firstNumber })
      await a.seal(key(0), key(0))
    }
    const [zero = []] = nonces
    for (const [i, number] of numbers.entries()) {
      const bytes = (nonces[i] as number[]).map((byte, at) => byte ^ (zero[at] as number))
      expect(bytes.slice(0, 4)).toEqual([0, 0, 0, 0])
      expect(new DataView(Uint8Array.from(bytes).buffer).getBigUint64(4, true)).toBe(BigInt(number))
    }
    const last = await aesGcm({ sending: key(1), receiving: key(2), firstNumber: Number.MAX_SAFE_INTEGER })
    await expect(last.seal(key(0), key(0))).rejects.toThrow(ConnectionError)
  })
})
