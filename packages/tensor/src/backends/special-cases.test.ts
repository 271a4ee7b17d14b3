/** What random values never reach: extremes, ties, every half float, and the laws that block-wise attention obeys. */
import { ACTIVATIONS, attentionScratch, KEY_CHUNK, packedLength } from '@prismal/kernels/catalogue'
import { describe, expect, test } from 'vitest'
import { normals, randomFrom } from '../../../../test/random.js'
import { Desk, reference, wasmBuilds } from './test-subjects.js'

/** max|got − want| / max|want| */
const distance = (got: readonly number[], want: readonly number[]): number =>
  Math.max(...got.map((value, i) => Math.abs(value - want[i]!))) / Math.max(...want.map(Math.abs))

describe.each([reference, ...wasmBuilds])('$build', subject => {
  describe('exp and activations', () => {
    test('softmax of differences from 0 to −∞', () => {
      const desk = new Desk(subject)
      const x = [0, -1e-7, -1, -20, -80, -87.3, -104, -1000, -3e38, -Infinity]
      const out = desk.space(x.length * 4)
      desk.kernels.softmax(desk.f32(x), out, 1, x.length)
      const sum = x.reduce((total, value) => total + Math.exp(value), 0)
      for (const [i, got] of desk.readF32(out, x.length).entries()) {
        const want = Math.exp(x[i]!) / sum
        if (want < 1.2e-38) expect(got).toBeLessThanOrEqual(1.2e-38)
        else expect(Math.abs(got / want - 1), `exp(${x[i]})`).toBeLessThan(5e-7)
      }
    })

    test('softmax of large values does not overflow', () => {
      const desk = new Desk(subject)
      const out = desk.space(12)
      desk.kernels.softmax(desk.f32([3e38, 3e38, -3e38]), out, 1, 3)
      expect(desk.readF32(out, 3)).toEqual([0.5, 0.5, 0])
    })

    test.each([
      ['gelu', 0],
      ['geluTanh', 0],
      ['tanh', -1],
      ['relu', 0],
    ] as const)('%s far from 0', (name, below) => {
      const desk = new Desk(subject)
      const out = desk.space(16)
      desk.kernels[name](desk.f32([-1e4, -60, 60, 1e4]), out, 4)
      const above = (x: number) => (name === 'tanh' ? 1 : x)
      const got = desk.readF32(out, 4).map(x => (Math.abs(x) < 1e-30 ? 0 : x))
      expect(got).toEqual([below, below, above(60), above(1e4)])
    })

    test('the activation of a matrix product is the kernel of that name', () => {
      const x = normals(64, 1).map(value => value * 3)
      for (const [number, name] of (['gelu', 'geluTanh', 'relu', 'tanh'] as const).entries()) {
        const desk = new Desk(subject)
        const [one, packed, product, alone] = [desk.f32([1]), desk.space(256), desk.space(256), desk.space(256)]
        desk.kernels.packPanels(desk.f32(x), packed, 1, 64, 64, 1, 8)
        desk.kernels.gemm(one, 1, packed, 0, 0, 0, product, 64, 1, 64, 1, number + 1)
        desk.kernels[name](desk.f32(x), alone, 64)
        expect(desk.readF32(product, 64), ACTIVATIONS[number + 1]).toEqual(desk.readF32(alone, 64))
      }
    })
  })

  describe('matrix product', () => {
    test('a weight packed as stored [out, in] and its transpose packed as [in, out] are the same panels', () => {
      const [k, n] = [13, 21]
      const weight = normals(n * k, 2)
      const transposed = weight.map((_, i) => weight[(i % n) * k + Math.floor(i / n)]!)
      const desk = new Desk(subject)
      const [a, b] = [desk.space(packedLength(k, n) * 4), desk.space(packedLength(k, n) * 4)]
      desk.kernels.packPanels(desk.f32(weight), a, k, n, 1, k, 8 * k)
      desk.kernels.packPanels(desk.f32(transposed), b, k, n, n, 1, 8 * k)
      expect(desk.readF32(a, packedLength(k, n))).toEqual(desk.readF32(b, packedLength(k, n)))
      expect(desk.readF32(a, packedLength(k, n)).slice(2 * 8 * k + 5, 2 * 8 * k + 8)).toEqual([0, 0, 0])
    })

    test.each([1, 2, 7])('%i rows by some panels only give the same bits as by all', m => {
      const [k, n] = [37, 77]
      const desk = new Desk(subject)
      const a = desk.f32(normals(m * k, 3))
      const packed = desk.space(packedLength(k, n) * 4)
      desk.kernels.packPanels(desk.f32(normals(k * n, 4)), packed, k, n, n, 1, 8 * k)
      const bias = desk.f32(normals(n, 5))
      const [whole, cut] = [desk.space(m * n * 4), desk.space(m * n * 4)]
      desk.kernels.gemm(a, k, packed, bias, 0, 0, whole, n, m, n, k, 1)
      for (const [from, to] of [
        [0, 8],
        [8, 40],
        [40, 77],
      ] as const) {
        desk.kernels.gemm(a, k, packed + from * k * 4, bias + from * 4, 0, 0, cut + from * 4, n, m, to - from, k, 1)
      }
      expect(desk.readU32(cut, m * n)).toEqual(desk.readU32(whole, m * n))
    })

    test.each([1, 2, 3, 4, 5])('a register tile of up to %i rows gives the same bits as the largest', rows => {
      const [m, k, n] = [23, 100, 61]
      const desk = new Desk(subject)
      const a = desk.f32(normals(m * k, 13))
      const packed = desk.f32(normals(packedLength(k, n), 14))
      const [large, small] = [desk.space(m * n * 4), desk.space(m * n * 4)]
      desk.kernels.gemm(a, k, packed, 0, 0, 0, large, n, m, n, k, 2, 0)
      desk.kernels.gemm(a, k, packed, 0, 0, 0, small, n, m, n, k, 2, rows)
      expect(desk.readU32(small, m * n)).toEqual(desk.readU32(large, m * n))
    })

    test('the residual may be the output', () => {
      const [m, n, k] = [7, 13, 5]
      const desk = new Desk(subject)
      const [a, packed] = [desk.f32(normals(m * k, 6)), desk.f32(normals(packedLength(k, n), 7))]
      const [apart, same, out] = [desk.f32(normals(m * n, 8)), desk.f32(normals(m * n, 8)), desk.space(m * n * 4)]
      desk.kernels.gemm(a, k, packed, 0, apart, n, out, n, m, n, k, 0)
      desk.kernels.gemm(a, k, packed, 0, same, n, same, n, m, n, k, 0)
      expect(desk.readU32(same, m * n)).toEqual(desk.readU32(out, m * n))
    })
  })

  test('layerNorm of rows far from 0 keeps its accuracy', () => {
    const width = 192
    const x = normals(width, 9).map(value => 1000 + value)
    const [ones, zeros] = [new Float32Array(width).fill(1), new Float32Array(width)]
    const of = (desk: Desk) => {
      const out = desk.space(width * 4)
      desk.kernels.layerNorm(desk.f32(x), desk.f32(ones), desk.f32(zeros), out, 1, width, 1e-5)
      return desk.readF32(out, width)
    }
    expect(distance(of(new Desk(subject)), of(new Desk(reference)))).toBeLessThan(1e-6)
  })

  describe('formats', () => {
    // An independent conversion: the value a binary16 stands for, by the standard's formula.
    const halfValue = (h: number): number => {
      const [exponent, mantissa] = [(h >> 10) & 31, h & 0x3ff]
      const size = exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15)
      return (h & 0x8000 ? -1 : 1) * (exponent === 31 ? (mantissa === 0 ? Infinity : Number.NaN) : size)
    }
    const every = Array.from({ length: 65536 }, (_, h) => h)

    test('every binary16 becomes its f32', () => {
      const desk = new Desk(subject)
      const out = desk.space(65536 * 4)
      desk.kernels.f16ToF32(desk.u16(every), out, 65536)
      const got = desk.readF32(out, 65536)
      expect(got.findIndex((value, h) => !Object.is(value, halfValue(h)))).toBe(-1)
    })

    test('every binary16 comes back, and every f32 between two goes to the nearer, ties to the even one', () => {
      const desk = new Desk(subject)
      const finite = every.filter(h => (h & 0x7c00) !== 0x7c00)
      const values: number[] = []
      const want: number[] = []
      const expectAll = (x: number, h: number) => values.push(x) && want.push(h)
      for (const h of finite) {
        expectAll(halfValue(h), h)
        if (((h + 1) & 0x7c00) === 0x7c00) continue
        const middle = (halfValue(h) + halfValue(h + 1)) / 2 // exact in f32, which has 13 bits more
        const step = Math.abs(middle) * 2 ** -23
        expectAll(middle, h % 2 === 0 ? h : h + 1)
        expectAll(Math.fround(middle - Math.sign(middle) * step), h)
        expectAll(Math.fround(middle + Math.sign(middle) * step), h + 1)
      }
      const out = desk.space(values.length * 2)
      expect(desk.kernels.f32ToF16(desk.f32(values), out, values.length)).toBe(0)
      const got = desk.readU16(out, values.length)
      const wrong = got.findIndex((h, i) => h !== want[i])
      expect(wrong, `f32 ${values[wrong]} gave ${got[wrong]}, not ${want[wrong]}`).toBe(-1)
    })

    test.each([
      [65519.99, 0, 0x7bff],
      [65520, 1, 0x7c00],
      [-65536, 1, 0xfc00],
      [3e38, 1, 0x7c00],
      [Infinity, 1, 0x7c00],
      [Number.NaN, 1, 0x7e00],
      [1e-40, 0, 0],
      [-1e-10, 0, 0x8000],
    ])('f32 %d as binary16', (x, found, bits) => {
      const desk = new Desk(subject)
      for (const before of [0, 2, 5]) {
        const count = before + 1 + 3
        const out = desk.space(count * 2)
        const values = [...new Array(before).fill(1), x, 2, 65504, -65504]
        expect(desk.kernels.f32ToF16(desk.f32(values), out, count)).toBe(found && before + found)
        expect(desk.readU16(out, count)[before]).toBe(bits)
      }
    })

    test('int8 codes round ties to even and stay within ±127', () => {
      const desk = new Desk(subject)
      const x = [127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, -126.5, 0.49999997, -127]
      const [codes, scales] = [desk.space(x.length), desk.space(4)]
      expect(desk.kernels.quantiseRows(desk.f32(x), codes, scales, 1, x.length)).toBe(0)
      expect(desk.readF32(scales, 1)).toEqual([1])
      expect(desk.readI8(codes, x.length)).toEqual([127, 0, 2, 2, 0, -2, -2, 126, -126, 0, -127])
    })

    test('int8 codes next to a tie fall on the side of the quotient in f64, which f32 would lose', () => {
      const desk = new Desk(subject)
      const random = randomFrom(13)
      for (let round = 0; round < 20; round++) {
        const most = Math.fround(1 + random())
        const scale = Math.fround(most / 127)
        const x = [most, ...Array.from({ length: 126 }, (_, i) => Math.fround((i + 0.5) * scale))]
        const [codes, scales] = [desk.space(x.length), desk.space(4)]
        desk.kernels.quantiseRows(desk.f32(x), codes, scales, 1, x.length)
        const want = x.map(value => {
          const quotient = value / scale
          const tie = quotient % 1 === 0.5
          return Math.min(127, tie ? 2 * Math.round(quotient / 2) : Math.round(quotient))
        })
        expect(desk.readI8(codes, x.length)).toEqual(want)
      }
    })

    test('int8 rows of zeros, of subnormals and of what is not finite', () => {
      const desk = new Desk(subject)
      const rows = [
        [0, -0, 0],
        [1e-45, 0, -1e-45],
        [1, Number.NaN, 2],
        [-Infinity, 1, 1],
        [254, -254, 3],
      ]
      const [codes, scales] = [desk.space(15), desk.space(20)]
      expect(desk.kernels.quantiseRows(desk.f32(rows.flat()), codes, scales, 5, 3)).toBe(3)
      expect(desk.readF32(scales, 5)).toEqual([1, 1, 1, 1, 2])
      expect(desk.readI8(codes, 15)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 127, -127, 2])
    })
  })

  describe('attention', () => {
    const [H, d, n] = [2, 10, 7]
    const D = H * d
    interface Block {
      keys: Float32Array
      values: Float32Array
      logGain?: readonly number[]
      visible?: readonly number[]
    }
    const queries = normals(n * D, 10)
    const keys = normals(150 * D, 11)
    const values = normals(150 * D, 12)
    const all = (visible?: readonly number[]): Block => ({ keys, values, ...(visible && { visible }) })
    const slice = (from: number, to: number): Block => ({
      keys: keys.subarray(from * D, to * D),
      values: values.subarray(from * D, to * D),
    })

    /** Folds blocks in order for some query rows, heads in ranges; the results as numbers and as bits. */
    const attend = (
      blocks: readonly Block[],
      q = queries,
      headRanges: readonly (readonly [number, number])[] = [[0, H]],
    ) => {
      const desk = new Desk(subject)
      const rows = q.length / D
      const [state, weighted, out] = [desk.space(rows * H * 8), desk.space(rows * D * 4), desk.space(rows * D * 4)]
      const scratch = desk.space(attentionScratch(d) * 4)
      const at = desk.f32(q)
      desk.kernels.attentionBegin(state, weighted, rows, H, d)
      for (const b of blocks) {
        const m = b.keys.length / D
        const gain = b.logGain ? desk.f32(b.logGain) : 0
        const seen = b.visible ? desk.i32(b.visible) : 0
        const [k, v] = [desk.f32(b.keys), desk.f32(b.values)]
        const given = [at, D, k, D, v, D, gain, seen, state, weighted, scratch, rows, m, H, d, d ** -0.5]
        for (const [from, to] of headRanges) desk.kernels.attentionFold(...given, from, to)
      }
      desk.kernels.attentionEnd(state, weighted, out, rows, H, d)
      return { values: desk.readF32(out, rows * D), bits: desk.readU32(out, rows * D) }
    }

    test('equals softmax(q·kᵀ)·v, written out', () => {
      const want = Array.from({ length: n * D }, (_, at) => {
        const [i, h] = [Math.floor(at / D), Math.floor((at % D) / d)]
        const weights = Array.from({ length: 150 }, (_, j) => {
          let dot = 0
          for (let e = h * d; e < (h + 1) * d; e++) dot += queries[i * D + e]! * keys[j * D + e]!
          return Math.exp(dot * d ** -0.5)
        })
        const sum = weights.reduce((a, b) => a + b)
        return weights.reduce((total, w, j) => total + (w / sum) * values[j * D + (at % D)]!, 0)
      })
      expect(distance(attend([all()]).values, want)).toBeLessThan(4e-6)
    })

    test.each([[[KEY_CHUNK]], [[1]], [[7, 8, 71, 149]], [[30, 30, 90]]])('cut at %j equals uncut', cuts => {
      const bounds = [0, ...cuts, 150]
      const blocks = bounds.slice(1).map((to, i) => slice(bounds[i]!, to))
      expect(distance(attend(blocks).values, attend([all()]).values)).toBeLessThan(4e-6)
    })

    test.skipIf(subject === reference)(
      'cut at a chunk, the bits are those of uncut: keys are folded in chunks from the start of a block',
      () => {
        expect(attend([slice(0, KEY_CHUNK), slice(KEY_CHUNK, 150)]).bits).toEqual(attend([all()]).bits)
      },
    )

    test('heads folded range by range have the bits of all at once', () => {
      const ranges = [
        [1, 2],
        [0, 1],
      ] as const
      expect(attend([all()], queries, ranges).bits).toEqual(attend([all()]).bits)
    })

    test('logGain = ln c weighs a key as c equal ones', () => {
      const counts = [1, 2, 5, 3]
      const repeated = counts.flatMap((count, j) => new Array<number>(count).fill(j))
      const rows = (x: Float32Array) => Float32Array.from(repeated.flatMap(j => [...x.subarray(j * D, (j + 1) * D)]))
      const weighed = attend([{ ...slice(0, 4), logGain: counts.map(Math.log) }, slice(70, 150)])
      const written = attend([{ keys: rows(keys), values: rows(values) }, slice(70, 150)])
      expect(distance(weighed.values, written.values)).toBeLessThan(4e-6)
    })

    test('logGain = −∞ gives a key weight zero, also when it is the first, or the only one', () => {
      const none = new Array<number>(70).fill(-Infinity)
      const without = attend([slice(70, 150)])
      expect(attend([{ ...slice(0, 70), logGain: none }, slice(70, 150)]).bits).toEqual(without.bits)
      expect(attend([{ ...slice(0, 70), logGain: none }]).values).toEqual(new Array(n * D).fill(0))
      const first = [-Infinity, ...new Array<number>(149).fill(0)]
      expect(distance(attend([{ ...all(), logGain: first }]).values, attend([slice(1, 150)]).values)).toBeLessThan(4e-6)
    })

    test('logGain = 0 has the bits of none', () => {
      expect(attend([{ ...all(), logGain: new Array<number>(150).fill(0) }]).bits).toEqual(attend([all()]).bits)
    })

    test('a row that sees a prefix has the bits it has with that prefix alone', () => {
      const visible = [0, 1, 63, KEY_CHUNK - 1, KEY_CHUNK, KEY_CHUNK + 1, 150]
      const { bits } = attend([all(visible)])
      for (const [i, count] of visible.entries()) {
        const alone = attend([slice(0, count)], queries.subarray(i * D, (i + 1) * D))
        expect(bits.slice(i * D, (i + 1) * D), `row ${i}`).toEqual(alone.bits)
      }
    })

    test('rows that see nothing end as zeros, and a block no row sees changes nothing', () => {
      expect(attend([all(new Array<number>(n).fill(0))]).values).toEqual(new Array(n * D).fill(0))
      const after = attend([slice(0, 20), { ...slice(20, 150), visible: new Array<number>(n).fill(0) }])
      expect(after.bits).toEqual(attend([slice(0, 20)]).bits)
    })

    test('scores of hundreds do not overflow', () => {
      const loud = queries.map(x => x * 300)
      const { values: got } = attend([all()], loud)
      expect(got.every(Number.isFinite)).toBe(true)
      expect(Math.max(...got.map(Math.abs))).toBeLessThanOrEqual(Math.max(...values.map(Math.abs)) * 1.000001)
    })
  })
})
