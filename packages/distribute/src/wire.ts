/**
 * What travels: frames of a fixed little-endian header, and rows in one of four encodings.
 *
 *     byte 0       'P' (0x50)
 *          1       protocol version
 *          2       kind
 *          3       0
 *          4  u32  request
 *          8  u16  layer
 *         10  u16  sending device
 *         12  u32  number of the frame on its connection, from 0
 *         16  u32  bytes of JSON
 *         20  u32  bytes of data
 *         24       JSON (UTF-8), then data
 */
import { dequantiseRows, fromF16, quantiseRows, type Scope, type Tensor, toF16 } from '@prismal/tensor'
import { ConnectionError } from './errors.js'
import { fourBitBytes, packFourBits, unpackFourBits } from './four-bits.js'
import type { WireFormat } from './options.js'

export const PROTOCOL_VERSION = 1
export const HEADER_BYTES = 24
const MAGIC = 0x50
/** Most bytes of JSON in a frame: what it becomes takes a multiple of them. */
export const MAX_JSON_BYTES = 2 ** 22

/**
 * `rows` are exchanged rows or means of a layer, `handoff` exact ones for decoding; a `probe` is answered by an `echo`, by
 * whomever it reaches; the others talk to the coordinator, which has a device join another one by `link`.
 */
export const KINDS = [
  ...(['run', 'abort', 'rows', 'handoff', 'output', 'token', 'done', 'error'] as const),
  ...(['link', 'linked', 'probe', 'echo'] as const),
] as const
export type Kind = (typeof KINDS)[number]

export interface Frame {
  readonly kind: Kind
  readonly request: number
  readonly layer: number
  readonly from: number
  /** Small and structured; absent where the plan says everything. */
  readonly json?: unknown
  readonly data: Uint8Array
}

const NO_DATA = new Uint8Array(0)

export const frame = (kind: Kind, request: number, more: Partial<Frame> = {}): Frame => ({
  kind,
  request,
  layer: 0,
  from: 0,
  data: NO_DATA,
  ...more,
})

/** Bytes of a frame that cost counts: header and data. */
export const dataBytes = (data: Uint8Array | number): number =>
  HEADER_BYTES + (typeof data === 'number' ? data : data.length)

export function encodeFrame(f: Frame, number: number): Uint8Array {
  const json = f.json === undefined ? NO_DATA : new TextEncoder().encode(JSON.stringify(f.json))
  if (json.length > MAX_JSON_BYTES)
    throw new ConnectionError(
      `${json.length} bytes of JSON are more than a frame's ${MAX_JSON_BYTES}: ask for less at once`,
    )
  const bytes = new Uint8Array(HEADER_BYTES + json.length + f.data.length)
  const view = new DataView(bytes.buffer)
  bytes.set([MAGIC, PROTOCOL_VERSION, KINDS.indexOf(f.kind), 0])
  view.setUint32(4, f.request, true)
  view.setUint16(8, f.layer, true)
  view.setUint16(10, f.from, true)
  view.setUint32(12, number, true)
  view.setUint32(16, json.length, true)
  view.setUint32(20, f.data.length, true)
  bytes.set(json, HEADER_BYTES)
  bytes.set(f.data, HEADER_BYTES + json.length)
  return bytes
}

/** Throws {@link ConnectionError} where the bytes are not the frame that is due. */
export function decodeFrame(bytes: Uint8Array, due: number): Frame {
  const refuse = (why: string): never => {
    throw new ConnectionError(`not a prismal frame: ${why}`)
  }
  if (bytes.length < HEADER_BYTES) refuse(`${bytes.length} bytes are fewer than a header's ${HEADER_BYTES}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const [magic, version, kindNumber, reserved] = bytes
  if (magic !== MAGIC || reserved !== 0) refuse(`it begins with ${bytes.subarray(0, 4).join(' ')}`)
  if (version !== PROTOCOL_VERSION) refuse(`it is of protocol ${version}, this device speaks ${PROTOCOL_VERSION}`)
  const kind = KINDS[kindNumber as number] ?? refuse(`kind ${kindNumber} is unknown`)
  const number = view.getUint32(12, true)
  if (number !== due) refuse(`frame ${number} came where ${due} was due: one was lost or repeated`)
  const jsonBytes = view.getUint32(16, true)
  const length = view.getUint32(20, true)
  if (HEADER_BYTES + jsonBytes + length !== bytes.length)
    refuse(`${jsonBytes} + ${length} bytes are announced, ${bytes.length - HEADER_BYTES} came`)
  if (jsonBytes > MAX_JSON_BYTES) refuse(`${jsonBytes} bytes of JSON are more than ${MAX_JSON_BYTES}`)
  const data = bytes.subarray(HEADER_BYTES + jsonBytes)
  return {
    kind,
    request: view.getUint32(4, true),
    layer: view.getUint16(8, true),
    from: view.getUint16(10, true),
    ...(jsonBytes > 0 && { json: parseJson(bytes.subarray(HEADER_BYTES, HEADER_BYTES + jsonBytes)) }),
    data,
  }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new ConnectionError(`not a prismal frame: its JSON is damaged (${(cause as Error).message})`, { cause })
  }
}

/** Bytes of `rows` rows of `width` values. int8 rows carry one f32 scale each, int4 rows an f16 scale for each 64 columns. */
export function rowBytes(rows: number, width: number, wire: WireFormat): number {
  if (wire === 'int4') return fourBitBytes(rows, width)
  return wire === 'int8' ? rows * (4 + width) : rows * width * (wire === 'f16' ? 2 : 4)
}

/**
 * Rows [r, D] as they travel: f32 or f16 (nearest even) little-endian, or int8: r scales (f32, max|row|/127), then r·D
 * codes; int4 as in four-bits.ts. Throws `RangeOfFormatError` where a value does not fit.
 */
export function encodeRows(x: Tensor, wire: WireFormat): Uint8Array {
  if (wire === 'f32') return bytesOf(x.data())
  if (wire === 'f16') {
    const half = toF16(x)
    const bytes = bytesOf(half.data())
    half.dispose()
    return bytes
  }
  if (wire === 'int4') return packFourBits(x)
  const { codes, scales } = quantiseRows(x)
  const bytes = new Uint8Array(rowBytes(x.rows, x.columns, wire))
  bytes.set(bytesOf(scales.data()))
  bytes.set(bytesOf(codes.data()), x.rows * 4)
  codes.dispose()
  scales.dispose()
  return bytes
}

/** The inverse: f32 [rows, width], owned by `scope`. Throws {@link ConnectionError} where the length is another. */
export function decodeRows(scope: Scope, bytes: Uint8Array, rows: number, width: number, wire: WireFormat): Tensor {
  const due = rowBytes(rows, width, wire)
  if (bytes.length !== due)
    throw new ConnectionError(`${rows} rows of ${width} values take ${due} bytes as ${wire}; ${bytes.length} came`)
  if (wire === 'int4') return unpackFourBits(scope, bytes, rows, width)
  const aligned = bytes.slice().buffer
  if (wire === 'f32') return scope.tensor(new Float32Array(aligned), [rows, width])
  if (wire === 'f16') {
    const half = scope.tensor(new Uint16Array(aligned), [rows, width])
    const x = fromF16(scope, half)
    half.dispose()
    return x
  }
  const scales = scope.tensor(new Float32Array(aligned, 0, rows), [rows])
  const codes = scope.tensor(new Int8Array(aligned, rows * 4), [rows, width])
  const x = dequantiseRows(codes, scales)
  scales.dispose()
  codes.dispose()
  return x
}

export const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

/** Byte arrays, one after another. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
