/** Packing piece by piece gives what packing at once gives, whatever the pieces. */
import {
  availableBuilds,
  copyValues,
  createEngine,
  emptyMatrix,
  type Matrix,
  pack,
  packColumns,
  packLines,
  padPanels,
  type Scope,
  type Tensor,
} from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { normals } from '../../../test/random.js'
import { RUNS } from '../../../test/runs.js'

const bitsOf = (x: Tensor): number[] => [...new Uint32Array(x.floats().buffer)]
/** [from, to) pairs that cover 0…count. */
const piecesOf = (count: number, cuts: readonly number[]): (readonly [number, number])[] => {
  const bounds = [...new Set([0, ...cuts.map(c => Math.floor(c * count)), count])].sort((a, b) => a - b)
  return bounds.slice(1).map((to, i) => [bounds[i] as number, to])
}
/** An empty matrix whose memory holds what is not a number, so that a value left out shows. */
function spoiled(scope: Scope, k: number, n: number): Matrix {
  const matrix = emptyMatrix(scope, k, n)
  matrix.packed.write(new Float32Array(matrix.packed.size).fill(Number.NaN))
  padPanels(matrix)
  return matrix
}

describe.each(availableBuilds())('%s', backend => {
  const size = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(7, 8, 9, 16, 17, 100))
  const fraction = fc.double({ min: 0, max: 0.999, noNaN: true })
  const cuts = fc.array(fraction, { maxLength: 6 })

  it('columns may come in any pieces and any order', async () => {
    const engine = await createEngine({ backend })
    fc.assert(
      fc.property(size, size, cuts, fc.integer(), (k, n, cuts, seed) => {
        const scope = engine.scope()
        const weight = scope.tensor(normals(n * k, seed), [n, k])
        const matrix = spoiled(scope, k, n)
        const pieces = piecesOf(n, cuts)
        for (const [from, to] of seed % 2 ? pieces.reverse() : pieces) packColumns(matrix, weight.slice(from, to), from)
        expect(bitsOf(matrix.packed)).toEqual(bitsOf(pack(scope, weight, 'out,in').packed))
        scope.dispose()
      }),
      { numRuns: RUNS },
    )
    engine.dispose()
  })

  it('lines may come in any pieces, as columns of wider ones too', async () => {
    const engine = await createEngine({ backend })
    fc.assert(
      fc.property(size, size, fraction, cuts, fc.integer(), (k, of, part, cuts, seed) => {
        const scope = engine.scope()
        const from = Math.floor(part * of)
        const stored = normals(k * of, seed)
        const lines = scope.tensor(stored, [k, of]).slab(from, of)
        const matrix = spoiled(scope, k, of - from)
        for (const [first, to] of piecesOf(k, cuts)) packLines(matrix, lines.slice(first, to), first)
        const alone = scope.tensor(lines.floats(), [k, of - from])
        expect(bitsOf(matrix.packed)).toEqual(bitsOf(pack(scope, alone, 'in,out').packed))
        scope.dispose()
      }),
      { numRuns: RUNS },
    )
    engine.dispose()
  })

  it('what does not fit is refused', async () => {
    const engine = await createEngine({ backend })
    const other = await createEngine({ backend })
    const matrix = emptyMatrix(engine.root, 3, 10)
    const rows = engine.tensor(new Float32Array(6), [2, 3])
    expect(() => packColumns(matrix, rows, 9)).toThrow('packColumns: f32 [2,3] from 9 does not fit the 10 there are')
    expect(() => packColumns(matrix, rows.reshape([3, 2]), 0)).toThrow('does not fit')
    expect(() => packLines(matrix, rows, 0)).toThrow('packLines: f32 [2,3] from 0 does not fit the 3 there are')
    expect(() => packColumns(matrix, other.tensor(new Float32Array(3), [1, 3]), 0)).toThrow('another engine')
    expect(() => copyValues(rows, rows, 1)).toThrow('copyValues: f32 [2,3] from 1 does not fit the 6 there are')
    expect(() => emptyMatrix(engine.root, 3, 10, rows)).toThrow('bias is f32 [2,3] where f32 [10] is needed')
    engine.dispose()
    other.dispose()
  })
})
