import { createEngine, pack } from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { normals } from '../../test/random.js'
import { RUNS } from '../../test/runs.js'
import { codesOf, scaleOf, valuesOf, widen } from './eight-bits.js'

/** As many columns as values for their sizes: zeros, subnormal numbers, the largest there are, and what lies between. */
const SIZES = [1, 0, 1e-44, 1e-37, 1.1e-36, 1e-20, 3e30, 65504, 0.02] as const

function halfway(values: Float32Array, columnOf: (i: number) => number, n: number): Float32Array {
  const most = new Float32Array(n)
  for (const [i, value] of values.entries()) most[columnOf(i)] = Math.max(most[columnOf(i)]!, Math.abs(value))
  return values.map((value, i) => {
    const step = most[columnOf(i)]! / 127
    return Math.abs(value) === most[columnOf(i)] || step === 0 ? value : (Math.trunc(value / step) + 0.5) * step
  })
}

describe('8-bit codes', () => {
  it('are those of the kernels to the bit, in both layouts and whatever rows come together', async () => {
    const engine = await createEngine()
    const width = fc.integer({ min: 1, max: 20 })
    fc.assert(
      fc.property(
        width,
        width,
        fc.boolean(),
        fc.boolean(),
        fc.integer(),
        fc.array(fc.constantFrom(...SIZES)),
        (k, n, isColumn, areHalfway, seed, sizes) => {
          const drawn = normals(k * n, seed)
          const [rows, columns] = isColumn ? [n, k] : [k, n]
          const columnOf = (i: number): number => (isColumn ? Math.floor(i / columns) : i % columns)
          const sized = drawn.map((value, i) => value * (sizes[columnOf(i)] ?? 1))
          // Or, to within a rounding, halfway between two codes.
          const values = areHalfway ? halfway(sized, columnOf, n) : sized
          const most = new Float32Array(n)
          const codes = new Int8Array(values.length)
          const cut = Math.floor(rows / 2)
          const parts = [
            [0, cut],
            [cut, rows],
          ].map(([from, to]) => [values.slice(from! * columns, to! * columns), from!] as const)
          for (const [part, first] of parts) widen(most, part, columns, first, isColumn)
          for (const [part, first] of parts) codes.set(codesOf(part, columns, first, most, isColumn), first * columns)

          const scope = engine.scope()
          const matrix = pack(
            scope,
            scope.tensor(values, [rows, columns]),
            isColumn ? 'out,in' : 'in,out',
            undefined,
            'q8',
          )
          const panels = matrix.packed.data()
          const K = Math.ceil(k / 4) * 4
          // [n/8][K/4][8][4], K being k padded.
          const at = (p: number, j: number): number =>
            Math.floor(j / 8) * 8 * K + Math.floor(p / 4) * 32 + (j % 8) * 4 + (p % 4)
          const wanted = codes.map(
            (_, i) => panels[at(isColumn ? i % columns : Math.floor(i / columns), columnOf(i))] as number,
          )
          expect(codes).toEqual(wanted)
          expect(most.map(scaleOf)).toEqual(matrix.scales?.floats().slice(0, n))
          scope.dispose()
        },
      ),
      { numRuns: RUNS },
    )
    engine.dispose()
  })

  it('stand for values at most half a step away', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.integer(), (n, seed) => {
        const values = normals(7 * n, seed)
        const most = new Float32Array(n)
        widen(most, values, 7, 0, true)
        const scales = most.map(scaleOf)
        const back = valuesOf(codesOf(values, 7, 0, most, true), 7, 0, scales, true)
        for (const [i, value] of values.entries()) {
          const step = scales[Math.floor(i / 7)] as number
          expect(Math.abs(value - back[i]!)).toBeLessThanOrEqual(step * 0.50001)
        }
      }),
      { numRuns: RUNS },
    )
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('have no place for %s, wherever it stands', bad => {
    for (const at of [0, 1, 2]) {
      const most = new Float32Array(1)
      widen(most, new Float32Array([1, 2, 3]).with(at, bad), 3, 0, true)
      expect(Number.isFinite(most[0])).toBe(false)
    }
  })
})
