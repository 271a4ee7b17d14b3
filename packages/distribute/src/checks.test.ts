/** What comes in frames is what it must be, or refused by the name of what is wrong. */
import type { Model } from '@prismal/models'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import {
  EarlyFrames,
  expectExchanged,
  expectPart,
  MOST_EARLY_BYTES,
  parseAnswer,
  parseDone,
  parseError,
  parseLink,
  parseRun,
  parseToken,
} from './checks.js'
import { ConnectionError } from './errors.js'
import { Mailbox } from './exchange.js'
import { packDone, type RunMessage } from './messages.js'
import { frame, KINDS } from './wire.js'

const run: RunMessage = {
  devices: 2,
  self: 1,
  rows: [12, 5],
  parts: [
    [6, -1, -1, -1],
    [2, -1, 2, -1],
  ],
  want: [[11], [0, 4]],
  decodes: true,
  output: 'tokens',
  options: {
    ...{ strategy: 'means', segments: 3, compressionRate: 2, sink: 0, point: 'input', wire: 'int8' },
    ...{ weights: [1, 2], lost: [0, 1], handoff: 'full', order: 'hilbert', bounds: 'graded' },
    ...{ tail: 1, near: 3, anchor: 2, halo: 8, gain: [0.5, 1], padTo: 256 },
  },
  generate: {
    maxNewTokens: 4,
    endIds: [3],
    forced: [[1], [2, 3]],
    withLogits: false,
    sampling: { temperature: 1, topK: 2, topP: 0.5, seed: 1 },
  },
  seen: [[1, 2], []],
}
const link = { peer: 1, self: 0, session: '0123456789abcdef', addresses: ['ws://192.0.2.7:7040'] }
const stage = { stage: '0', flops: 1, bytesSent: 2, bytesReceived: 3, milliseconds: 0.5 }
const done = { stages: [stage], rows: 8, peakBytes: 1000, milliseconds: 2 }
const token = { sequence: 0, id: 5, end: 'length' }
const failure = { code: 'bad-plan', message: 'no' }
const asJson = <T>(value: T): T => JSON.parse(JSON.stringify(value))

const parsers: [name: string, parse: (json: unknown) => unknown, sound: unknown][] = [
  ['run', parseRun, run],
  [
    'run without what may lack',
    parseRun,
    { ...asJson(run), options: {}, generate: undefined, seen: undefined, want: 'all' },
  ],
  ['link', parseLink, link],
  ['done', json => packDone(parseDone(json)), packDone(done)],
  ['token', parseToken, token],
  ['token that goes on', parseToken, { sequence: 1, id: 0 }],
  ['error', parseError, failure],
]

describe.each(parsers)('%s', (_, parse, sound) => {
  test('comes back as it was sent', () => {
    expect(parse(asJson(sound))).toEqual(asJson(sound))
  })
  test('anything else is refused', () => {
    fc.assert(
      fc.property(fc.jsonValue(), json => {
        expect(() => parse(json)).toThrow(ConnectionError)
      }),
      { numRuns: RUNS },
    )
  })
})

const wrong: [what: string, change: object, message: string][] = [
  ['no devices', { devices: 0 }, "a run's devices is 0, not a whole number from 1 to 1024"],
  ['too many', { devices: 1025 }, "a run's devices is 1025"],
  ['a device that is not', { self: 2 }, "a run's self is 2, not a whole number from 0 to 1"],
  ['half a row', { rows: [0.5, 1] }, "a run's rows[0] is 0.5"],
  ['too many rows', { rows: [2 ** 20, 1] }, `a run's rows is ${2 ** 20 + 1}, not together at most`],
  ['too many partitions', { devices: 1024, rows: new Array(257).fill(1) }, "a run's rows is an array of 257"],
  ['a part too few', { parts: [[1, 1, 1, 1]] }, "a run's parts is an array of 1, not as many as its 2"],
  [
    'three lengths',
    {
      parts: [
        [1, 1, 1],
        [1, 1, 1, 1],
      ],
    },
    "a run's parts[0] is an array of 3",
  ],
  [
    'a length of −2',
    {
      parts: [
        [-2, 1, 1, 1],
        [1, 1, 1, 1],
      ],
    },
    "a run's parts[0][0] is -2",
  ],
  ['a row that is not', { want: [[12], []] }, "a run's want[0] is 12, not a row of 12"],
  ['another want', { want: 'some' }, 'a run\'s want is "some", not one of all, first, last, mean'],
  ['another output', { output: 'text' }, 'a run\'s output is "text", not one of rows, mean, tokens'],
  ['no tokens', { generate: { maxNewTokens: 0 } }, "a run's generate.maxNewTokens is 0"],
  [
    'a temperature in words',
    { generate: { maxNewTokens: 1, sampling: { temperature: 'hot' } } },
    'temperature is "hot"',
  ],
  ['options that are a list', { options: [] }, "a run's options is an array of 0, not an object"],
  ['a weight too many', { options: { weights: [1, 1, 1] } }, "a run's options.weights is an array of 3"],
  ['segments in words', { options: { segments: ['many'] } }, 'a run\'s options.segments[0] is "many", not a number'],
  ['a gain in words', { options: { gain: 'more' } }, 'a run\'s options.gain is "more", not a number'],
  ['half a loss', { options: { lost: [1] } }, "a run's options.lost is an array of 1, not [device, layer]"],
  ['ids below 0', { seen: [[-1], []] }, "a run's seen[0][0] is -1"],
]
test.each(wrong)('a run with %s is refused', (_, change, message) => {
  expect(() => parseRun({ ...asJson(run), ...change })).toThrow(ConnectionError)
  expect(() => parseRun({ ...asJson(run), ...change })).toThrow(message)
})

test('what is shown of what came is short and printable', () => {
  expect(() => parseRun({ ...run, output: `\u001b[31m${'x'.repeat(9999)}` })).toThrow(
    /^a run's output is ".{0,60}", not one of/,
  )
})

describe('frames', () => {
  test('of another device: its own rows of layers that there are', () => {
    expectExchanged(frame('rows', 1, { layer: 2, from: 1 }), 1, 3)
    expect(() => expectExchanged(frame('rows', 1, { layer: 3, from: 1 }), 1, 3)).toThrow('of layer 3; the model has 3')
    expect(() => expectExchanged(frame('handoff', 1, { from: 2 }), 1, 3)).toThrow('device 1 sent handoff as device 2')
    for (const kind of KINDS.filter(k => k !== 'rows' && k !== 'handoff'))
      expect(() => expectExchanged(frame(kind, 1, { from: 1 }), 1, 3), kind).toThrow(ConnectionError)
  })
  test('for a coordinator: answers, whole', () => {
    expect(parseAnswer(frame('done', 1, { json: packDone(done) }))).toEqual(frame('done', 1, { json: done }))
    parseAnswer(frame('output', 1, { data: new Uint8Array(8) }))
    expect(() => parseAnswer(frame('output', 1, { data: new Uint8Array(7) }))).toThrow('7 bytes as f32 values')
    expect(() => parseAnswer(frame('error', 1))).toThrow('an error is undefined, not an object')
    for (const kind of ['run', 'abort', 'rows', 'handoff', 'link'] as const)
      expect(() => parseAnswer(frame(kind, 1)), kind).toThrow(`a device sent ${kind}, which is not for its coordinator`)
  })
})

describe('parts', () => {
  const shape = (patchWidth: number) => ({ patchWidth, prefixRows: patchWidth && 1, positions: 10 }) as Model['shape']
  test('of a text have an id a row', () => {
    expectPart({ from: 2, to: 4, ids: new Int32Array(2), positions: new Int32Array(2) }, shape(0))
    expectPart({ from: 2, to: 2 }, shape(0))
    expect(() => expectPart({ from: 2, to: 4 }, shape(0))).toThrow('2 rows take 2 ids; none came')
    expect(() => expectPart({ from: 2, to: 4, ids: new Int32Array(3) }, shape(0))).toThrow('2 rows take 2 ids; 3 came')
    const types = { from: 2, to: 4, ids: new Int32Array(2), types: new Int32Array(1) }
    expect(() => expectPart(types, shape(0))).toThrow('2 rows take 2 types; 1 came')
    expect(() => expectPart({ from: 9, to: 11, ids: new Int32Array(2) }, shape(0))).toThrow('rows 9 to 11 were dealt')
    const patches = { from: 2, to: 4, ids: new Int32Array(2), patches: new Float32Array(9) }
    expect(() => expectPart(patches, shape(0))).toThrow('2 rows take no patches; 9 came')
  })
  test('of an image have a patch a row, but the first', () => {
    expectPart({ from: 0, to: 3, patches: new Float32Array(10) }, shape(5))
    expectPart({ from: 0, to: 1 }, shape(5))
    expectPart({ from: 3, to: 5, patches: new Float32Array(10) }, shape(5))
    expect(() => expectPart({ from: 0, to: 3, patches: new Float32Array(15) }, shape(5))).toThrow('10 patches; 15 came')
  })
})

describe('what comes for requests that have not started', () => {
  test('is bounded, and counts no longer once they have', () => {
    const early = new EarlyFrames()
    const started = new Set<number>()
    const isEarly = (request: number): boolean => !started.has(request)
    const half = MOST_EARLY_BYTES / 2 - 1000
    early.add(1, half, isEarly)
    early.add(2, half, isEarly)
    expect(() => early.add(3, half, isEarly)).toThrow(/bytes came for requests that have not started; at most 67108864/)
    started.add(1).add(3)
    early.add(4, half, isEarly)
    early.add(1, 2 * MOST_EARLY_BYTES, isEarly)
    expect(() => early.add(5, 4000, isEarly)).toThrow(ConnectionError)
  })
  test('is bounded in number too', () => {
    const early = new EarlyFrames()
    const flood = (): void => {
      for (let request = 0; request < 2 ** 20; request++) early.add(request, 0, () => true)
    }
    expect(flood).toThrow(ConnectionError)
  })
  test('comes once, and goes with its connection', async () => {
    const mailbox = new Mailbox()
    mailbox.deliver('rows', 0, 1, Uint8Array.of(1))
    mailbox.deliver('rows', 0, 11, Uint8Array.of(2))
    expect(() => mailbox.deliver('rows', 0, 1, new Uint8Array(0))).toThrow('rows of layer 0 came twice from device 1')
    expect(mailbox.forget(1)).toBe(false)
    mailbox.deliver('rows', 0, 1, Uint8Array.of(3))
    expect(await mailbox.take('rows', 0, 1)).toEqual(Uint8Array.of(3))
    expect(mailbox.forget(11)).toBe(true)
  })
})
