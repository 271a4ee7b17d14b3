/** Inputs and outputs of pipelines as messages carry them: what a structured clone would lose or refuse is spelt out. */
import { addressOf, type NumberArray, numberArray } from '@prismal/models'
import { isDrawable, pixelsOf } from '../decoders/platform.js'
import { isBuffer } from '../images.js'

/** A value to be posted, and the buffers that go over rather than being copied. */
export interface Parcel {
  readonly value: unknown
  readonly transfer: readonly ArrayBuffer[]
}

type Spelt =
  | { readonly carried: 'url'; readonly href: string }
  | { readonly carried: 'blob'; readonly bytes: Uint8Array<ArrayBuffer>; readonly name: string }

/**
 * An input, or a list of them. Bytes and pixels are copied: the caller's stay what they are, and of a view only its part
 * of the buffer goes. A `Blob` is read here, since not every runtime posts one; what a canvas can draw is drawn. Of images, relative
 * addresses become whole ones.
 */
export async function packInput(input: unknown, areImages = false): Promise<Parcel> {
  const transfer: ArrayBuffer[] = []
  const copied = (bytes: Uint8Array | Uint8ClampedArray): Uint8Array<ArrayBuffer> => {
    const copy = new Uint8Array(bytes)
    transfer.push(copy.buffer)
    return copy
  }
  const pack = async (source: unknown): Promise<unknown> => {
    if (typeof source === 'string' && areImages) return addressOf(source) ?? source
    if (source instanceof URL) return { carried: 'url', href: source.href } satisfies Spelt
    if (source instanceof Blob) {
      const name = source instanceof File ? source.name : ''
      return { carried: 'blob', bytes: copied(new Uint8Array(await source.arrayBuffer())), name } satisfies Spelt
    }
    if (isBuffer(source)) return copied(new Uint8Array(source))
    if (isBytes(source)) return copied(source)
    if (isDrawable(source)) return pack(pixelsOf(source))
    if (typeof source !== 'object' || source === null || !('data' in source) || !isBytes(source.data)) return source
    // Of an ImageData all three are on its prototype, which a clone does not have.
    const { width, height } = source as { width?: unknown; height?: unknown }
    return { width, height, data: copied(source.data) }
  }
  const value = Array.isArray(input) ? await Promise.all(input.map(pack)) : await pack(input)
  return { value, transfer }
}

/** The input that {@link packInput} was given. */
export function unpackInput(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unpackInput)
  if (typeof value !== 'object' || value === null || !('carried' in value)) return value
  const spelt = value as Spelt
  if (spelt.carried === 'url') return new URL(spelt.href)
  return spelt.name ? new File([spelt.bytes], spelt.name) : new Blob([spelt.bytes])
}

/** An output, or a list of them: a `NumberArray` has a method. */
export function packOutput(output: unknown): Parcel {
  const transfer: ArrayBuffer[] = []
  const pack = (item: unknown): unknown => {
    if (!isNumberArray(item)) return item
    const data = new Float32Array(item.data)
    transfer.push(data.buffer)
    return { dims: item.dims, data }
  }
  return { value: Array.isArray(output) ? output.map(pack) : pack(output), transfer }
}

/** The output that {@link packOutput} was given. */
export function unpackOutput(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unpackOutput)
  return isNumberArray(value) ? numberArray(value.dims, value.data) : value
}

const isBytes = (value: unknown): value is Uint8Array | Uint8ClampedArray =>
  value instanceof Uint8Array || value instanceof Uint8ClampedArray

const isNumberArray = (value: unknown): value is Pick<NumberArray, 'dims' | 'data'> =>
  typeof value === 'object' && value !== null && 'dims' in value && 'data' in value
