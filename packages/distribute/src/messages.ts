/** What coordinator and devices say to each other: requests out, rows, tokens and accounts back. */
import type { Emitted, GenerateOptions, Part, TimedStage, Want } from '@prismal/models'
import type { Run } from '@prismal/tensor'
import { ConnectionError } from './errors.js'
import type { Plan, SequencePlan, SharingOptions } from './plan.js'
import { bytesOf, joined } from './wire.js'

/** What a device is to do: its share of a plan. */
export interface Share {
  readonly plan: Plan
  /** Number of the device that this is for. */
  readonly self: number
  readonly output: 'rows' | 'mean' | 'tokens'
  readonly generate?: GenerateOptions
  /** Ids of each prompt, where sampling looks at what occurred. */
  readonly seen?: readonly (readonly number[])[]
}

/** A share as it travels: what the plan is made of. The device makes the plan, since the same numbers give the same plan. */
export interface RunMessage extends Omit<Share, 'plan'> {
  /** Rows of each sequence. */
  readonly rows: readonly number[]
  readonly want: Want
  readonly devices: number
  readonly decodes: boolean
  readonly options: SharingOptions
  readonly parts: readonly PartHeader[]
}

/** Asks a device to dial another one, and to say `linked` or why it cannot. */
export interface LinkMessage extends LinkTarget {
  /** Number of the other device. */
  readonly peer: number
  /** Number of this one. */
  readonly self: number
}

/** Where another device of a cluster can be joined. */
export interface LinkTarget {
  /** Tried in this order. */
  readonly addresses: readonly string[]
  /** By which the other device knows the cluster. */
  readonly session: string
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

/** Values of each array, in the order of the fields; absent ones are −1. Which rows they are of follows from the plan. */
export type PartHeader = readonly number[]

/** Parts as a header and the bytes of their arrays, one after another. */
export function packParts(parts: readonly Part[]): { header: readonly PartHeader[]; data: Uint8Array } {
  const header = parts.map(p => FIELDS.map(f => p[f]?.length ?? -1))
  const arrays = parts.flatMap(p => FIELDS.flatMap(f => (p[f] ? [bytesOf(p[f])] : [])))
  return { header, data: joined(arrays) }
}

/** A device's parts of a plan's sequences. Throws {@link ConnectionError} where plan, header and bytes do not agree. */
export function unpackParts({ plan, self }: Share, header: readonly PartHeader[], data: Uint8Array): Part[] {
  if (header.length !== plan.sequences.length)
    throw new ConnectionError(`${header.length} inputs were announced for ${plan.sequences.length} sequences`)
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
  const parts = header.map((lengths, s) => {
    const [from, to] = (plan.sequences[s] as SequencePlan).bounds[self] as Run
    const arrays = FIELDS.map((field, i) => {
      const length = lengths[i] as number
      return length < 0 ? [] : [[field, take(length, field === 'patches')]]
    })
    return { from, to, ...Object.fromEntries(arrays.flat()) } as Part
  })
  if (at !== aligned.byteLength)
    throw new ConnectionError(`inputs of ${at} bytes were announced, ${aligned.byteLength} came`)
  return parts
}

/** Bytes of a part's arrays. */
export const partBytes = (part: Part): number => FIELDS.reduce((sum, f) => sum + (part[f]?.byteLength ?? 0), 0)
