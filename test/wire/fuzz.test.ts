/**
 * A million damaged packets, frames and messages: nothing throws, hangs or holds memory beyond what came. Each connection ends with a
 * reason or goes on as if nothing had been. The slow part of the wire's tests: a tenth of it where CI is not set.
 */
import type { Model } from '@prismal/models'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectExchanged, expectPart, parseAnswer, parseLink, parseRun } from '../../packages/distribute/src/checks.js'
import { Device } from '../../packages/distribute/src/device.js'
import { ConnectionError, PlanError } from '../../packages/distribute/src/errors.js'
import { echoOf } from '../../packages/distribute/src/measured/probe.js'
import { packDone, packParts, type RunMessage, unpackParts } from '../../packages/distribute/src/messages.js'
import { writeHeader } from '../../packages/distribute/src/packets.js'
import { packPatches } from '../../packages/distribute/src/palette.js'
import { createPlan } from '../../packages/distribute/src/plan.js'
import { reliable } from '../../packages/distribute/src/reliable.js'
import type { Connection } from '../../packages/distribute/src/transport.js'
import { memoryPair } from '../../packages/distribute/src/transports/memory.js'
import {
  decodeFrame,
  encodeFrame,
  type Frame,
  frame,
  HEADER_BYTES,
  KINDS,
  type Kind,
} from '../../packages/distribute/src/wire.js'
import { loadFolder, randomInput, temporaryFolders, tinyModel, writeModel } from '../models/tiny-model.js'
import { randomFrom } from '../random.js'
import { sealPair, tapped } from './connections.js'
import { damaged, damagedJson, pick, type Random, shuffled } from './mutate.js'

/** Of a million in all. */
const share = (count: number): number => (process.env.CI ? count : count / 10)
/** The same under CI each time; elsewhere another, which a failure names. */
const SEED = process.env.CI ? 250712145 : Date.now() % 2 ** 31
/** A hang is noticed by it. */
const LIMIT_MS = 90_000
const MOST_GROWTH = 256 * 2 ** 20

const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const heldBytes = (): number => {
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
/** Fails where memory grows as no garbage explains. */
function memoryWatch(): () => void {
  const before = heldBytes()
  return () => expect(heldBytes() - before).toBeLessThan(MOST_GROWTH)
}

// ---- packets ----------------------------------------------------------------------------------------

/** The end of a raw connection that a test plays: what was sent to it, and what it sends. */
class Played implements Connection {
  readonly maxMessageBytes = 2 ** 16
  readonly sent: Uint8Array[] = []
  readonly closed: Promise<string>
  take!: (message: Uint8Array) => void | Promise<void>
  close!: (reason?: string) => void
  constructor() {
    this.closed = new Promise(resolve => {
      this.close = (reason = 'closed') => resolve(reason)
    })
  }
  async send(message: Uint8Array): Promise<void> {
    this.sent.push(message)
  }
  receive(handler: (message: Uint8Array) => void | Promise<void>): void {
    this.take = handler
  }
}

/** A packet; numbers and what was taken are put in later. */
function packet(kind: 'data' | 'credit' | 'ping' | 'close', bytes: number, last = kind === 'data'): Uint8Array {
  const made = new Uint8Array(12 + bytes)
  writeHeader(made, { kind, last, number: 0, taken: 0 })
  for (let i = 12; i < made.length; i++) made[i] = i * 7
  return made
}
const PACKETS = [
  ...[0, 1, 40, 300, 2000].map(bytes => packet('data', bytes)),
  ...[1, 40, 3000].map(bytes => packet('data', bytes, false)),
  ...[packet('credit', 0), packet('ping', 0), packet('ping', 0)],
]
const session = (random: Random): Uint8Array[] => {
  const length = 1 + Math.floor(random() * 7)
  const packets: Uint8Array[] = Array.from({ length }, () => pick(random, PACKETS).slice())
  if (random() < 0.1) packets.push(packet('close', 20))
  for (const [i, p] of packets.entries()) new DataView(p.buffer).setUint32(4, i, true)
  return packets
}

test('packets', { timeout: LIMIT_MS }, async () => {
  const random = randomFrom(SEED)
  const expectMemory = memoryWatch()
  const ends = { alive: 0, closed: 0 }
  for (let tried = 0; tried < share(390_000); ) {
    const raw = new Played()
    const connection = reliable(raw, { maxFrameBytes: 8192, windowBytes: 16_384 })
    let reason: string | undefined
    void connection.closed.then(r => {
      reason = r
    })
    let delivered = 0
    connection.receive(message => {
      delivered += message.length
    })
    void connection.send(new Uint8Array(500))
    const asked = raw.sent.length
    let packets: Uint8Array[] = session(random)
    for (let n = 1 + Math.floor(random() * 2); n > 0; n--, tried++) {
      const at = Math.floor(random() * packets.length)
      if (random() < 0.15) packets = shuffled(random, packets)
      else if (packets[at]) packets[at] = damaged(random, packets[at], pick(random, PACKETS))
    }
    let fed = 0
    for (const p of packets) {
      raw.take(p)
      fed += p.length
    }
    expect(delivered).toBeLessThanOrEqual(fed)
    await Promise.resolve()
    if (reason === undefined) {
      // As if nothing had been: it answers the packet that is due.
      ends.alive++
      await Promise.resolve()
      const ping = packet('ping', 0)
      const last = packets.at(-1)
      const taken = last ? new DataView(last.buffer, last.byteOffset).getUint32(8, true) : 0
      writeHeader(ping, { kind: 'ping', last: false, number: packets.length, taken })
      const before = raw.sent.length
      raw.take(ping)
      await Promise.resolve()
      expect(raw.sent.length, `seed ${SEED}, ${tried}`).toBeGreaterThan(before)
      expect(raw.sent.at(-1)?.[0], `seed ${SEED}, ${tried}`).toBe(3)
    } else {
      ends.closed++
      expect(reason.length, `seed ${SEED}, ${tried}`).toBeLessThan(1025)
      expect(raw.sent.length).toBeLessThanOrEqual(asked + packets.length + 1)
    }
    raw.close()
    if (tried % 1000 < 2) {
      await nextTurn()
      expectMemory()
    }
  }
  expect(Math.min(ends.alive, ends.closed)).toBeGreaterThan(share(10_000))
})

test('sealed packets: damage never passes', { timeout: LIMIT_MS }, async () => {
  const random = randomFrom(SEED + 1)
  for (let tried = 0; tried < share(10_000); tried++) {
    const [a, b] = memoryPair()
    const [sealA, sealB] = await sealPair()
    const at = Math.floor(random() * 6)
    let count = 0
    let isWhole = true
    const sender = reliable(
      tapped(a, 300, (p, forward) => {
        if (count++ !== at) return forward(p)
        const other = damaged(random, p, p)
        isWhole = Buffer.compare(other, p) === 0
        return forward(other)
      }),
      { seal: sealA },
    )
    const receiver = reliable(tapped(b, 300), { seal: sealB })
    const sent = [10, 700, 0, 33].map((length, i) => new Uint8Array(length).fill(i + 1))
    const received: Uint8Array[] = []
    receiver.receive(message => void received.push(message))
    for (const message of sent) void sender.send(message).catch(() => {})
    sender.close('all sent')
    const reason = await receiver.closed
    expect(received, `seed ${SEED}, ${tried}`).toEqual(sent.slice(0, received.length))
    if (!isWhole) expect(reason, `seed ${SEED}, ${tried}`).not.toBe('all sent')
    else expect(received.length).toBe(sent.length)
    await sender.closed
  }
})

// ---- frames and messages ----------------------------------------------------------------------------

const RUN: Omit<RunMessage, 'parts' | 'self'> = {
  rows: [12, 5],
  want: 'last',
  devices: 2,
  decodes: true,
  output: 'tokens',
  generate: { maxNewTokens: 3, sampling: { temperature: 0.5, seed: 3 }, endIds: [7], forced: [[2]], withLogits: true },
  options: { segments: 2, sink: 1, weights: [1, 1], strategy: 'means', wire: 'f32' },
  seen: [[1, 2, 3], [4]],
}
const packedPatches = Float32Array.from({ length: 120 * 12 }, (_, i) => i % 7)
const header = (second: number) => [
  [6, -1, -1, -1],
  [second, -1, -1, -1],
]
const done = {
  stages: [{ stage: '0', flops: 1, bytesSent: 2, bytesReceived: 3, milliseconds: 0.5 }],
  rows: 8,
  peakBytes: 1000,
  milliseconds: 2,
}
const FRAMES: readonly Frame[] = [
  frame('run', 1, { json: { ...RUN, self: 1, parts: header(2) }, data: new Uint8Array(32) }),
  frame('run', 2, { json: { ...RUN, want: [[1], [0]], self: 0, parts: header(3) }, data: new Uint8Array(36) }),
  frame('run', 3, {
    json: { ...RUN, rows: [240], seen: [[]], self: 0, parts: [[-1, -1, -1, packedPatches.length, 1]] },
    data: packPatches(packedPatches, { patchWidth: 12, channels: 3 }) as Uint8Array,
  }),
  frame('rows', 1, { layer: 2, from: 1, data: new Uint8Array(96) }),
  frame('handoff', 1, { layer: 0, from: 1, data: new Uint8Array(96) }),
  frame('output', 1, { from: 1, json: { rows: 2 }, data: new Uint8Array(64) }),
  frame('token', 1, { from: 1, json: { sequence: 0, id: 5, end: 'length' }, data: new Uint8Array(8) }),
  frame('done', 1, { from: 1, json: packDone(done) }),
  frame('error', 1, { from: 1, json: { code: 'bad-plan', message: 'no' } }),
  frame('link', 1, { json: { peer: 1, self: 0, session: '0123456789abcdef', addresses: ['ws://192.0.2.7:7040'] } }),
  frame('linked', 1),
  frame('probe', 1, { json: { back: 40 }, data: new Uint8Array(40) }),
  frame('echo', 1, { json: { milliseconds: [1, 2] }, data: new Uint8Array(40) }),
  frame('abort', 1),
]
const SHAPE = { layers: 3, causal: true }
const PATCHES = { patchWidth: 12, channels: 3 }

/** What either side does with a frame before it acts by it. */
function read(bytes: Uint8Array): void {
  const f = decodeFrame(bytes, 0)
  const { kind, json } = f
  if (kind === 'run') {
    const message = parseRun(json)
    const rows = message.rows.reduce((a, b) => a + b, 0)
    if (rows > 2000 || message.rows.length * message.devices > 2000) return
    const { want, devices, decodes } = message
    const plan = createPlan({ shape: SHAPE, rows: message.rows, want, devices, decodes }, message.options)
    for (const part of unpackParts({ ...message, plan }, PATCHES, message.parts, f.data))
      expectPart(part, { ...SHAPE, patchWidth: part.patches ? 12 : 0, prefixRows: 0, positions: 240 } as Model['shape'])
  } else if (kind === 'link') parseLink(json)
  else if (kind === 'rows' || kind === 'handoff') expectExchanged(f, 1, SHAPE.layers)
  else if (kind === 'probe') echoOf(f, 0)
  else if (kind !== 'abort') parseAnswer(f)
}

test('frames and what is in them', { timeout: LIMIT_MS }, async () => {
  const random = randomFrom(SEED + 2)
  const encoded = FRAMES.map(f => encodeFrame(f, 0))
  for (const bytes of encoded) read(bytes)
  const expectMemory = memoryWatch()
  let accepted = 0
  const count = share(580_000)
  for (let tried = 0; tried < count; tried++) {
    const n = Math.floor(random() * FRAMES.length)
    const original = FRAMES[n] as Frame
    let bytes = encoded[n] as Uint8Array
    if (original.json !== undefined && random() < 0.6)
      bytes = encodeFrame({ ...original, json: damagedJson(random, original.json) }, 0)
    else bytes = damaged(random, bytes, pick(random, encoded))
    if (random() < 0.1) bytes = damaged(random, bytes, pick(random, encoded))
    try {
      read(bytes)
      accepted++
    } catch (error) {
      if (!(error instanceof ConnectionError || error instanceof PlanError))
        throw new Error(`seed ${SEED}, ${tried}: ${new TextDecoder().decode(bytes)}`, { cause: error })
    }
    if (tried % 10_000 === 0) {
      await nextTurn()
      expectMemory()
    }
  }
  expect(accepted).toBeGreaterThan(count / 100)
  expect(accepted).toBeLessThan(count / 2)
})

// ---- a device ---------------------------------------------------------------------------------------

describe('a device', () => {
  const folder = temporaryFolders()
  const thrown: unknown[] = []
  const onThrown = (error: unknown): void => void thrown.push(error)
  const models: Model[] = []
  beforeAll(async () => {
    const location = writeModel(folder(), tinyModel('gpt2'))
    for (let i = 0; i < 2; i++) models.push(await loadFolder(location, { warn: () => {} }))
    process.on('unhandledRejection', onThrown)
    process.on('uncaughtException', onThrown)
  })
  afterAll(() => {
    process.off('unhandledRejection', onThrown)
    process.off('uncaughtException', onThrown)
    for (const model of models) model.dispose()
  })

  const prompts = (model: Model) => RUN.rows.map((rows, i) => randomInput(model, rows, i))
  const runFrame = (model: Model, message: Omit<RunMessage, 'parts'>, request: number): Frame => {
    const plan = createPlan({ shape: model.shape, ...message }, message.options)
    const parts = plan.sequences.map((s, i) =>
      model.cut(prompts(model)[i]!, ...(s.bounds[message.self] as [number, number])),
    )
    const packed = packParts(parts, model.shape)
    return frame('run', request, { json: { ...message, parts: packed.header }, data: packed.data })
  }
  const ALONE = { ...RUN, devices: 1, self: 0, want: 'all' as const, decodes: false, output: 'rows' as const }

  /** The bytes of rows that a sound request gives. */
  async function answer(device: Device, request: number): Promise<Uint8Array> {
    const [ours, theirs] = memoryPair()
    const served = device.serve(theirs)
    const { generate: _, options: __, ...message } = ALONE
    let data: Uint8Array | undefined
    const ended = new Promise<Frame>(resolve => {
      let number = 0
      ours.receive(bytes => {
        const f = decodeFrame(bytes, number++)
        if (f.kind === 'output') data = f.data
        else resolve(f)
      })
    })
    await ours.send(encodeFrame(runFrame(device.model, { ...message, options: {} }, request), 0))
    const last = await ended
    expect(last.kind, JSON.stringify(last.json)).toBe('done')
    ours.close()
    await served
    return data as Uint8Array
  }

  /** What device 1 of two is sent in a sound request: by the coordinator, and by device 0. */
  async function recorded(): Promise<{ control: Uint8Array[]; link: Uint8Array[] }> {
    const [first, second] = models.map(model => new Device(model)) as [Device, Device]
    const [there, back] = memoryPair()
    const link: Uint8Array[] = []
    first.link(
      1,
      tapped(there, 2 ** 30, (m, forward) => {
        link.push(m.slice())
        return forward(m)
      }),
    )
    second.link(0, back)
    const control: Uint8Array[] = []
    const kinds: Kind[] = []
    const ends = await Promise.all(
      [first, second].map(async (device, self) => {
        const [ours, theirs] = memoryPair()
        const served = device.serve(theirs)
        const run = encodeFrame(runFrame(device.model, { ...RUN, self }, 1), 0)
        if (self === 1) control.push(run.slice(), encodeFrame(frame('abort', 1), 1))
        const ended = new Promise<void>(resolve => {
          let number = 0
          ours.receive(bytes => {
            const f = decodeFrame(bytes, number++)
            kinds.push(f.kind)
            if (f.kind === 'error') thrown.push(f.json)
            if (f.kind === 'done' || f.kind === 'error') resolve()
          })
        })
        await ours.send(run)
        await ended
        return async () => {
          ours.close()
          await served
        }
      }),
    )
    for (const end of ends) await end()
    expect(thrown).toEqual([])
    expect(kinds).toContain('token')
    expect(kinds).not.toContain('error')
    expect(link.length).toBeGreaterThanOrEqual(models[0]!.shape.layers)
    return { control, link }
  }

  test('outlives them, gives its memory back and answers with the same bits', { timeout: LIMIT_MS }, async () => {
    const random = randomFrom(SEED + 3)
    const valid = await recorded()
    const model = models[1]!
    const idle = model.engine.arena.usedBytes
    const device = new Device(model)
    let request = 1
    const due = await answer(device, request++)
    const expectMemory = memoryWatch()
    const all = [...valid.control, ...valid.link]
    const answers = new Map<Kind, number>()
    for (let tried = 0; tried < share(20_000); request++) {
      const sides: Uint8Array[][] = [valid.control, valid.link].map(messages =>
        messages.map(m => {
          const copy = m.slice()
          new DataView(copy.buffer).setUint32(4, request, true)
          return copy
        }),
      )
      if (random() < 0.7) sides[0]!.pop() // without the abort the request is computed
      for (let n = 1 + Math.floor(random() * 3); n > 0; n--, tried++) {
        const side = Math.floor(random() * 2)
        const messages = sides[side]!
        const at = Math.floor(random() * messages.length)
        if (messages.length > 0 && random() < 0.2) sides[side] = shuffled(random, messages)
        else if (messages[at])
          messages[at] =
            side === 0 ? damagedRun(random, messages[at], all) : damaged(random, messages[at], pick(random, all))
      }
      const [control, served] = memoryPair()
      const [link, linked] = memoryPair()
      const isServed = device.serve(served)
      device.link(0, linked)
      control.receive(m => count(answers, m))
      for (const [side, messages] of sides.entries())
        for (const message of messages) await (side === 0 ? control : link).send(message).catch(() => {})
      for (let turns = Math.floor(random() * 4); turns > 0; turns--) await nextTurn()
      control.close('over')
      await Promise.all([isServed, link.closed])
      for (let turns = 0; model.engine.arena.usedBytes !== idle; turns++) {
        expect(turns, `seed ${SEED}, ${tried}: memory is not given back`).toBeLessThan(10_000)
        await nextTurn()
      }
      if (request % 200 === 0) {
        expect(Buffer.compare(await answer(device, ++request), due), `seed ${SEED}, ${tried}`).toBe(0)
        expectMemory()
        expect(thrown).toEqual([])
      }
    }
    expect(Buffer.compare(await answer(device, request), due)).toBe(0)
    expect(thrown).toEqual([])
    // Some of what was damaged was computed, some refused in words; the rest closed its connection.
    expect(answers.get('token') ?? 0).toBeGreaterThan(share(200))
    expect(answers.get('error') ?? 0).toBeGreaterThan(share(200))
  })

  function count(answers: Map<Kind, number>, message: Uint8Array): void {
    const kind = KINDS[message[2] as number] as Kind
    answers.set(kind, (answers.get(kind) ?? 0) + 1)
  }

  /** Half of the runs keep their form: only what they ask for is changed. */
  function damagedRun(random: Random, bytes: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
    const f = random() < 0.5 ? undefined : soundFrame(bytes)
    if (!f) return damaged(random, bytes, pick(random, others))
    const [changed, number] = f
    if (random() < 0.2) return encodeFrame({ ...changed, data: damaged(random, changed.data, bytes) }, number)
    return encodeFrame({ ...changed, json: damagedJson(random, changed.json) }, number)
  }

  /** The frame, and its number, where it has not been damaged before. */
  function soundFrame(bytes: Uint8Array): [Frame, number] | undefined {
    if (bytes.length < HEADER_BYTES) return undefined
    const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(12, true)
    try {
      return [decodeFrame(bytes, number), number]
    } catch {
      return undefined
    }
  }
})
