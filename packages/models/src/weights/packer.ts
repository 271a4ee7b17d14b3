/** How f32 values, as they come from a file, become a packed matrix, in whatever form it is stored. */
import {
  emptyMatrix,
  type Matrix,
  PANEL,
  type Precision,
  packColumns,
  packLines,
  padPanels,
  type Scope,
  storePanels,
  type Tensor,
} from '@prismal/tensor'

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
function f32Packer(scope: Scope, k: number, n: number, bias?: Tensor): Packer {
  const matrix = emptyMatrix(scope, k, n, bias)
  return {
    matrix,
    begin: () => padPanels(matrix),
    addColumns: (columns, first) => packColumns(matrix, columns, first),
    addLines: (lines, first) => packLines(matrix, lines, first),
    end: () => {},
  }
}

/** A panel of f32 that waits for columns that others bring. */
interface Pending {
  readonly panel: Matrix
  missing: number
}

/**
 * Panels in f16 or 8-bit codes. A panel is stored once all of its columns are there as f32: columns bring it piece by piece, lines only with
 * the last of them, so that lines hold the whole matrix as f32 from `begin` to `end`. Throws `MemoryError`.
 */
function storedPacker(scope: Scope, k: number, n: number, bias: Tensor | undefined, precision: Precision): Packer {
  const matrix = emptyMatrix(scope, k, n, bias, precision)
  const pending = new Map<number, Pending>()
  let lines: Matrix | undefined

  /** Packs columns that make whole panels, or end the matrix, and stores them. */
  const storeWhole = (columns: Tensor, first: number): void => {
    const panels = emptyMatrix(scope, k, columns.rows)
    padPanels(panels)
    packColumns(panels, columns, 0)
    storePanels(panels, matrix, first / PANEL)
    panels.packed.dispose()
  }
  /** Adds columns to a panel that has others too. */
  const storePart = (columns: Tensor, first: number): void => {
    const number = Math.floor(first / PANEL)
    const width = Math.min(PANEL, n - number * PANEL)
    const waiting = pending.get(number) ?? { panel: emptyMatrix(scope, k, width), missing: width }
    if (!pending.has(number)) padPanels(waiting.panel)
    pending.set(number, waiting)
    packColumns(waiting.panel, columns, first - number * PANEL)
    waiting.missing -= columns.rows
    if (waiting.missing > 0) return
    storePanels(waiting.panel, matrix, number)
    waiting.panel.packed.dispose()
    pending.delete(number)
  }
  return {
    matrix,
    begin: () => {},
    addColumns(columns, first) {
      const end = first + columns.rows
      const wholeFrom = Math.min(end, Math.ceil(first / PANEL) * PANEL)
      const wholeTo = end === n ? n : Math.max(wholeFrom, Math.floor(end / PANEL) * PANEL)
      if (wholeFrom > first) storePart(columns.slice(0, wholeFrom - first), first)
      if (wholeTo > wholeFrom) storeWhole(columns.slice(wholeFrom - first, wholeTo - first), wholeFrom)
      if (end > wholeTo) storePart(columns.slice(wholeTo - first, end - first), wholeTo)
    },
    addLines(rows, first) {
      if (!lines) {
        lines = emptyMatrix(scope, k, n)
        padPanels(lines)
      }
      packLines(lines, rows, first)
    },
    end() {
      if (!lines) return
      storePanels(lines, matrix, 0)
      lines.packed.dispose()
      lines = undefined
    },
  }
}

/** Packs a matrix [k, n] in the form that `precision` names. Throws `MemoryError`. */
export function packerOf(scope: Scope, k: number, n: number, bias: Tensor | undefined, precision: Precision): Packer {
  return precision === 'f32' ? f32Packer(scope, k, n, bias) : storedPacker(scope, k, n, bias, precision)
}
