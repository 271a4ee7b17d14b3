/** What one cell of an evaluation's grid is: what was asked, what it cost, and what came out for each item. */
import type { SharingOptions } from '@prismal/distribute'

/**
 * Values of each item under their names, all columns equally long. Classification and cloze: `predicted`, `truth` (class
 * numbers), `margin` (the largest score less the second). Similarity: `score`, `truth`. Language and generation: a row for
 * every document and distance from the cut: `document`, `distance` (rows from the cut, the least of its bucket), `nats`, `tokens`, `bytes`
 * and for generation `agreed` (tokens as on one device). Rows with the same `document` are resampled together.
 */
export type Columns = Readonly<Record<string, readonly number[]>>

export interface Metric {
  readonly name: string
  readonly unit: '%' | 'points' | 'bits per byte' | 'nats' | ''
  readonly better: 'higher' | 'lower'
  /** Of these rows of the columns; a row may stand there more than once. */
  of(columns: Columns, rows: ArrayLike<number>): number
}

export interface CellCost {
  /** Means over the items, of the device that has most: payload and frames received in one request. */
  readonly bytesReceived: number
  readonly bytesSent: number
  /** Multiply-adds count twice. */
  readonly flops: number
  /** The same of one device that does all of it. */
  readonly flopsAlone: number
}

export interface Named {
  readonly name: string
  /** Hex SHA-256, or as much of it as tells. */
  readonly digest: string
}

/** What tells a cell from others: with the same of it, the same results. */
export interface CellKey {
  readonly task: string
  readonly data: Named & { readonly items: number }
  readonly model: Named & { readonly dtype: string }
  /** P; 1 is one device. */
  readonly devices: number
  readonly sharing: SharingOptions
  /** What else changes results, such as `{ window: 512 }` or `{ padTo: 256 }`. */
  readonly settings: Readonly<Record<string, string | number | boolean>>
}

export interface Cell extends CellKey {
  /** As tables name it: `one device`, `full`, `isolated`, `published L=3`, … */
  readonly method: string
  readonly cost: CellCost
  readonly columns: Columns
  readonly metrics: Readonly<Record<string, number>>
  readonly numericsClass: string
  readonly seconds: number
}
