import {
  attentionBegin,
  attentionEnd,
  attentionFold,
  availableBuilds,
  createEngine,
  type Engine,
  type KeyBlock,
  OperandError,
  type Scope,
  type Tensor,
} from '@prismal/tensor'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bits, distance, largest } from '../../../test/compare.js'
import { normals } from '../../../test/random.js'
import { RUNS } from '../../../test/runs.js'

interface Heads {
  readonly H: number
  readonly d: number
}

/** softmax(q·kᵀ·scale + gain)·v, head by head in float64; `visible` keys are a prefix. */
function definition(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  { H, d }: Heads,
  scale: number,
  gain: (key: number) => number = () => 0,
  visible: (query: number) => number = () => Number.POSITIVE_INFINITY,
): number[] {
  const width = H * d
  const keys = k.length / width
  const out = new Array<number>(q.length).fill(0)
  for (let i = 0; i < q.length / width; i++)
    for (let h = 0; h < H; h++) {
      const at = (row: number): number => row * width + h * d
      const seen = Math.min(keys, visible(i))
      const scores = Array.from({ length: seen }, (_, j) => {
        let dot = 0
        for (let e = 0; e < d; e++) dot += q[at(i) + e]! * k[at(j) + e]!
        return dot * scale + gain(j)
      })
      const largest = Math.max(...scores)
      const weights = scores.map(s => Math.exp(s - largest))
      const total = weights.reduce((a, b) => a + b, 0)
      for (const [j, w] of weights.entries()) for (let e = 0; e < d; e++) out[at(i) + e]! += (w / total) * v[at(j) + e]!
    }
  return out
}

describe.each(availableBuilds())('block-wise attention on %s', backend => {
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
  const attention = (q: Tensor, blocks: readonly KeyBlock[], heads: number, scale: number): Float32Array => {
    const state = attentionBegin(q, heads, scale)
    for (const block of blocks) attentionFold(state, block)
    return attentionEnd(state).floats()
  }

  const shape = fc.record({
    n: fc.integer({ min: 1, max: 8 }),
    m: fc.integer({ min: 1, max: 150 }),
    H: fc.integer({ min: 1, max: 3 }),
    d: fc.integer({ min: 1, max: 20 }),
    seed: fc.integer(),
  })
  const make = ({ n, m, H, d, seed }: { n: number; m: number; H: number; d: number; seed: number }) => {
    const [q, k, v] = [normals(n * H * d, seed), normals(m * H * d, seed + 1), normals(m * H * d, seed + 2)]
    const inner = scope.child()
    const tensor = (values: Float32Array): Tensor => inner.tensor(values, [values.length / (H * d), H * d])
    return { inner, tensor, values: { q, k, v }, q: tensor(q), k: tensor(k), v: tensor(v), scale: 1 / Math.sqrt(d) }
  }

  it('is the softmax of scores, and any cut of the keys into blocks gives the same', () => {
    fc.assert(
      fc.property(shape, fc.array(fc.nat(), { maxLength: 5 }), (sizes, cuts) => {
        const { m, H, d } = sizes
        const { inner, values, q, k, v, scale } = make(sizes)
        const want = definition(values.q, values.k, values.v, { H, d }, scale)
        // Values cancel in their weighted sum.
        const most = largest(values.v)
        expect(distance(attention(q, [{ k, v }], H, scale), want, most)).toBeLessThan(2e-6)
        const bounds = [0, ...cuts.map(c => c % (m + 1)).sort((a, b) => a - b), m]
        const blocks = bounds.slice(1).map((to, i) => ({ k: k.slice(bounds[i]!, to), v: v.slice(bounds[i]!, to) }))
        expect(distance(attention(q, blocks, H, scale), want, most)).toBeLessThan(2e-6)
        inner.dispose()
      }),
      { numRuns: RUNS },
    )
  })

  it('weighs the mean of c equal rows, with a gain of ln c, as these rows', () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 1, max: 60 }), (sizes, c) => {
        const { m, H, d } = sizes
        const { inner, tensor, values, q, k, v, scale } = make(sizes)
        const width = H * d
        const repeated = (x: Float32Array): Tensor =>
          tensor(Float32Array.from({ length: c * width }, (_, i) => x[i % width]!))
        const whole = attention(
          q,
          [
            { k, v },
            { k: repeated(values.k), v: repeated(values.v) },
          ],
          H,
          scale,
        )
        const mean = { k: k.slice(0, 1), v: v.slice(0, 1), logGain: [Math.log(c)] }
        expect(distance(attention(q, [{ k, v }, mean], H, scale), whole, largest(values.v))).toBeLessThan(5e-6)
        const gain = (j: number): number => (j === 0 ? Math.log(1 + c) : 0)
        const want = definition(values.q, values.k, values.v, { H, d }, scale, gain)
        const logGain = Float32Array.from({ length: m }, (_, j) => gain(j))
        expect(distance(attention(q, [{ k, v, logGain }], H, scale), want, largest(values.v))).toBeLessThan(5e-6)
        inner.dispose()
      }),
      { numRuns: RUNS },
    )
  })

  it('lets each query see a prefix of the keys', () => {
    fc.assert(
      fc.property(shape, fc.infiniteStream(fc.nat()), (sizes, stream) => {
        const { n, m, H, d } = sizes
        const { inner, values, q, k, v, scale } = make(sizes)
        const visible = [...stream.take(n)].map(s => 1 + (s % (m + 3))) // also more than there are
        const want = definition(values.q, values.k, values.v, { H, d }, scale, undefined, i => visible[i]!)
        expect(distance(attention(q, [{ k, v, visible }], H, scale), want, largest(values.v))).toBeLessThan(3e-6)
        inner.dispose()
      }),
      { numRuns: RUNS },
    )
  })

  it('folds into some of the query rows as if they were alone, bit by bit', () => {
    fc.assert(
      fc.property(shape, fc.nat(), fc.nat(), (sizes, a, b) => {
        const { n, H } = sizes
        const { inner, q, k, v, scale } = make(sizes)
        const from = a % n
        const to = from + 1 + (b % (n - from))
        const state = attentionBegin(q, H, scale)
        attentionFold(state, { k, v }, from, to)
        const out = attentionEnd(state)
        const alone = attention(q.slice(from, to), [{ k, v }], H, scale)
        expect(bits(out.slice(from, to).floats())).toEqual(bits(alone))
        expect([...out.slice(0, from).floats(), ...out.slice(to, n).floats()].every(x => x === 0)).toBe(true)
        inner.dispose()
      }),
      { numRuns: RUNS },
    )
  })

  it('reads keys and values that lie side by side', () => {
    const both = scope.tensor(normals(70 * 24, 1), [70, 24])
    const q = scope.tensor(normals(5 * 12, 2), [5, 12])
    const copy = (x: Tensor): Tensor => scope.tensor(x.floats(), [70, 12])
    const blocks = { k: both.slab(0, 12), v: both.slab(12, 24) }
    const apart = { k: copy(blocks.k), v: copy(blocks.v) }
    expect(bits(attention(q, [blocks], 3, 0.5))).toEqual(bits(attention(q, [apart], 3, 0.5)))
  })

  it('gives zeros to a row that saw no key', () => {
    const q = scope.tensor(normals(2 * 4, 1), [2, 4])
    const [k, v] = [scope.tensor(normals(12, 2), [3, 4]), scope.tensor(normals(12, 3), [3, 4])]
    const out = attention(q, [{ k, v, visible: [0, 3] }], 1, 1)
    expect([...out.slice(0, 4)]).toEqual([0, 0, 0, 0])
    expect(out.slice(4).every(x => x !== 0)).toBe(true)
    expect([...attention(q, [], 1, 1)]).toEqual(new Array(8).fill(0))
  })

  it('counts 4·H·d operations for each key that a query sees', () => {
    let flops = 0
    const metered = engine.scope({ count: n => (flops += n) })
    const x = metered.tensor(normals(5 * 12, 1), [5, 12])
    const state = attentionBegin(x, 3, 1)
    attentionFold(state, { k: x, v: x })
    expect(flops).toBe(4 * 12 * 25)
    attentionFold(state, { k: x, v: x, visible: [1, 9] }, 2, 4)
    expect(flops).toBe(4 * 12 * (25 + 1 + 5))
    metered.dispose()
  })

  it('keeps no memory but its output', () => {
    const x = scope.tensor(normals(5 * 12, 1), [5, 12])
    const before = engine.arena.usedBytes
    const state = attentionBegin(x, 3, 1)
    attentionFold(state, { k: x, v: x, logGain: [0, 0, 0, 0, 0], visible: [1, 2, 3, 4, 5] })
    const out = attentionEnd(state)
    out.dispose()
    expect(engine.arena.usedBytes).toBe(before)
  })

  it('names what does not fit', async () => {
    const zeros = (rows: number, columns: number): Tensor =>
      scope.tensor(new Float32Array(rows * columns), [rows, columns])
    const other = await createEngine({ backend })
    const elsewhere = other.tensor(new Float32Array(12), [2, 6])
    const state = attentionBegin(zeros(4, 6), 2, 1)
    const fold = (block: KeyBlock, from?: number, to?: number) => () => attentionFold(state, block, from, to)
    const wrong: [() => unknown, string][] = [
      [() => attentionBegin(zeros(4, 6), 4, 1), 'attention: f32 [4,6] cannot be cut into 4 heads'],
      [() => attentionBegin(zeros(4, 6), -3, 1), 'attention: f32 [4,6] cannot be cut into -3 heads'],
      [fold({ k: zeros(2, 6), v: zeros(3, 6) }), 'attention: v is f32 [3,6] for 2 keys of 2 heads of 3'],
      [fold({ k: zeros(2, 8), v: zeros(2, 6) }), 'attention: k is f32 [2,8] for 2 keys of 2 heads of 3'],
      [fold({ k: scope.empty([2, 6], 'f16'), v: zeros(2, 6) }), 'attention: k is f16 [2,6] for 2 keys of 2 heads of 3'],
      [fold({ k: elsewhere, v: zeros(2, 6) }), 'attention: k is f32 [2,6] for 2 keys of 2 heads of 3 in one engine'],
      [fold({ k: zeros(2, 6), v: zeros(2, 6), logGain: [0] }), 'attention: 1 gains for 2 keys'],
      [
        fold({ k: zeros(2, 6), v: zeros(2, 6), visible: [1, 1] }, 1, 4),
        'attention: visibility of 2 rows for 3 queries',
      ],
      [fold({ k: zeros(2, 6), v: zeros(2, 6) }, 3, 5), 'slice: rows 3…5 do not lie within the 4 rows of f32 [4,6]'],
    ]
    for (const [act, message] of wrong) {
      expect(act).toThrow(OperandError)
      expect(act).toThrow(message)
    }
    other.dispose()
  })
})
