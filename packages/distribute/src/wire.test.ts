/** What travels: frames survive any damage with a typed error, rows are encoded to the byte as the definition says. */
import { createEngine, type Engine, RangeOfFormatError } from '@prismal/tensor'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { normals } from '../../../test/random.js'
import { RUNS } from '../../../test/runs.js'
import { ConnectionError } from './errors.js'
import { FOUR_BIT_LEVELS } from './four-bits.js'
import { WIRE_FORMATS, type WireFormat } from './options.js'
import { decodeFrame, decodeRows, encodeFrame, encodeRows, type Frame, HEADER_BYTES, KINDS, rowBytes } from './wire.js'

const u16 = fc.integer({ min: 0, max: 0xffff })
const u32 = fc.integer({ min: 0, max: 0xffffffff })
const frames: fc.Arbitrary<Frame> = fc.record(
  {
    kind: fc.constantFrom(...KINDS),
    request: u32,
    layer: u16,
    from: u16,
    json: fc.jsonValue(),
    data: fc.uint8Array({ maxLength: 200 }),
  },
  { requiredKeys: ['kind', 'request', 'layer', 'from', 'data'] },
)
/** JSON knows no −0. */
const asJson = (frame: Frame): Frame =>
  'json' in frame ? { ...frame, json: JSON.parse(JSON.stringify(frame.json)) } : frame

describe('frames', () => {
  test('lie as documented', () => {
    const data = Uint8Array.of(1, 2, 3)
    const frame: Frame = { kind: 'handoff', request: 0x01020304, layer: 0x0506, from: 0x0708, json: { a: 'é' }, data }
    const json = [...new TextEncoder().encode('{"a":"é"}')]
    const header = [0x50, 1, 3, 0, 4, 3, 2, 1, 6, 5, 8, 7, 12, 11, 10, 9, json.length, 0, 0, 0, 3, 0, 0, 0]
    expect([...encodeFrame(frame, 0x090a0b0c)]).toEqual([...header, ...json, 1, 2, 3])
    expect(header).toHaveLength(HEADER_BYTES)
  })

  test('come back as they were sent, also from the middle of a buffer', () => {
    fc.assert(
      fc.property(frames, u32, fc.nat(9), (frame, number, before) => {
        const bytes = encodeFrame(frame, number)
        const buffer = new Uint8Array(before + bytes.length + 5).fill(0xaa)
        buffer.set(bytes, before)
        expect(decodeFrame(buffer.subarray(before, before + bytes.length), number)).toEqual(asJson(frame))
      }),
      { numRuns: RUNS },
    )
  })

  test('another number than the one due is a gap', () => {
    fc.assert(
      fc.property(frames, u32, u32, (frame, number, due) => {
        fc.pre(number !== due)
        expect(() => decodeFrame(encodeFrame(frame, number), due)).toThrow(ConnectionError)
        expect(() => decodeFrame(encodeFrame(frame, number), due)).toThrow(`frame ${number} came where ${due} was due`)
      }),
      { numRuns: RUNS },
    )
  })

  test('cut anywhere, or with bytes added, is refused', () => {
    fc.assert(
      fc.property(frames, fc.nat(), fc.integer({ min: 1, max: 40 }), (frame, at, more) => {
        const bytes = encodeFrame(frame, 7)
        expect(() => decodeFrame(bytes.subarray(0, at % bytes.length), 7)).toThrow(ConnectionError)
        expect(() => decodeFrame(Uint8Array.from([...bytes, ...new Array<number>(more).fill(0)]), 7)).toThrow(
          ConnectionError,
        )
      }),
      { numRuns: RUNS },
    )
  })

  /** Fields that are checked by themselves; request, layer and sender may be anything. */
  const checked = [0, 1, 3, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]

  test('any other byte in a field that is checked is refused', () => {
    const frame: Frame = { kind: 'rows', request: 1, layer: 2, from: 3, json: [1, 'two'], data: new Uint8Array(300) }
    const bytes = encodeFrame(frame, 5)
    for (const at of checked)
      for (let value = 0; value < 256; value++) {
        if (value === bytes[at]) continue
        const damaged = bytes.slice()
        damaged[at] = value
        expect(() => decodeFrame(damaged, 5), `byte ${at} as ${value}`).toThrow(ConnectionError)
      }
    for (let kind = KINDS.length; kind < 256; kind++) {
      const damaged = bytes.slice()
      damaged[2] = kind
      expect(() => decodeFrame(damaged, 5)).toThrow(`kind ${kind} is unknown`)
    }
  })

  test('any damage at all gives a frame or a ConnectionError, never anything else', () => {
    const damage = fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(frames, damage, (frame, changes) => {
        const bytes = encodeFrame(frame, 0)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        try {
          const got = decodeFrame(bytes, 0)
          expect(KINDS).toContain(got.kind)
          expect(got.data.length).toBeLessThanOrEqual(bytes.length - HEADER_BYTES)
        } catch (error) {
          expect(error).toBeInstanceOf(ConnectionError)
        }
      }),
      { numRuns: RUNS },
    )
  })

  test('arbitrary bytes are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), bytes => {
        fc.pre(bytes[0] !== 0x50 || bytes[1] !== 1)
        expect(() => decodeFrame(bytes, 0)).toThrow(ConnectionError)
      }),
      { numRuns: RUNS },
    )
  })

  test.each(['{', '{"a":1}}', '\u0000', 'nul'])('JSON %j is refused as damaged', text => {
    const json = new TextEncoder().encode(text)
    const bytes = encodeFrame({ kind: 'done', request: 0, layer: 0, from: 0, data: json }, 0)
    const view = new DataView(bytes.buffer)
    view.setUint32(16, json.length, true)
    view.setUint32(20, 0, true)
    expect(() => decodeFrame(bytes, 0)).toThrow(ConnectionError)
    expect(() => decodeFrame(bytes, 0)).toThrow(/JSON is damaged/)
  })

  test('JSON that is not UTF-8 is refused as damaged', () => {
    const bytes = encodeFrame({ kind: 'done', request: 0, layer: 0, from: 0, json: 'ab', data: new Uint8Array(0) }, 0)
    bytes[HEADER_BYTES + 1] = 0xff
    expect(() => decodeFrame(bytes, 0)).toThrow(/JSON is damaged/)
  })
})

// ---- rows: the definition again, in plain TypeScript ------------------------------------------------

const bits = new DataView(new ArrayBuffer(4))

/** Rounded to the nearest integer, halves to the even one. */
function nearestEven(x: number): number {
  const below = Math.floor(x)
  const rest = x - below
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1
  return below % 2 === 0 ? below : below + 1
}

/** The f16 bits of a value: in steps of 2^(e−10), or of 2^−24 below 2^−14. */
function halfBits(value: number): number {
  const sign = Object.is(value, -0) || value < 0 ? 0x8000 : 0
  const size = Math.abs(value)
  const exponent = size === 0 ? -14 : Math.max(-14, Math.floor(Math.log2(size)))
  const steps = nearestEven(size / 2 ** (exponent - 10)) // 1024…2048 where it is normal, below 1024 where not
  return sign | ((exponent + 14) * 1024 + steps)
}
const halfValue = (half: number): number => {
  const exponent = (half >> 10) & 31
  const size = exponent === 0 ? (half & 1023) * 2 ** -24 : (1024 + (half & 1023)) * 2 ** (exponent - 25)
  return half & 0x8000 ? -size : size
}

function expectedBytes(rows: readonly Float32Array[], wire: WireFormat): Uint8Array {
  const out: number[] = []
  const f32 = (value: number): void => {
    bits.setFloat32(0, value, true)
    for (let i = 0; i < 4; i++) out.push(bits.getUint8(i))
  }
  if (wire === 'f32') for (const row of rows) row.forEach(f32)
  if (wire === 'f16')
    for (const row of rows)
      for (const value of row) {
        const half = halfBits(value)
        out.push(half & 255, half >> 8)
      }
  if (wire === 'int8') {
    const scales = rows.map(scaleOf)
    scales.forEach(f32)
    for (const [i, row] of rows.entries()) for (const value of row) out.push(codeOf(value, scales[i]!) & 255)
  }
  if (wire === 'int4') {
    const coded = rows.map(fourBits)
    for (const { scales } of coded) for (const half of scales) out.push(half & 255, half >> 8)
    for (const { codes } of coded)
      for (let i = 0; i < codes.length; i += 2) out.push(codes[i]! + 16 * (codes[i + 1] ?? 0))
  }
  return Uint8Array.from(out)
}
/** Scales and codes of a row in four bits, the nearest level found by looking at all. */
function fourBits(row: Float32Array): { scales: number[]; codes: number[] } {
  const scales: number[] = []
  const codes: number[] = []
  for (let from = 0; from < row.length; from += 64) {
    const group = [...row.subarray(from, from + 64)]
    const half = halfBits(-group.reduce((most, x) => (Math.abs(x) > Math.abs(most) ? x : most), -0))
    scales.push(half)
    const scale = halfValue(half)
    for (const value of group) {
      const off = FOUR_BIT_LEVELS.map(level => Math.abs(value / scale - level))
      codes.push(scale === 0 ? 8 : off.indexOf(Math.min(...off)))
    }
  }
  return { scales, codes }
}
const fourBitValues = (row: Float32Array): Float32Array => {
  const { scales, codes } = fourBits(row)
  return Float32Array.from(codes, (code, c) => FOUR_BIT_LEVELS[code]! * halfValue(scales[Math.floor(c / 64)]!))
}
const scaleOf = (row: Float32Array): number => Math.fround(row.reduce((m, x) => Math.max(m, Math.abs(x)), 0) / 127) || 1
/** A code is an integer, so it has no −0. */
const codeOf = (value: number, scale: number): number => Math.max(-127, Math.min(127, nearestEven(value / scale))) + 0

function expectedValues(rows: readonly Float32Array[], wire: WireFormat): Float32Array[] {
  if (wire === 'f32') return [...rows]
  if (wire === 'f16') return rows.map(row => row.map(x => halfValue(halfBits(x))))
  if (wire === 'int4') return rows.map(fourBitValues)
  return rows.map(row => row.map(x => codeOf(x, scaleOf(row)) * scaleOf(row)))
}

/** Values that f16 holds, with its edges: halves between steps, subnormals, the largest. */
const f16Edges = [
  0,
  -0,
  65504,
  -65504,
  65519,
  2 ** -14,
  2 ** -24,
  2 ** -25,
  2 ** -26,
  3 * 2 ** -25,
  2049,
  2051,
  1 + 2 ** -11,
  1 + 3 * 2 ** -11,
  2 ** -14 - 2 ** -25,
]
const values = fc.oneof(
  fc.float({ min: Math.fround(-65504), max: Math.fround(65504), noNaN: true }),
  fc.float({ min: -1, max: 1, noNaN: true }),
  fc.constantFrom(...f16Edges).map(Math.fround),
  fc.integer({ min: -254, max: 254 }).map(n => n / 2),
)
const matrix = fc
  .tuple(fc.integer({ min: 0, max: 5 }), fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 62, max: 130 })))
  .chain(([rows, width]) =>
    fc
      .array(
        fc.oneof(
          { weight: 8, arbitrary: fc.array(values, { minLength: width, maxLength: width }) },
          { weight: 1, arbitrary: fc.constant(new Array<number>(width).fill(0)) },
        ),
        { minLength: rows, maxLength: rows },
      )
      .map(all => ({ width, rows: all.map(row => Float32Array.from(row)) })),
  )

describe('rows', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await createEngine()
  })
  afterAll(() => engine.dispose())

  const encode = (rows: readonly Float32Array[], width: number, wire: WireFormat): Uint8Array => {
    const scope = engine.scope()
    try {
      const flat = Float32Array.from(rows.flatMap(row => [...row]))
      return encodeRows(scope.tensor(flat, [rows.length, width]), wire)
    } finally {
      scope.dispose()
    }
  }
  const decode = (bytes: Uint8Array, rows: number, width: number, wire: WireFormat): Float32Array => {
    const scope = engine.scope()
    try {
      return decodeRows(scope, bytes, rows, width, wire).floats()
    } finally {
      scope.dispose()
    }
  }

  test.each(WIRE_FORMATS)('%s: the bytes and what they come back as are the definition’s', wire => {
    fc.assert(
      fc.property(matrix, ({ rows, width }) => {
        const bytes = encode(rows, width, wire)
        expect(bytes.length).toBe(rowBytes(rows.length, width, wire))
        expect(bytes).toEqual(expectedBytes(rows, wire))
        const want = Float32Array.from(expectedValues(rows, wire).flatMap(row => [...row]))
        expect(decode(bytes, rows.length, width, wire)).toEqual(want)
      }),
      { numRuns: RUNS },
    )
  })

  test('known f16 bits', () => {
    const known = [
      [0, 0],
      [-0, 0x8000],
      [1, 0x3c00],
      [-2, 0xc000],
      [65504, 0x7bff],
      [2 ** -24, 1],
      [2 ** -25, 0],
      [0.1, 0x2e66],
    ] as const
    const got = encode([Float32Array.from(known.map(([x]) => x))], known.length, 'f16')
    expect([...new Uint16Array(got.slice().buffer)]).toEqual(known.map(([, half]) => half))
  })

  test('known int8 codes: halves go to the even one, a row of zeros has scale 1', () => {
    const rows = [Float32Array.of(127, 0.5, 1.5, -2.5, -127), Float32Array.of(0, 0, 0, 0, 0)]
    const bytes = encode(rows, 5, 'int8').slice()
    expect([...new Float32Array(bytes.buffer, 0, 2)]).toEqual([1, 1])
    expect([...new Int8Array(bytes.buffer, 8)]).toEqual([127, 0, 2, -2, -127, 0, 0, 0, 0, 0])
  })

  test.each([65520, -65520, 1e30, Number.POSITIVE_INFINITY, Number.NaN])('f16 does not hold %d', value => {
    const before = engine.arena.usedBytes
    const rows = [Float32Array.of(1, 2, 3), Float32Array.of(4, value, 6)]
    expect(() => encode(rows, 3, 'f16')).toThrow(RangeOfFormatError)
    expect(() => encode(rows, 3, 'f16')).toThrow(/row 1, column 1/)
    expect(engine.arena.usedBytes).toBe(before)
  })

  test.each([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN])('int8 does not hold %d', value => {
    expect(() => encode([Float32Array.of(1), Float32Array.of(value)], 1, 'int8')).toThrow(RangeOfFormatError)
    expect(() => encode([Float32Array.of(1), Float32Array.of(value)], 1, 'int8')).toThrow(/row 1/)
  })

  test.each([65520, -1e30, Number.NEGATIVE_INFINITY, Number.NaN])('int4 does not hold %d', value => {
    const before = engine.arena.usedBytes
    const rows = [Float32Array.of(1, 2, 3), Float32Array.of(4, value, 6)]
    expect(() => encode(rows, 3, 'int4')).toThrow(RangeOfFormatError)
    expect(() => encode(rows, 3, 'int4')).toThrow(/row 1, column 1/)
    expect(engine.arena.usedBytes).toBe(before)
  })

  test('int4: normal values are off by a tenth, and an outlier spoils no other group', () => {
    const row = normals(192, 5)
    row[70] = 1000
    const got = decode(encode([row], 192, 'int4'), 1, 192, 'int4')
    for (const [from, to] of [
      [0, 64],
      [128, 192],
    ] as const) {
      const power = (values: Float32Array): number => values.reduce((sum, x) => sum + x * x, 0)
      const off = got.slice(from, to).map((x, i) => x - row[from + i]!)
      expect(Math.sqrt(power(off) / power(row.slice(from, to)))).toBeLessThan(0.12)
    }
    expect(got[70]).toBe(1000)
  })

  test('bytes of another length are refused', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...WIRE_FORMATS),
        fc.nat(8),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(800),
        (wire, rows, width, length) => {
          fc.pre(length !== rowBytes(rows, width, wire))
          const before = engine.arena.usedBytes
          expect(() => decode(new Uint8Array(length), rows, width, wire)).toThrow(ConnectionError)
          expect(() => decode(new Uint8Array(length), rows, width, wire)).toThrow(`${length} came`)
          expect(engine.arena.usedBytes).toBe(before)
        },
      ),
      { numRuns: RUNS },
    )
  })
})
