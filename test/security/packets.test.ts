/** After the handshake: whatever somebody between changes, adds, leaves out or moves ends the connection, and none of it is delivered. */
import { ConnectionError, Secret } from '@prismal/distribute'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PACKET_HEADER_BYTES, writeHeader } from '../../packages/distribute/src/packets.js'
import { RUNS } from '../runs.js'
import { Adversary, collect, type Met, meet, other, type Rule, type Side } from './adversary.js'

const secret = Secret.create()
const SIDES: readonly Side[] = ['dialer', 'listener']
/** Hello and proof. */
const HANDSHAKE_MESSAGES = 2
const message = (i: number): Uint8Array => new Uint8Array(24).fill(i)
const flipped = (packet: Uint8Array, at: number, flip = 1): Uint8Array => {
  const copy = packet.slice()
  copy[at] = (copy[at] as number) ^ flip
  return copy
}

interface Session extends Met {
  readonly between: Adversary
}
const session = async (): Promise<Session> => {
  const between = new Adversary()
  return { between, ...(await meet(between, { secret })) }
}
/** A rule on the packets of one side, by their number after the handshake. */
const onPackets =
  (side: Side, act: (packet: Uint8Array, n: number) => readonly Uint8Array[] | undefined): Rule =>
  (packet, from, number) =>
    from === side ? act(packet, number - HANDSHAKE_MESSAGES) : undefined

/**
 * Sends `count` messages from a side under a rule that lets the first `honest` pass, and checks that both sides end, with an error of the
 * right type, that those arrived, and in all at most `most` messages from the start of what was sent. Gives the reason.
 */
async function ends(
  { between, ...met }: Session,
  from: Side,
  rule: Rule,
  { count = 4, honest, most = honest }: { count?: number; honest: number; most?: number },
): Promise<string> {
  const to = other(from)
  const there = collect(met[to])
  const here = collect(met[from])
  between.rule = rule
  const send = (i: number) => void met[from].send(message(i)).catch(() => {})
  for (let i = 0; i < honest; i++) send(i)
  await there.count(honest)
  for (let i = honest; i < count; i++) send(i)
  const [reason] = await Promise.all([met[to].closed, met[from].closed])
  expect(there.got.length).toBeLessThanOrEqual(most)
  expect(there.got).toEqual(Array.from({ length: there.got.length }, (_, i) => message(i)))
  expect(here.got).toEqual([])
  for (const side of SIDES) {
    const error = await met[side].send(message(9)).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ConnectionError)
  }
  return reason
}

// What does not end when it must is red soon.
describe.each(SIDES)('packets of the %s', { timeout: 10_000 }, from => {
  test('that are changed in any byte of header or body end the connection', async () => {
    const { between, ...met } = await session()
    const arrived = collect(met[other(from)])
    await met[from].send(message(0))
    await arrived.count(1)
    const length = (between.sentBy(from).at(-1) as Uint8Array).length
    expect(length).toBe(PACKET_HEADER_BYTES + 24 + 16)
    met[from].close()
    for (let at = 0; at < length; at++)
      for (const flip of [1, 0x80]) {
        const rule = onPackets(from, (packet, n) => (n === 1 ? [flipped(packet, at, flip)] : undefined))
        const reason = await ends(await session(), from, rule, { honest: 1 })
        expect(reason, `byte ${at}`).not.toBe('')
      }
  })

  test('that are cut or lengthened end the connection', async () => {
    for (const by of [-41, -17, -1, 1, 100]) {
      const rule = onPackets(from, (packet, n) => {
        if (n !== 1) return undefined
        const other = new Uint8Array(packet.length + by)
        other.set(packet.subarray(0, other.length))
        return [other]
      })
      await ends(await session(), from, rule, { honest: 1 })
    }
  })

  test('that are left out end the connection', async () => {
    const rule = onPackets(from, (_, n) => (n === 2 ? [] : undefined))
    await ends(await session(), from, rule, { honest: 2 })
    // Rewritten so that the gap does not show in the clear: the seal counts too.
    const renumbered = onPackets(from, (packet, n) => {
      if (n === 2) return []
      const copy = packet.slice()
      if (n > 2) new DataView(copy.buffer).setUint32(4, n - 1, true)
      return [copy]
    })
    expect(await ends(await session(), from, renumbered, { honest: 2 })).toMatch(/packet 2 does not open/)
  })

  test('that are repeated end the connection, and are delivered once', async () => {
    const rule = onPackets(from, (packet, n) => (n === 1 ? [packet, packet] : undefined))
    await ends(await session(), from, rule, { honest: 1, most: 2 })
  })

  test('that change places end the connection', async () => {
    let held: Uint8Array | undefined
    const rule = onPackets(from, (packet, n) => {
      if (n === 1) {
        held = packet
        return []
      }
      return n === 2 ? [packet, held as Uint8Array] : undefined
    })
    await ends(await session(), from, rule, { honest: 1 })
  })

  test('that were sealed for another connection of the same secret end it', async () => {
    const elsewhere = await session()
    const { got, count } = collect(elsewhere[other(from)])
    for (let i = 0; i < 4; i++) await elsewhere[from].send(message(i + 50))
    await count(4)
    expect(got).toHaveLength(4)
    const theirs = elsewhere.between.sentBy(from).slice(HANDSHAKE_MESSAGES)
    elsewhere[from].close()
    const rule = onPackets(from, (_, n) => (n === 1 ? [theirs[1] as Uint8Array] : undefined))
    expect(await ends(await session(), from, rule, { honest: 1 })).toMatch(/packet 1 does not open/)
  })

  test('that are sent back to it end the connection', async () => {
    const here = await session()
    const rule = onPackets(from, packet => {
      here.between.inject(from, packet)
      return []
    })
    const reason = await ends(here, from, rule, { count: 1, honest: 0 })
    expect(reason).toMatch(/packet 0 does not open/)
  })

  test('that somebody else made, sealed or not, end the connection', async () => {
    const bare = new Uint8Array(PACKET_HEADER_BYTES + 24)
    const sealed = crypto.getRandomValues(new Uint8Array(PACKET_HEADER_BYTES + 40))
    const noise = crypto.getRandomValues(new Uint8Array(100))
    for (const packet of [bare, sealed]) writeHeader(packet, { kind: 'data', last: true, number: 1, taken: 0 })
    for (const injected of [bare, sealed, noise, new Uint8Array(0)]) {
      const rule = onPackets(from, (packet, n) => (n === 1 ? [injected, packet] : undefined))
      await ends(await session(), from, rule, { honest: 1 })
    }
  })

  test('that credit, ask for a sign of life or close are believed only if sealed', async () => {
    for (const kind of ['credit', 'ping', 'pong', 'close'] as const) {
      const forged = crypto.getRandomValues(new Uint8Array(PACKET_HEADER_BYTES + 16))
      writeHeader(forged, { kind, last: false, number: 1, taken: 0 })
      const rule = onPackets(from, (_, n) => (n === 1 ? [forged] : undefined))
      expect(await ends(await session(), from, rule, { honest: 1 })).toMatch(/packet 1 does not open/)
    }
  })
})

describe('whatever somebody between does', { timeout: 20_000 }, () => {
  const acts = fc.array(
    fc.record({
      act: fc.constantFrom('pass', 'pass', 'pass', 'drop', 'repeat', 'change', 'hold', 'mirror', 'insert'),
      at: fc.nat(),
      noise: fc.uint8Array({ maxLength: 80 }),
    }),
    { minLength: 1, maxLength: 12 },
  )

  test('what arrives is the start of what was sent, in order', () =>
    fc.assert(
      fc.asyncProperty(acts, fc.constantFrom(...SIDES), async (script, from) => {
        const { between, ...met } = await session()
        const to = other(from)
        const there = collect(met[to])
        const here = collect(met[from])
        const held: Uint8Array[] = []
        let isHonest = true
        between.rule = onPackets(from, (packet, n) => {
          const { act, at, noise } = script[n] ?? { act: 'pass', at: 0, noise: new Uint8Array(0) }
          if (act === 'pass') return held.length > 0 ? [packet, ...held.splice(0)] : [packet]
          isHonest = false
          if (act === 'drop') return []
          if (act === 'repeat') return [packet, packet]
          if (act === 'change') return [flipped(packet, at % packet.length, 1 + (at % 255))]
          if (act === 'insert') return [noise, packet]
          if (act === 'mirror') between.inject(from, packet)
          else held.push(packet)
          return []
        })
        const sent = script.map((_, i) => message(i))
        for (const bytes of sent) void met[from].send(bytes).catch(() => {})
        // One more, so that a gap at the end shows too.
        void met[from].send(message(99)).catch(() => {})
        const all = [...sent, message(99)]
        if (isHonest && script.every(({ act }) => act === 'pass')) {
          await there.count(all.length)
          expect(there.got).toEqual(all)
          met[from].close()
        }
        await Promise.all([met[to].closed, met[from].closed])
        expect(there.got).toEqual(all.slice(0, there.got.length))
        expect(here.got).toEqual([])
        const firstLie = script.findIndex(({ act }) => act !== 'pass')
        if (firstLie >= 0) expect(there.got.length).toBeLessThanOrEqual(firstLie + 1)
      }),
      { numRuns: RUNS },
    ))
})
