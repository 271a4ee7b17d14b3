/** What coordinator and devices say to each other: requests out, rows, tokens and accounts back. */
import type { Emitted, GenerateOptions, Part, TimedStage, Want } from '@prismal/models'
import { ConnectionError } from './errors.js'
import type { SharingOptions } from './options.js'
import { type PatchShape, packedPatchBytes, packPatches, unpackPatches } from './palette.js'
import { placesOf } from './parts.js'
import type { Plan, SequencePlan } from './plan.js'
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

/**
 * Values of each array, in the order of the fields; absent ones are −1. Which rows they are of follows from the plan. A fifth number, 1,
 * says that the patches are packed (palette.ts).
 */
export type PartHeader = readonly number[]

/** Parts as a header and the bytes of their arrays, one after another. */
export function packParts(
  parts: readonly Part[],
  shape: PatchShape,
): { header: readonly PartHeader[]; data: Uint8Array } {
  const arrays: Uint8Array[] = []
  const header = parts.map(part => {
    const lengths = FIELDS.map(f => part[f]?.length ?? -1)
    const packed = part.patches && packPatches(part.patches, shape)
    for (const f of FIELDS) if (part[f]) arrays.push(f === 'patches' && packed ? packed : bytesOf(part[f]))
    return packed ? [...lengths, 1] : lengths
  })
  return { header, data: joined(arrays) }
}

/** A device's parts of a plan's sequences. Throws {@link ConnectionError} where plan, header and bytes do not agree. */
export function unpackParts(
  { plan, self }: Share,
  shape: PatchShape,
  header: readonly PartHeader[],
  data: Uint8Array,
): Part[] {
  if (header.length !== plan.sequences.length)
    throw new ConnectionError(`${header.length} inputs were announced for ${plan.sequences.length} sequences`)
  const aligned = data.slice().buffer
  let at = 0
  const take = (length: number, field: (typeof FIELDS)[number], isPacked: boolean): Int32Array | Float32Array => {
    const bytes = isPacked ? packedPatchBytes(length, shape) : length * 4
    if (!Number.isSafeInteger(length) || length < 0 || at + bytes > aligned.byteLength)
      throw new ConnectionError(`an input of ${length} values was announced, ${aligned.byteLength - at} bytes came`)
    const start = at
    at += bytes
    if (isPacked) return unpackPatches(new Uint8Array(aligned, start, bytes), length, shape)
    return field === 'patches' ? new Float32Array(aligned, start, length) : new Int32Array(aligned, start, length)
  }
  const parts = header.map((lengths, s) => {
    const arrays = FIELDS.map((field, i) => {
      const length = lengths[i] as number
      return length < 0 ? [] : [[field, take(length, field, field === 'patches' && lengths[FIELDS.length] === 1)]]
    })
    return { ...placesOf(plan.sequences[s] as SequencePlan, self), ...Object.fromEntries(arrays.flat()) } as Part
  })
  if (at !== aligned.byteLength)
    throw new ConnectionError(`inputs of ${at} bytes were announced, ${aligned.byteLength} came`)
  return parts
}

/** Bytes of a part's arrays, but for patches. */
export const textBytes = (part: Part): number =>
  FIELDS.reduce((sum, f) => sum + (f === 'patches' ? 0 : (part[f]?.byteLength ?? 0)), 0)

/** An account as it travels: a stage is its name, operations, bytes sent and received, and milliseconds. */
export const packDone = ({ stages, milliseconds, ...rest }: DoneMessage) => ({
  ...rest,
  milliseconds: microseconds(milliseconds),
  stages: stages.map(s => [s.stage, s.flops, s.bytesSent, s.bytesReceived, microseconds(s.milliseconds)] as const),
})

/** Rounded to a microsecond: what a clock tells beyond it is noise that takes bytes. */
const microseconds = (milliseconds: number): number => Math.round(milliseconds * 1000) / 1000
