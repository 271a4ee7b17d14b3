/** Messages of requests and their replies: a length, JSON, bytes; sealed where there is a secret. */
import { ConnectionError } from '../errors.js'
import { bytesOf, joined } from '../wire.js'
import { utf8 } from './keys.js'

/** A request: texts, or the bytes of images. */
export interface TaskRequest {
  readonly inputs: readonly (string | Uint8Array)[]
  /** As the task takes them: plain values. */
  readonly options?: Readonly<Record<string, unknown>>
}

export interface RequestHead {
  /** Milliseconds since 1970 by the asker's clock. */
  readonly time: number
  /** Texts, or how many bytes of the data are the next input's. */
  readonly inputs: readonly (string | { readonly bytes: number })[]
  readonly options: Readonly<Record<string, unknown>>
  /** The request itself is too long for a message and lies in the Object Store under its id. */
  readonly isStored?: true
}

export type ReplyHead =
  | { readonly kind: 'busy' }
  /** It was taken, by a group of this name. */
  | { readonly kind: 'taken'; readonly by: string }
  | { readonly kind: 'working' }
  /** A piece of a text that is being generated. */
  | { readonly kind: 'piece'; readonly text: string }
  /** Data: a part of the result's JSON. */
  | { readonly kind: 'part' }
  /** Data: its last part. */
  | { readonly kind: 'done' }
  | { readonly kind: 'error'; readonly code: string; readonly message: string }

export const MOST_REQUEST_BYTES = 64 << 20
export const MOST_REPLY_BYTES = 256 << 20

/** Four bytes, little-endian. */
function uint32(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(4))
  view.setUint32(0, value, true)
  return bytesOf(view)
}

export function pack(head: RequestHead | ReplyHead, ...data: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const json = utf8(JSON.stringify(head))
  return joined([uint32(json.length), json, ...data])
}

/** Throws {@link ConnectionError} where the bytes are none of prismal's. */
export function unpack<T extends RequestHead | ReplyHead>(bytes: Uint8Array): { head: T; data: Uint8Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const length = bytes.length >= 4 ? view.getUint32(0, true) : Number.POSITIVE_INFINITY
  if (length > bytes.length - 4) throw new ConnectionError('that is not a message of prismal: it is too short')
  try {
    const head: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(4, 4 + length)))
    if (typeof head !== 'object' || head === null) throw new Error('it is no object')
    return { head: head as T, data: bytes.subarray(4 + length) }
  } catch (cause) {
    throw new ConnectionError(`that is not a message of prismal: ${(cause as Error).message}`, { cause })
  }
}

export function packRequest({ inputs, options = {} }: TaskRequest): Uint8Array<ArrayBuffer> {
  const data = inputs.filter(input => typeof input !== 'string')
  const heads = inputs.map(input => (typeof input === 'string' ? input : { bytes: input.length }))
  return pack({ time: Date.now(), inputs: heads, options }, ...data)
}

/** Throws {@link ConnectionError} where it is none. */
export function unpackRequest(bytes: Uint8Array): Required<TaskRequest> & { readonly head: RequestHead } {
  const { head, data } = unpack<RequestHead>(bytes)
  const refuse = (why: string): never => {
    throw new ConnectionError(`that is not a request: ${why}`)
  }
  const { inputs, options, time } = head
  if (!Array.isArray(inputs)) return refuse('it has no inputs')
  if (!Number.isFinite(time)) refuse('it has no time')
  if (typeof options !== 'object' || options === null || Array.isArray(options)) refuse('its options are none')
  let at = 0
  const taken = inputs.map((input: unknown) => {
    if (typeof input === 'string') return input
    const length: unknown = (input as { bytes?: unknown } | null)?.bytes
    if (!Number.isSafeInteger(length) || (length as number) < 0 || at + (length as number) > data.length)
      return refuse('its inputs are not all there')
    at += length as number
    // A copy: what it lies in may be shared.
    return new Uint8Array(data.subarray(at - (length as number), at))
  })
  if (at !== data.length) refuse('there is more than its inputs')
  return { inputs: taken, options, head }
}

/** What seals a request, and each reply to it: for one place only. */
export const requestContext = (group: string, task: string, id: string): string => `request ${group} ${task} ${id}`
export const replyContext = (id: string, index: number): string => `reply ${id} ${index}`

/** A reply with its number before it: NATS delivers at most once, and what is missing must be noticed. */
export const numbered = (number: number, bytes: Uint8Array): Uint8Array => joined([uint32(number), bytes])

/** What follows the number, which must be the one that is due. */
export function inOrder(bytes: Uint8Array, due: number): Uint8Array {
  const number = bytes.length < 4 ? -1 : new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true)
  if (number !== due) throw new ConnectionError(`reply ${number} came where ${due} was due: one was lost`)
  return bytes.subarray(4)
}
