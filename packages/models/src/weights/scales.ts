/**
 * The scales of matrices that are stored as 8-bit codes. Codes pass through f32 like any other weights and are quantised
 * again: a column whose largest code is 127, as every column has that was quantised with its own scale, gets the factor 1
 * and keeps its codes. What the file has for a scale is multiplied on, as soon as both have been read.
 */
import { type Matrix, scaleColumns } from '@prismal/tensor'
import { ModelError } from '../errors.js'
import type { Receiver } from './streaming.js'

export class ColumnScales {
  readonly #matrix: Matrix
  readonly #factors: Float32Array
  /** Parts that are still to be read: the codes, and each source's scales. */
  #missing = 1
  #isScaled = false

  constructor(matrix: Matrix) {
    this.#matrix = matrix
    this.#factors = new Float32Array(matrix.n).fill(1)
  }

  /** Takes the scales stored `where`, of which n from `from` on are those of the columns from `first` on. */
  receiver(where: string, from: number, n: number, first: number): Receiver {
    this.#missing++
    this.#isScaled = true
    return {
      width: 1,
      add: (rows, at) => {
        if (rows.engine.rehearses) return
        for (const [i, scale] of rows.floats().entries()) {
          const column = at + i - from
          if (!(scale >= 0 && scale < Number.POSITIVE_INFINITY))
            throw new ModelError(`${where} has ${scale} at ${at + i}; a scale is finite and not negative`)
          if (column >= 0 && column < n) this.#factors[first + column] = scale
        }
      },
      end: () => this.#arrived(),
    }
  }

  /** The codes are in the matrix. */
  quantised(): void {
    this.#arrived()
  }

  #arrived(): void {
    if (--this.#missing === 0 && this.#isScaled) scaleColumns(this.#matrix, this.#factors)
  }
}
