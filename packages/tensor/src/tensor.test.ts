import {
  add,
  availableBuilds,
  createEngine,
  DisposedError,
  type Engine,
  OperandError,
  type Scope,
  type Tensor,
} from '@prismal/tensor'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

const counted = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => i)

describe.each(availableBuilds())('tensors and scopes on %s', backend => {
  let engine: Engine
  let scope: Scope
  let before: number
  beforeAll(async () => {
    engine = await createEngine({ backend })
  })
  afterAll(() => engine.dispose())
  beforeEach(() => {
    before = engine.arena.usedBytes
    scope = engine.scope()
    return () => {
      scope.dispose()
      expect(engine.arena.usedBytes).toBe(before)
    }
  })

  it('copies values in and out', () => {
    const values = counted(12)
    const x = scope.tensor(values, [3, 4])
    values[0] = 99
    expect(x.floats()).toEqual(counted(12))
    x.floats()[0] = 99
    expect(x.floats()[0]).toBe(0)
    expect([x.size, x.rows, x.columns, x.rowStride, x.dtype, x.contiguous]).toEqual([12, 3, 4, 4, 'f32', true])
  })

  it.each([
    ['f32', Float32Array.of(1.5, -2)],
    ['i32', Int32Array.of(-1, 2 ** 31 - 1)],
    ['f16', Uint16Array.of(0x3c00, 0xffff)],
    ['i8', Int8Array.of(-128, 127)],
    ['u8', Uint8Array.of(0, 255)],
  ] as const)('takes %s from the kind of array', (dtype, values) => {
    const x = scope.tensor(values, [2])
    expect(x.dtype).toBe(dtype)
    expect(x.data()).toEqual(values)
    expect(x.slice(0, 1).address).toBe(x.address)
  })

  it('takes plain numbers as f32, or as what is asked for', () => {
    expect(scope.tensor([1, 2], [2]).data()).toEqual(Float32Array.of(1, 2))
    expect(scope.tensor([1, 2], [2], 'i32').data()).toEqual(Int32Array.of(1, 2))
  })

  it('has tensors of no rows', () => {
    const x = scope.tensor([], [0, 4])
    expect([x.size, x.rows, x.columns, x.data().length]).toEqual([0, 0, 4, 0])
    expect(add(x, x).rows).toBe(0)
  })

  it('shares memory with views of rows and columns', () => {
    const x = scope.tensor(counted(20), [4, 5])
    const rows = x.slice(1, 3)
    const columns = rows.slab(1, 3)
    expect([...rows.data()]).toEqual([5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
    expect([...columns.data()]).toEqual([6, 7, 11, 12])
    expect([columns.rowStride, columns.contiguous]).toEqual([5, false])
    expect([...columns.slab(1, 2).slice(1, 2).data()]).toEqual([12])
    x.write([100], 2)
    expect(rows.data()[5]).toBe(100)
    rows.write([-1, -2, -3, -4, -5], 1)
    expect([...x.data()].slice(8, 17)).toEqual([8, 9, -1, -2, -3, -4, -5, 15, 16])
    expect(x.reshape([2, 2, 5]).rows).toBe(4)
    expect(x.slab(0, 5).contiguous).toBe(true)
    expect(x.slice(2, 3).slab(1, 4).reshape([3]).size).toBe(3)
  })

  it('names what does not fit', () => {
    const x = scope.tensor(counted(6), [2, 3])
    const wrong: [() => unknown, string][] = [
      [() => scope.tensor([1, 2, 3], [2, 2]), 'tensor: 3 values for shape [2,2], which has 4'],
      [() => scope.empty([2, -1]), 'tensor: [2,-1] is not a shape'],
      [() => scope.empty([1.5]), 'tensor: [1.5] is not a shape'],
      [() => scope.tensor([1], [1], 'f64' as 'f32'), 'tensor: dtype "f64" is not one of f32, f16, i32, i8, u8'],
      [
        () => scope.empty([1], 'constructor' as 'f32'),
        'tensor: dtype "constructor" is not one of f32, f16, i32, i8, u8',
      ],
      [() => x.slice(1, 3), 'slice: rows 1…3 do not lie within the 2 rows of f32 [2,3]'],
      [() => x.slice(2, 1), 'slice: rows 2…1 do not lie within the 2 rows of f32 [2,3]'],
      [() => x.slice(0.5, 1), 'slice: rows 0.5…1 do not lie within the 2 rows of f32 [2,3]'],
      [() => x.slab(-1, 2), 'slab: columns -1…2 do not lie within those of f32 [2,3]'],
      [() => x.reshape([4]), 'reshape: f32 [2,3] has not the size of [4]'],
      [() => x.slab(0, 2).reshape([4]), 'reshape: f32 [2,2] is a view of columns, not contiguous'],
      [() => x.slab(0, 2).write([1]), 'write: f32 [2,2] is a view of columns, not contiguous'],
      [() => x.write(counted(4), 1), 'write: 4 values from row 1 do not fit f32 [2,3]'],
      [() => x.write([1], -1), 'write: 1 values from row -1 do not fit f32 [2,3]'],
      [() => scope.tensor([1], [1], 'i8').floats(), 'floats: the tensor holds i8, not f32'],
    ]
    for (const [act, message] of wrong) expect(act).toThrow(new OperandError(message))
    expect(x.floats()).toEqual(counted(6))
  })

  it('gives memory back once, whatever is disposed how often', () => {
    const inner = scope.child()
    const kept = inner.tensor([1], [1])
    const gone = inner.tensor([2], [1])
    gone.dispose()
    gone.dispose()
    const again = inner.tensor([3], [1])
    gone.dispose()
    expect([...again.data(), ...kept.data()]).toEqual([3, 1])
    inner.dispose()
    inner.dispose()
    expect(engine.arena.usedBytes).toBe(before)
    expect([kept.disposed, again.disposed, inner.disposed, scope.disposed]).toEqual([true, true, true, false])
  })

  it('refuses the use of what was disposed', () => {
    const x = scope.tensor(counted(4), [2, 2])
    const view = x.slice(0, 1)
    x.dispose()
    const uses: (() => unknown)[] = [
      () => x.data(),
      () => x.floats(),
      () => x.address,
      () => x.scope,
      () => x.write([1]),
      () => x.slice(0, 1),
      () => x.slab(0, 1),
      () => x.reshape([4]),
      () => add(x, x),
      () => view.data(),
      () => view.reshape([2]),
    ]
    for (const use of uses) expect(use).toThrow(DisposedError)
    expect(() => x.data()).toThrow('tensor [2,2] was used after its memory was given back')
    scope.dispose()
    expect(() => scope.empty([1])).toThrow(new DisposedError('this scope was disposed; nothing can be made in it'))
    expect(() => scope.child()).toThrow(DisposedError)
  })

  it('disposes children with their parent, and parents without them', () => {
    const child = scope.child()
    const grandchild = child.child()
    const x = grandchild.tensor([1], [1])
    child.dispose()
    expect([grandchild.disposed, x.disposed, scope.disposed]).toEqual([true, true, false])
    expect(engine.arena.usedBytes).toBe(before)
  })

  it('hands meters down and lets a child have its own', () => {
    const counts = { outer: 0, inner: 0 }
    const outer = engine.scope({ count: flops => (counts.outer += flops) })
    const inner = outer.child({ count: flops => (counts.inner += flops) })
    const multiply = (s: Scope): Tensor => engine.matmul(s.tensor(counted(6), [2, 3]), s.tensor(counted(12), [3, 4]))
    multiply(outer.child())
    expect(counts).toEqual({ outer: 48, inner: 0 })
    multiply(inner)
    expect(counts).toEqual({ outer: 48, inner: 48 })
    outer.dispose()
  })

  describe('step', () => {
    it('keeps the result and frees the input and all else', async () => {
      const x = scope.tensor(counted(4), [2, 2])
      let temporary: Tensor | undefined
      const y = await scope.step(x, async x => {
        temporary = add(x, x)
        return add(temporary, x)
      })
      expect(y.floats()).toEqual(Float32Array.of(0, 3, 6, 9))
      expect([x.disposed, temporary?.disposed, y.scope === scope]).toEqual([true, true, true])
      expect(engine.arena.usedBytes - before).toBe(64)
    })

    it('may give back what it was given', async () => {
      const x = scope.tensor(counted(4), [2, 2])
      const y = await scope.step(x, async x => x)
      expect([y.disposed, y.floats()[3]]).toEqual([false, 3])
    })

    it('frees everything where the step throws, at once or later', async () => {
      for (const wait of [async () => {}, () => new Promise<void>(resolve => setImmediate(resolve))]) {
        const x = scope.tensor(counted(4), [2, 2])
        const step = scope.step(x, async x => {
          const y = add(x, x)
          await wait()
          throw new Error(`failed with ${y.size} values`)
        })
        await expect(step).rejects.toThrow('failed with 4 values')
        expect(x.disposed).toBe(true)
        expect(engine.arena.usedBytes).toBe(before)
      }
    })

    it('refuses an input of another engine, and leaves it alone', async () => {
      const other = await createEngine({ backend })
      const x = other.tensor([1], [1])
      await expect(scope.step(x, async x => x)).rejects.toThrow('a tensor cannot move to another engine')
      expect(x.floats()).toEqual(Float32Array.of(1))
      other.dispose()
    })

    it('refuses a result that is dead', async () => {
      const step = scope.step(scope.tensor([1], [1]), async x => {
        x.dispose()
        return x
      })
      await expect(step).rejects.toThrow(DisposedError)
      expect(engine.arena.usedBytes).toBe(before)
    })
  })

  it('is disposed by `using`, where the runtime has it', () => {
    const x = scope.tensor([1], [1])
    x[Symbol.dispose]?.()
    expect(x.disposed).toBe(Symbol.dispose !== undefined)
    x.dispose()
  })
})
