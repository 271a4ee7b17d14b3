/** What coordinator and devices say to each other: requests out, rows, tokens and accounts back. */
import type { Emitted, GenerateOptions, Part, TimedStage } from '@prismal/models'
import { ConnectionError } from './errors.js'
import type { Plan } from './plan.js'
import { bytesOf, joined } from './wire.js'

/** A request to one device: its share of a plan. */
export interface RunMessage {
  readonly plan: Plan
  /** Number of the device that this is for. */
  readonly self: number
  readonly output: 'rows' | 'mean' | 'tokens'
  readonly generate?: GenerateOptions
  /** Ids of each prompt, where sampling looks at what occurred. */
  readonly seen?: readonly (readonly number[])[]
}

export interface DoneMessage {
  readonly stages: readonly TimedStage[]
  readonly rows: number
  readonly peakBytes: number
  readonly milliseconds: number
}

export type TokenMessage = Pick<Emitted, 'sequence' | 'id' | 'end'>

export interface ErrorMessage {
  readonly code: string
  readonly message: string
}

const FIELDS = ['ids', 'types', 'positions', 'patches'] as const

interface PartHeader {
  readonly from: number
  readonly to: number
  /** Values of each array, in the order of the fields; absent ones are −1. */
  readonly lengths: readonly number[]
}

/** Parts as a header and the bytes of their arrays, one after another. */
export function packParts(parts: readonly Part[]): { header: readonly PartHeader[]; data: Uint8Array } {
  const header = parts.map(p => ({ from: p.from, to: p.to, lengths: FIELDS.map(f => p[f]?.length ?? -1) }))
  const arrays = parts.flatMap(p => FIELDS.flatMap(f => (p[f] ? [bytesOf(p[f])] : [])))
  return { header, data: joined(arrays) }
}

/** Throws {@link ConnectionError} where header and bytes do not agree. */
export function unpackParts(header: readonly PartHeader[], data: Uint8Array): Part[] {
  const aligned = data.slice().buffer
  let at = 0
  const take = (length: number, isFloat: boolean): Int32Array | Float32Array => {
    const bytes = length * 4
    if (!Number.isSafeInteger(length) || length < 0 || at + bytes > aligned.byteLength)
      throw new ConnectionError(`an input of ${length} values was announced, ${aligned.byteLength - at} bytes came`)
    const array = isFloat ? new Float32Array(aligned, at, length) : new Int32Array(aligned, at, length)
    at += bytes
    return array
  }
  return header.map(({ from, to, lengths }) => {
    const arrays = FIELDS.map((field, i) => {
      const length = lengths[i] as number
      return length < 0 ? [] : [[field, take(length, field === 'patches')]]
    })
    return { from, to, ...Object.fromEntries(arrays.flat()) } as Part
  })
}

/** Bytes of a part's arrays. */
export const partBytes = (part: Part): number => FIELDS.reduce((sum, f) => sum + (part[f]?.byteLength ?? 0), 0)

export type { PartHeader }
