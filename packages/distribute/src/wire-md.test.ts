/** WIRE.md says what the code does: its example is read out of the file, decoded, and encoded again. */
import { readFileSync } from 'node:fs'
import { createEngine, type Engine, type Tensor } from '@prismal/tensor'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sealPair, tapped } from '../../../test/wire/connections.js'
import { FOUR_BIT_LEVELS } from './four-bits.js'
import { MAX_REASON_BYTES, PACKET_HEADER_BYTES, PACKET_KINDS, readHeader, writeHeader } from './packets.js'
import { DEFAULT_WINDOW_BYTES, reliable } from './reliable.js'
import { memoryPair } from './transports/memory.js'
import {
  decodeFrame,
  decodeRows,
  encodeFrame,
  encodeRows,
  frame,
  HEADER_BYTES,
  KINDS,
  MAX_JSON_BYTES,
  PROTOCOL_VERSION,
} from './wire.js'

const text = readFileSync(new URL('../WIRE.md', import.meta.url), 'utf8')
const block = (name: string): string => new RegExp(`\`\`\`${name}\n([^\`]+)\`\`\``).exec(text)?.[1] ?? ''
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(hex.trim().split(/\s+/), byte => Number.parseInt(byte, 16))
/** Lines of an offset, bytes and, after two spaces, words. */
const example = (): Uint8Array => {
  const lines = [...block('hex').matchAll(/^(\d+) {2}((?:[0-9a-f]{2} )+) *\S/gm)]
  let at = 0
  for (const [, offset, hex] of lines) {
    expect(Number(offset)).toBe(at)
    at += bytesOf(hex as string).length
  }
  return bytesOf(lines.map(l => l[2]).join(' '))
}

const MEANS = [1, -0.5, 0.25, 3, 0, 100, 2, -1]
let engine: Engine
beforeAll(async () => {
  engine = await createEngine()
})
afterAll(() => engine.dispose())
const within = async <T>(act: (means: Tensor) => T | Promise<T>): Promise<T> => {
  const scope = engine.scope()
  try {
    return await act(scope.tensor(Float32Array.from(MEANS), [2, 4]))
  } finally {
    scope.dispose()
  }
}

test('the example is what it says, and what the code writes', () =>
  within(means => {
    const packet = example()
    expect(packet).toHaveLength(PACKET_HEADER_BYTES + HEADER_BYTES + 32)
    const header = readHeader(packet, 0)
    expect(header).toEqual({ kind: 'data', last: true, number: 7, taken: 600 })
    const decoded = decodeFrame(packet.subarray(PACKET_HEADER_BYTES), 5)
    expect(decoded).toMatchObject({ kind: 'rows', request: 3, layer: 2, from: 1 })
    const rows = decodeRows(means.scope, decoded.data, 2, 4, 'f32')
    expect([...rows.floats()]).toEqual(MEANS)

    const body = encodeFrame(frame('rows', 3, { layer: 2, from: 1, data: encodeRows(means, 'f32') }), 5)
    const again = new Uint8Array(PACKET_HEADER_BYTES + body.length)
    writeHeader(again, header)
    again.set(body, PACKET_HEADER_BYTES)
    expect(again).toEqual(packet)
  }))

test('it comes out of a connection as that frame', async () => {
  const packet = example()
  packet.set([0, 0, 0, 0, 0, 0, 0, 0], 4) // as the first packet of a connection on which nothing was taken
  const [raw, theirs] = memoryPair()
  const arrived = new Promise<Uint8Array>(resolve => reliable(raw).receive(resolve))
  await theirs.send(packet)
  expect(await arrived).toEqual(packet.subarray(PACKET_HEADER_BYTES))
})

test.each(['f16', 'int8', 'int4'] as const)('the same values as %s', wire =>
  within(means => {
    const bytes = bytesOf(block(wire))
    expect(encodeRows(means, wire)).toEqual(bytes)
    const decoded = decodeRows(means.scope, bytes, 2, 4, wire).floats()
    for (const [i, value] of decoded.entries())
      expect(Math.abs(value - (MEANS[i] as number))).toBeLessThanOrEqual({ f16: 0, int8: 0.4, int4: 5 }[wire])
  }),
)

test('every kind, limit, level and version is told', () => {
  const levels = FOUR_BIT_LEVELS.map(level => String(level).replace('-', '−'))
  expect(text.replace(/\s+/g, ' ')).toContain(`${levels.join(', ')}. A value`)
  for (const [i, kind] of KINDS.entries()) expect(text).toContain(`| ${i} \`${kind}\` |`)
  for (const [i, kind] of PACKET_KINDS.entries()) expect(text).toMatch(new RegExp(`kind: .*${kind} ${i}`))
  expect(text).toContain(`protocol version, **${PROTOCOL_VERSION}**`)
  expect(text).toContain(`at most ${MAX_REASON_BYTES} bytes`)
  expect([DEFAULT_WINDOW_BYTES, MAX_JSON_BYTES]).toEqual([8 * 2 ** 20, 4 * 2 ** 20])
})

test('headers and seal are less than 1 % of L=10 and a sink row of D=768 as f32', async () => {
  const data = 11 * 768 * 4
  const [rawA, rawB] = memoryPair()
  const [sealA, sealB] = await sealPair()
  const a = reliable(tapped(rawA, 2 ** 18), { seal: sealA })
  const b = reliable(tapped(rawB, 2 ** 18), { seal: sealB })
  const layers = 12
  let count = 0
  const all = new Promise<void>(resolve => b.receive(() => (++count === layers ? resolve() : undefined)))
  for (let layer = 0; layer < layers; layer++)
    await a.send(encodeFrame(frame('rows', 1, { layer, data: new Uint8Array(data) }), layer))
  await all
  const overhead = (a.bytesSent + b.bytesSent) / (layers * data) - 1
  expect(overhead).toBeLessThan(0.01)
  expect(`${(overhead * 100).toFixed(2)} %`).toBe(/Packet header.* (\S+ %)\./.exec(text)?.[1])
  a.close()
})
