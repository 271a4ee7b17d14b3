import {
  add,
  availableBuilds,
  createEngine,
  dequantiseRows,
  type Engine,
  fromBf16,
  fromF16,
  gather,
  gelu,
  geluTanh,
  innerProducts,
  layerNorm,
  linear,
  MemoryError,
  matmul,
  OperandError,
  pack,
  quantiseRows,
  RangeOfFormatError,
  relu,
  type Scope,
  segmentMeans,
  softmax,
  type Tensor,
  tanh,
  toF16,
  transpose,
} from '@prismal/tensor'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bits, distance, largest } from '../../../test/compare.js'
import { normals } from '../../../test/random.js'
import { RUNS } from '../../../test/runs.js'

const size = (most: number): fc.Arbitrary<number> => fc.integer({ min: 1, max: most })
const seed = fc.integer()

/** a [m, k] · b [k, n], in float64. */
function product(a: Float32Array, b: Float32Array, m: number, k: number, n: number): number[] {
  return Array.from({ length: m * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n]
    let sum = 0
    for (let p = 0; p < k; p++) sum += a[i * k + p]! * b[p * n + j]!
    return sum
  })
}
/** What the terms of a product amount to, at most. */
const amount = (a: Float32Array, b: Float32Array, m: number, k: number, n: number): number =>
  largest(product(a.map(Math.abs), b.map(Math.abs), m, k, n))
const transposed = (x: Float32Array, m: number, n: number): Float32Array =>
  Float32Array.from({ length: m * n }, (_, at) => x[(at % m) * n + Math.floor(at / m)]!)

/** What `act` gives, or undefined where memory does not suffice. */
function attempt<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch (error) {
    expect(error).toBeInstanceOf(MemoryError)
    return undefined
  }
}

describe.each(availableBuilds())('operations on %s', backend => {
  let engine: Engine
  let scope: Scope
  beforeAll(async () => {
    engine = await createEngine({ backend })
  })
  afterAll(() => engine.dispose())
  beforeEach(() => {
    scope = engine.scope()
  })
  afterEach(() => {
    scope.dispose()
    expect(engine.arena.usedBytes).toBe(0)
  })
  /** Runs a property in a scope of its own. */
  const property = <T extends [unknown, ...unknown[]]>(
    arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> },
    holds: (scope: Scope, ...values: T) => void,
  ): void =>
    fc.assert(
      fc.property(...arbitraries, (...values: T) => {
        const inner = scope.child()
        try {
          holds(inner, ...values)
        } finally {
          inner.dispose()
        }
      }),
      { numRuns: RUNS },
    )

  it('linear: a product with bias, activation and residual, of either layout', () => {
    property([size(9), size(40), size(20), seed, fc.boolean()], (scope, m, k, n, seed, isTransposed) => {
      const [a, b] = [normals(m * k, seed), normals(k * n, seed + 1)]
      const [bias, residual] = [normals(n, seed + 2), normals(m * n, seed + 3)]
      const matrix = isTransposed
        ? pack(scope, scope.tensor(transposed(b, k, n), [n, k]), 'out,in', scope.tensor(bias, [n]))
        : pack(scope, scope.tensor(b, [k, n]), 'in,out', scope.tensor(bias, [n]))
      const x = scope.tensor(a, [m, k])
      const want = product(a, b, m, k, n).map((sum, i) => Math.max(0, sum + bias[i % n]!) + residual[i]!)
      const y = linear(x, matrix, { activation: 'relu', residual: scope.tensor(residual, [m, n]) })
      expect([y.rows, y.columns]).toEqual([m, n])
      expect(distance(y.floats(), want, amount(a, b, m, k, n) + largest(bias))).toBeLessThan(2e-6)
      const target = scope.tensor(residual, [m, n])
      expect(linear(x, matrix, { activation: 'relu', residual: target, out: target })).toBe(target)
      expect(bits(target.floats())).toEqual(bits(y.floats()))
    })
  })

  it('linear: reads and writes views of columns', () => {
    const wide = scope.tensor(normals(5 * 9, 1), [5, 9])
    const matrix = pack(scope, scope.tensor(normals(4 * 3, 2), [4, 3]), 'in,out')
    const copy = scope.tensor(wide.slab(2, 6).floats(), [5, 4])
    const out = scope.tensor(new Float32Array(5 * 10), [5, 10])
    linear(wide.slab(2, 6), matrix, { out: out.slab(3, 6) })
    expect(bits(out.slab(3, 6).floats())).toEqual(bits(linear(copy, matrix).floats()))
    expect([...out.slab(0, 3).floats(), ...out.slab(6, 10).floats()].every(v => v === 0)).toBe(true)
  })

  it('linear: writes beside what it reads, in rows and in columns of the same memory', () => {
    const matrix = pack(scope, scope.tensor(normals(3 * 3, 2), [3, 3]), 'in,out')
    const x = scope.tensor(normals(4 * 3, 1), [4, 3])
    const want = bits(linear(x, matrix).floats())
    const wide = scope.tensor(new Float32Array(4 * 9), [4, 9])
    const tall = scope.tensor(new Float32Array(8 * 3), [8, 3])
    for (const [from, to] of [
      [wide.slab(0, 3), wide.slab(3, 6)],
      [wide.slab(6, 9), wide.slab(2, 5)],
      [tall.slice(4, 8), tall.slice(0, 4)],
    ] as const) {
      const values = x.floats()
      if (from.contiguous) from.write(values)
      else for (let r = 0; r < 4; r++) from.slice(r, r + 1).write(values.subarray(r * 3, r * 3 + 3))
      expect(bits(linear(from, matrix, { out: to }).floats())).toEqual(want)
    }
  })

  it('pack: gives its memory back whatever fails', async () => {
    const large = scope.tensor([1, 70000], [1, 2])
    const used = engine.arena.usedBytes
    expect(() => pack(scope, large, 'in,out', undefined, 'f16')).toThrow(RangeOfFormatError)
    expect(engine.arena.usedBytes).toBe(used)
    for (const precision of ['f32', 'f16', 'q8'] as const)
      for (let limit = 128; ; limit += 64) {
        const small = await createEngine({ backend, memoryLimitBytes: limit })
        const b = small.tensor(new Float32Array(32), [16, 2])
        const before = small.arena.usedBytes
        const packed = attempt(() => pack(small.root, b, 'in,out', undefined, precision))
        if (!packed) expect(small.arena.usedBytes).toBe(before)
        small.dispose()
        if (packed) break
      }
  })

  it('linear: the bits of a row do not depend on the rows beside it', () => {
    property([size(20), size(70), size(20), seed], (scope, m, k, n, seed) => {
      const matrix = pack(scope, scope.tensor(normals(k * n, seed), [k, n]), 'in,out')
      const x = scope.tensor(normals(m * k, seed + 1), [m, k])
      const all = linear(x, matrix, { activation: 'gelu' })
      const row = Math.abs(seed) % m
      const one = linear(x.slice(row, row + 1), matrix, { activation: 'gelu' })
      expect(bits(one.floats())).toEqual(bits(all.slice(row, row + 1).floats()))
    })
  })

  it('matmul: any two matrices that fit, counted by the meter', () => {
    property([size(9), size(40), size(20), seed], (scope, m, k, n, seed) => {
      const counted: number[] = []
      const metered = scope.child({ count: flops => counted.push(flops) })
      const [a, b] = [normals(m * k, seed), normals(k * n, seed + 1)]
      const [x, y] = [metered.tensor(a, [m, k]), metered.tensor(b, [k, n])]
      const before = engine.arena.usedBytes
      const z = matmul(x, y)
      expect(distance(z.floats(), product(a, b, m, k, n), amount(a, b, m, k, n))).toBeLessThan(2e-6)
      expect(counted).toEqual([2 * m * k * n])
      z.dispose()
      expect(engine.arena.usedBytes).toBe(before)
    })
  })

  it('layerNorm: mean 0 and variance 1, then gain and bias', () => {
    property([size(5), size(40), seed], (scope, m, n, seed) => {
      const [x, gain, bias] = [normals(m * n, seed, 3), normals(n, seed + 1), normals(n, seed + 2)]
      const want = Array.from({ length: m }, (_, i) => {
        const row = [...x.subarray(i * n, (i + 1) * n)]
        const mean = row.reduce((a, b) => a + b, 0) / n
        const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / n
        return row.map((v, j) => ((v - mean) / Math.sqrt(variance + 0.01)) * gain[j]! + bias[j]!)
      }).flat()
      const y = layerNorm(scope.tensor(x, [m, n]), scope.tensor(gain, [n]), scope.tensor(bias, [n]), 0.01)
      expect(distance(y.floats(), want, 1)).toBeLessThan(1e-5)
    })
  })

  it('softmax: rows of probabilities', () => {
    property([size(5), size(40), seed], (scope, m, n, seed) => {
      const x = normals(m * n, seed, 5)
      const want = Array.from({ length: m }, (_, i) => {
        const weights = [...x.subarray(i * n, (i + 1) * n)].map(Math.exp)
        const total = weights.reduce((a, b) => a + b, 0)
        return weights.map(w => w / total)
      }).flat()
      expect(distance(softmax(scope.tensor(x, [m, n])).floats(), want)).toBeLessThan(1e-6)
    })
  })

  it.each<[string, (x: Tensor) => Tensor, (x: number) => number]>([
    ['relu', relu, x => Math.max(x, 0)],
    ['tanh', tanh, Math.tanh],
    ['geluTanh', geluTanh, x => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))],
  ])('%s, element by element', (_, operation, definition) => {
    const x = normals(200, 1, 3)
    const y = operation(scope.tensor(x, [10, 20]))
    expect(distance(y.floats(), [...x].map(definition))).toBeLessThan(1e-6)
    expect(y.shape).toEqual([10, 20])
  })

  it('gelu: the erf form, at known values', () => {
    // scipy.stats.norm.cdf(x) * x
    const known = [
      [-3, -0.0040496940948889],
      [-1, -0.1586552539314571],
      [0, 0],
      [0.5, 0.3457312306370031],
      [2, 1.9544997361036416],
    ] as const
    const y = gelu(
      scope.tensor(
        known.map(([x]) => x),
        [5],
      ),
    ).floats()
    for (const [i, [, want]] of known.entries()) expect(Math.abs(y[i]! - want)).toBeLessThan(3e-7)
  })

  it('add and transpose', () => {
    property([size(9), size(20), seed], (scope, m, n, seed) => {
      const [a, b] = [normals(m * n, seed), normals(m * n, seed + 1)]
      const [x, y] = [scope.tensor(a, [m, n]), scope.tensor(b, [m, n])]
      expect(add(x, y).floats()).toEqual(a.map((v, i) => v + b[i]!))
      expect(transpose(x).floats()).toEqual(transposed(a, m, n))
      expect(transpose(x).shape).toEqual([n, m])
    })
  })

  it('innerProducts: of each two rows, the same bits whatever other rows there are', () => {
    property([size(12), size(20), fc.nat(), fc.nat(), seed], (scope, m, k, a, b, seed) => {
      const values = normals(m * k, seed)
      const x = scope.tensor(values, [m, k])
      const products = innerProducts(x)
      expect(products.shape).toEqual([m, m])
      const [i, j] = [a % m, b % m]
      const of = (r: number): Float32Array => values.subarray(r * k, (r + 1) * k)
      const due = of(i).reduce((sum, v, c) => sum + v * of(j)[c]!, 0)
      const got = products.floats()
      expect(Math.abs(got[i * m + j]! - due)).toBeLessThan(1e-4)
      expect(got[j * m + i]).toBe(got[i * m + j])
      expect(innerProducts(gather(scope, x, [i, j])).floats()[1]).toBe(got[i * m + j])
    })
  })

  it('gather: rows of a table, and the same from a packed matrix', () => {
    property([size(12), size(20), fc.array(fc.nat(), { maxLength: 8 }), seed], (scope, rows, width, picks, seed) => {
      const table = scope.tensor(normals(rows * width, seed), [rows, width])
      const ids = picks.map(p => p % rows)
      const got = gather(scope, table, ids)
      expect(got.shape).toEqual([ids.length, width])
      expect(got.floats()).toEqual(Float32Array.from(ids.flatMap(id => [...table.slice(id, id + 1).floats()])))
      expect(gather(scope, pack(scope, table, 'out,in'), ids).floats()).toEqual(got.floats())
    })
  })

  it('segmentMeans: of runs, of one row that row', () => {
    property(
      [size(12), size(20), fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 1, maxLength: 5 }), seed],
      (scope, rows, width, picks, seed) => {
        const x = scope.tensor(normals(rows * width, seed), [rows, width])
        const runs = picks.map(([a, b]) => [a % rows, (a % rows) + 1 + (b % (rows - (a % rows)))] as const)
        const means = segmentMeans(x, runs)
        for (const [i, [from, to]] of runs.entries()) {
          const part = x.slice(from, to).floats()
          const want = Array.from({ length: width }, (_, j) => {
            let sum = 0
            for (let r = 0; r < to - from; r++) sum += part[r * width + j]!
            return sum / (to - from)
          })
          const got = means.slice(i, i + 1).floats()
          if (to - from === 1) expect(got).toEqual(part)
          for (const [j, value] of want.entries()) expect(Math.abs(got[j]! - value)).toBeLessThan(1e-6)
        }
      },
    )
  })

  it('f16, bf16 and int8 there and back', () => {
    property([size(5), size(20), seed], (scope, m, n, seed) => {
      const values = normals(m * n, seed, 10)
      const x = scope.tensor(values, [m, n])
      const half = fromF16(scope, toF16(x)).floats()
      // Half a unit in the last place; below 2⁻¹⁴ the units no longer shrink.
      const bound = (v: number): number => Math.max(Math.abs(v) * 2 ** -11, 2 ** -25)
      for (const [i, v] of values.entries()) expect(Math.abs(half[i]! - v)).toBeLessThanOrEqual(bound(v))
      expect(bits(fromF16(scope, toF16(scope.tensor(half, [m, n]))).floats())).toEqual(bits(half))
      const { codes, scales } = quantiseRows(x)
      const back = dequantiseRows(codes, scales).floats()
      for (const [i, v] of values.entries()) {
        const step = scales.floats()[Math.floor(i / n)]!
        expect(Math.abs(back[i]! - v)).toBeLessThanOrEqual(step * 0.5001)
      }
      const high = Uint16Array.from(new Uint32Array(values.buffer), b => b >>> 16)
      const cut = Uint32Array.from(high, b => b << 16)
      expect(bits(fromBf16(scope, scope.tensor(high, [m, n])).floats())).toEqual([...cut])
    })
  })

  describe('names what does not fit', () => {
    const zeros = (...shape: number[]): Tensor => scope.tensor(new Float32Array(shape.reduce((a, b) => a * b)), shape)
    const half = (...shape: number[]): Tensor => scope.empty(shape, 'f16')
    const matrix = () => pack(scope, zeros(3, 4), 'in,out')
    const square = () => pack(scope, zeros(3, 3), 'in,out')
    const cases: [string, () => unknown, string][] = [
      ['matmul', () => matmul(zeros(2, 3), zeros(4, 5)), 'matmul: inner dimensions differ: [2,3] × [4,5]'],
      ['matmul', () => matmul(half(2, 3), zeros(3, 5)), 'matmul: f16 [2,3] is given where f32 is needed'],
      ['matmul', () => matmul(zeros(2, 3), half(3, 5)), 'pack: f16 [3,5] is given where f32 is needed'],
      ['linear', () => linear(zeros(2, 4), matrix()), 'linear: inner dimensions differ: [2,4] × [3,4]'],
      ['linear', () => linear(half(2, 3), matrix()), 'linear: f16 [2,3] is given where f32 is needed'],
      [
        'linear',
        () => linear(zeros(2, 3), matrix(), { residual: zeros(2, 3) }),
        'linear: residual is f32 [2,3] where f32 [2,4] is needed',
      ],
      [
        'linear',
        () => linear(zeros(2, 3), matrix(), { residual: half(2, 4) }),
        'linear: residual is f16 [2,4] where f32 [2,4] is needed',
      ],
      [
        'linear',
        () => linear(zeros(2, 3), matrix(), { out: zeros(3, 4) }),
        'linear: out is f32 [3,4] where f32 [2,4] is needed',
      ],
      [
        'linear',
        () => linear(zeros(2, 3), matrix(), { activation: 'swish' as 'relu' }),
        'linear: activation "swish" is not one of none, gelu, gelu-tanh, relu, tanh',
      ],
      [
        'linear',
        () => {
          const x = zeros(2, 3)
          linear(x, square(), { out: x })
        },
        'linear: out f32 [2,3] overlaps x f32 [2,3]',
      ],
      [
        'linear',
        () => {
          const all = zeros(5, 3)
          linear(all.slice(0, 3), square(), { out: all.slice(2, 5) })
        },
        'linear: out f32 [3,3] overlaps x f32 [3,3]',
      ],
      [
        'linear',
        () => {
          const all = zeros(4, 8)
          linear(all.slab(4, 7), square(), { out: all.slab(2, 5) })
        },
        'linear: out f32 [4,3] overlaps x f32 [4,3]',
      ],
      ['pack', () => pack(scope, zeros(3, 4), 'in,out', zeros(3)), 'pack: bias is f32 [1,3] where f32 [1,4] is needed'],
      [
        'pack',
        () => pack(scope, zeros(3, 4).slab(0, 2), 'in,out'),
        'pack: f32 [3,2] is a view of columns; copy it first',
      ],
      [
        'layerNorm',
        () => layerNorm(zeros(2, 3), zeros(3), zeros(2), 0),
        'layerNorm: f32 [2] does not fit the 3 columns of f32 [2,3]',
      ],
      [
        'layerNorm',
        () => layerNorm(zeros(2, 3), half(3), zeros(3), 0),
        'layerNorm: f16 [3] does not fit the 3 columns of f32 [2,3]',
      ],
      ['softmax', () => softmax(half(2, 3)), 'softmax: f16 [2,3] is given where f32 is needed'],
      ['gelu', () => gelu(zeros(2, 3).slab(0, 2)), 'gelu: f32 [2,2] is a view of columns; copy it first'],
      ['add', () => add(zeros(2, 3), zeros(3, 2)), 'add: the second operand is f32 [3,2] where f32 [2,3] is needed'],
      ['add', () => add(zeros(2, 3), half(2, 3)), 'add: f16 [2,3] is given where f32 is needed'],
      ['transpose', () => transpose(half(2, 3)), 'transpose: f16 [2,3] is given where f32 is needed'],
      ['gather', () => gather(scope, zeros(3, 4), [0, 3]), "gather: index 3 (number 1) is outside the table's 3 rows"],
      ['gather', () => gather(scope, matrix(), [-1]), "gather: index -1 (number 0) is outside the table's 4 rows"],
      ['gather', () => gather(scope, zeros(3, 4), [0.5]), "gather: index 0.5 (number 0) is outside the table's 3 rows"],
      ['gather', () => gather(scope, half(3, 4), [0]), 'gather: f16 [3,4] is given where f32 is needed'],
      [
        'segmentMeans',
        () => segmentMeans(zeros(3, 4), [[1, 1]]),
        'segmentMeans: run 1…1 is empty or outside the 3 rows',
      ],
      [
        'segmentMeans',
        () => segmentMeans(zeros(3, 4), [[2, 4]]),
        'segmentMeans: run 2…4 is empty or outside the 3 rows',
      ],
      ['fromF16', () => fromF16(scope, zeros(2)), 'fromF16: f32 [2] is given where f16 is needed'],
      ['fromBf16', () => fromBf16(scope, zeros(2)), 'fromBf16: f32 [2] is given where f16 is needed'],
      ['toF16', () => toF16(half(2)), 'toF16: f16 [2] is given where f32 is needed'],
      [
        'dequantiseRows',
        () => dequantiseRows(scope.empty([2, 3], 'i8'), zeros(3)),
        'dequantiseRows: 3 scales for the rows of i8 [2,3]',
      ],
    ]
    it.each(cases)('%s: %#', (_, act, message) => {
      expect(act).toThrow(new OperandError(message))
    })

    it('values beyond a format', () => {
      const large = scope.tensor([1, 2, 3, 70000, 5, 6], [2, 3])
      const used = engine.arena.usedBytes
      expect(() => toF16(large)).toThrow(
        new RangeOfFormatError('f16 holds finite values up to ±65504; 70000 at row 1, column 0 does not fit'),
      )
      const infinite = scope.tensor([1, 2, 3, 4, Number.NEGATIVE_INFINITY, 6], [2, 3])
      expect(() => quantiseRows(infinite)).toThrow(
        new RangeOfFormatError('int8 needs finite values; row 1 of f32 [2,3] has others'),
      )
      infinite.dispose()
      expect(engine.arena.usedBytes).toBe(used)
    })

    it('operands of another engine', async () => {
      const other = await createEngine({ backend })
      const [x, y] = [zeros(2, 2), other.tensor([1, 2, 3, 4], [2, 2])]
      const elsewhere = 'f32 [2,2] belongs to another engine than the first operand'
      const acts: [() => unknown, string][] = [
        [() => add(x, y), `add: ${elsewhere}`],
        [() => matmul(x, y), `pack: ${elsewhere}`],
        [() => linear(x, pack(scope, x, 'in,out'), { residual: y }), `linear: ${elsewhere}`],
        [() => linear(x, pack(scope, x, 'in,out'), { out: y }), `linear: ${elsewhere}`],
        [() => linear(x, pack(other.root, y, 'in,out')), 'linear: f32 [16] belongs to another engine'],
        [() => layerNorm(x, y.slice(0, 1), x.slice(0, 1), 0), 'layerNorm: f32 [1,2] belongs to another engine'],
        [() => gather(scope, y, [0]), `gather: ${elsewhere}`],
        [() => gather(scope, pack(other.root, y, 'in,out'), [0]), 'gather: f32 [16] belongs to another engine'],
      ]
      for (const [act, message] of acts) expect(act).toThrow(message)
      other.dispose()
    })
  })
})
