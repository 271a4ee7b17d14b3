/** Images as people have them: a path, a URL, a Blob, bytes, or pixels. */
import { readFile } from 'node:fs/promises'
import { type Image, InputError } from '@prismal/models'
import { decodeImage } from './decoders/decode-image.js'

/** A path or URL, encoded bytes, or pixels (1, 3 or 4 channels, interleaved, as canvas ImageData has them). */
export type ImageInput =
  | string
  | URL
  | Blob
  | Uint8Array
  | { readonly width: number; readonly height: number; readonly data: Uint8Array | Uint8ClampedArray }

/** Throws `InputError` where it cannot be read or is not an image. */
export async function readImage(input: ImageInput): Promise<Image> {
  if (typeof input === 'string' || input instanceof URL) return decodeImage(await bytesAt(input), String(input))
  if (input instanceof Blob) return decodeImage(new Uint8Array(await input.arrayBuffer()), 'the Blob')
  if (input instanceof Uint8Array) return decodeImage(input)
  const { width, height, data } = input
  const channels = data.length / (width * height)
  if (channels !== 1 && channels !== 3 && channels !== 4)
    throw new InputError(`${data.length} values are not the pixels of a ${width}×${height} image of 1, 3 or 4 channels`)
  return { width, height, channels, data: new Uint8Array(data.buffer, data.byteOffset, data.length) }
}

async function bytesAt(location: string | URL): Promise<Uint8Array> {
  if (/^https?:/.test(String(location))) {
    const response = await fetch(location)
    if (!response.ok) throw new InputError(`${location}: HTTP ${response.status}`)
    return new Uint8Array(await response.arrayBuffer())
  }
  try {
    return await readFile(location)
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'it does not exist' : (cause as Error).message
    throw new InputError(`${location} cannot be read: ${why}`, { cause })
  }
}
