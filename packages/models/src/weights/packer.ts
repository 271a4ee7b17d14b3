/** How f32 values, as they come from a file, become a packed matrix: one implementation for each form that it may have. */
import { emptyMatrix, type Matrix, packColumns, packLines, padPanels, type Scope, type Tensor } from '@prismal/tensor'

/**
 * Packs one matrix [k, n]. Its memory is there from the start; between `begin` and `end` every column comes once by
 * `addColumns`, in any order, or every line by `addLines`, from the first to the last. A packer that has to see all
 * values before it can pack one (a scale for each column) may hold them from `begin` to `end`.
 */
export interface Packer {
  readonly matrix: Matrix
  begin(): void
  /** Columns [first, first + count), given as [count, k]. */
  addColumns(columns: Tensor, first: number): void
  /** Lines [first, first + count), given as [count, n]; may be a view of columns. */
  addLines(lines: Tensor, first: number): void
  end(): void
}

/** Panels of f32, exactly as stored. Throws `MemoryError`. */
export function f32Packer(scope: Scope, k: number, n: number, bias?: Tensor): Packer {
  const matrix = emptyMatrix(scope, k, n, bias)
  return {
    matrix,
    begin: () => padPanels(matrix),
    addColumns: (columns, first) => packColumns(matrix, columns, first),
    addLines: (lines, first) => packLines(matrix, lines, first),
    end: () => {},
  }
}
