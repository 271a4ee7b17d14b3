import {
  add,
  attentionBegin,
  attentionEnd,
  attentionFold,
  createEngine,
  type Engine,
  gather,
  layerNorm,
  linear,
  MAX_MEMORY_BYTES,
  OperandError,
  pack,
  quantiseRows,
  rehearsalEngine,
  type Scope,
  segmentMeans,
  type Tensor,
  toF16,
} from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

/** Makes tensors and lets go of them as `steps` say, with weights of another scope (or engine) as operands. */
function work(scope: Scope, D: number, weights: { table: Tensor; gain: Tensor }, steps: readonly number[]): void {
  const { table, gain } = weights
  const matrix = pack(scope, scope.tensor(new Float32Array(D * D), [D, D]), 'in,out')
  let x = gather(scope, table, [0, 1, 2, 1])
  for (const step of steps) {
    const before = x
    if (step === 0) x = linear(x, matrix, { residual: x })
    else if (step === 1) x = layerNorm(x, gain, gain, 1e-5)
    else if (step === 2) x = add(x, x)
    else if (step === 3) toF16(x)
    else if (step === 4) quantiseRows(x).codes.dispose()
    else if (step === 5) segmentMeans(x, [[0, 2]])
    else {
      const state = attentionBegin(x, 1, 1)
      attentionFold(state, { k: x, v: x, visible: [1, 2, 3, 4] })
      x = attentionEnd(state)
    }
    if (x !== before && step % 2 === 0) before.dispose()
  }
}

const weightsOf = (engine: Engine, D: number) => ({
  table: engine.tensor(new Float32Array(3 * D), [3, D]),
  gain: engine.tensor(new Float32Array(D), [D]),
})

describe('a rehearsal', () => {
  test('needs what the engine that it stands for needs, and leaves that one as it is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 300 }), fc.array(fc.nat(6)), async (D, steps) => {
        const engine = await createEngine()
        const weights = weightsOf(engine, D)
        engine.arena.keep()
        const before = engine.arena.state
        const rehearsal = rehearsalEngine({ of: engine })
        expect(rehearsal.arena.state).toEqual(before)
        work(rehearsal.scope(), D, weights, steps)
        expect(engine.arena.state).toEqual(before)
        work(engine.scope(), D, weights, steps)
        expect(rehearsal.arena.state).toEqual(engine.arena.state)
        expect(rehearsal.arena.peakBytes).toBe(engine.arena.peakBytes)
        engine.dispose()
      }),
      { numRuns: 50 },
    )
  })

  test('starts from what the engine keeps, whatever else is in use', async () => {
    const engine = await createEngine()
    engine.tensor([1, 2], [2])
    engine.arena.keep()
    const kept = engine.arena.usedBytes
    engine.tensor(new Float32Array(1e6), [1e6])
    expect(rehearsalEngine({ of: engine }).arena.usedBytes).toBe(kept)
    expect(rehearsalEngine({ of: engine, from: engine.arena.state }).arena.state).toEqual(engine.arena.state)
    expect(rehearsalEngine().arena.usedBytes).toBe(0)
  })

  test('takes over the build and the threads, or what is asked for', async () => {
    const engine = await createEngine({ backend: 'reference' })
    expect(rehearsalEngine({ of: engine }).capabilities()).toMatchObject({ build: 'reference', threads: 1 })
    expect(rehearsalEngine({ of: engine, threads: 3 }).capabilities()).toMatchObject({ build: 'reference', threads: 3 })
    for (const threads of [0, 1.5, Number.NaN]) expect(() => rehearsalEngine({ threads })).toThrow(/threads is/)
  })

  test('has no values: it gives zeros, and takes any', () => {
    const engine = rehearsalEngine()
    expect(engine.rehearses).toBe(true)
    const x = engine.tensor([1, 2, 3, 4], [2, 2])
    expect(x.data()).toEqual(new Float32Array(4))
    expect(x.slab(0, 1).data()).toEqual(new Float32Array(2))
    x.write([5, 6], 1)
    x.copyFrom(engine.tensor([7, 8], [1, 2]), 1)
    expect(x.floats()).toEqual(new Float32Array(4))
    expect(() => engine.memory.buffer).toThrow(/a rehearsal has no bytes/)
  })

  test('grants more than any memory has', () => {
    const engine = rehearsalEngine()
    engine.scope().empty([3, MAX_MEMORY_BYTES], 'u8')
    expect(engine.arena.usedBytes).toBe(3 * MAX_MEMORY_BYTES)
    expect(engine.memory.bytes).toBe(3 * MAX_MEMORY_BYTES + 65536)
  })

  test('refuses what an engine refuses', async () => {
    const engine = await createEngine()
    const rehearsal = rehearsalEngine({ of: engine })
    const [weight, x] = [engine.tensor([1, 2], [1, 2]), rehearsal.tensor([3, 4], [1, 2])]
    expect(add(x, weight).engine).toBe(rehearsal)
    expect(() => add(weight, x)).toThrow(/belongs to another engine/) // a real kernel would look for x's bytes
    expect(() => add(rehearsalEngine().tensor([1, 2], [1, 2]), weight)).toThrow(/belongs to another engine/)
    expect(() => add(x, rehearsal.tensor([1], [1, 1]))).toThrow(OperandError)
    expect(() => x.write([1, 2, 3])).toThrow(OperandError)
  })
})

describe('copyFrom', () => {
  test('copies rows within one engine', async () => {
    const engine = await createEngine()
    const x = engine.tensor([1, 2, 3, 4, 5, 6], [3, 2])
    x.copyFrom(engine.tensor([7, 8, 9, 10], [2, 2]), 1)
    expect([...x.data()]).toEqual([1, 2, 7, 8, 9, 10])
    x.copyFrom(x.slice(2, 3))
    expect([...x.data()]).toEqual([9, 10, 7, 8, 9, 10])
    x.copyFrom(engine.tensor([0, 1, 2, 3, 4, 5], [2, 3]).slab(1, 3), 1)
    expect([...x.data()]).toEqual([9, 10, 1, 2, 4, 5])
  })

  test('refuses what does not fit', async () => {
    const engine = await createEngine()
    const x = engine.tensor([1, 2, 3, 4], [2, 2])
    const refused = [
      engine.tensor([1, 2, 3], [1, 3]),
      engine.tensor(Int32Array.of(1, 2), [1, 2]),
      (await createEngine()).tensor([1, 2], [1, 2]),
    ]
    for (const source of refused) expect(() => x.copyFrom(source)).toThrow(/cannot be copied into rows of f32 \[2,2\]/)
    for (const row of [1, -1, 0.5]) expect(() => x.copyFrom(x.slice(0, 2), row)).toThrow(/do not fit/)
    expect([...x.data()]).toEqual([1, 2, 3, 4])
  })
})
