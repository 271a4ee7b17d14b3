/** Images as people have them: a path, a URL, a Blob, bytes, pixels, or what a canvas can draw. */
/// <reference path="./modules.d.ts" />

import { addressOf, dataAt, type Image, InputError, kindOf } from '@prismal/models'
// Whoever never decodes an image loads no decoder, and a browser's bundle has none, nor anything that is loaded later: older
// versions of Vite make workers of one file.
import { decodeImage as decodeHere } from '#decoders'
import { decodeByPlatform, isDrawable, pixelsOf, platformDecodes } from './decoders/platform.js'

/** What a page's canvas can draw: an image element that is loaded, a canvas, an `ImageBitmap`. */
export interface Drawable {
  readonly width: number
  readonly height: number
}

/**
 * A path or URL, encoded bytes (a `Blob` or `File`, or as they are), pixels (1, 3 or 4 channels, interleaved, as canvas
 * `ImageData` has them), or in a browser what a canvas can draw.
 */
export type ImageInput =
  | string
  | URL
  | Blob
  | Uint8Array
  | ArrayBuffer
  | { readonly width: number; readonly height: number; readonly data: Uint8Array | Uint8ClampedArray }
  | Drawable

/** Throws `InputError` where it cannot be read or is not an image, and the signal's reason where that ends fetching it. */
export async function readImage(input: ImageInput, signal?: AbortSignal): Promise<Image> {
  if (typeof input === 'string' || input instanceof URL) {
    const location = String(input)
    if (location === '') throw new InputError('the address of the image is empty')
    if (/^data:/i.test(location)) return decodeImage(written(location), 'the data: address')
    return decodeImage(await bytesAt(input, signal), location)
  }
  if (input instanceof Blob) return decodeImage(new Uint8Array(await input.arrayBuffer()), nameOf(input))
  if (input instanceof Uint8Array) return decodeImage(input)
  if (isBuffer(input)) return decodeImage(new Uint8Array(input))
  if (isDrawable(input)) return pixelsOf(input)
  return givenPixels(input)
}

/** Of any realm: a frame's is another class. */
export const isBuffer = (input: unknown): input is ArrayBuffer => kindOf(input) === 'ArrayBuffer'

/** What messages call it: a file's name, where it has one. */
const nameOf = (blob: Blob): string => (blob instanceof File && blob.name) || 'the Blob'

function givenPixels(input: unknown): Image {
  if (typeof input !== 'object' || input === null || !('data' in input))
    throw new InputError(
      `${kindOf(input)} is not an image: give a path, a URL, a Blob, bytes, or { width, height, data } with pixels`,
    )
  const { width, height, data } = input as Extract<ImageInput, { readonly data: unknown }>
  if (!['Uint8Array', 'Uint8ClampedArray'].includes(kindOf(data)))
    throw new InputError(`pixels are bytes (Uint8Array or Uint8ClampedArray); ${kindOf(data)} was given`)
  const channels = data.length / (width * height)
  if (channels !== 1 && channels !== 3 && channels !== 4)
    throw new InputError(`${data.length} values are not the pixels of a ${width}×${height} image of 1, 3 or 4 channels`)
  return { width, height, channels, data: new Uint8Array(data.buffer, data.byteOffset, data.length) }
}

/**
 * Decodes a JPEG or a PNG as Pillow does, to the bit, upright as its EXIF orientation says, its channels the file's. In a
 * browser the platform decodes, whatever formats it knows, to 4 channels; colours under a partial alpha are then rounded.
 * @param bytes the whole file
 * @param name what messages call it
 * @throws InputError (as a rejection) if it is neither, cut short, damaged, of a variant that is not read, or too large
 */
export async function decodeImage(bytes: Uint8Array, name = 'the input'): Promise<Image> {
  if (platformDecodes()) return decodeByPlatform(bytes, name)
  return decodeHere(bytes, name)
}

function written(address: string): Uint8Array {
  try {
    return dataAt(address)
  } catch (cause) {
    throw new InputError(`the data: address cannot be read: ${(cause as Error).message}`, { cause })
  }
}

async function bytesAt(location: string | URL, signal?: AbortSignal): Promise<Uint8Array> {
  const address = addressOf(String(location)) ?? (/^blob:/.test(String(location)) ? location : undefined)
  if (address !== undefined) {
    const failed = (cause: unknown): never => {
      signal?.throwIfAborted()
      throw new InputError(`${location} cannot be fetched: ${(cause as Error).message}`, { cause })
    }
    const response = await fetch(address, signal ? { signal } : {}).catch(failed)
    if (!response.ok) throw new InputError(`${location}: HTTP ${response.status}`)
    return new Uint8Array(await response.arrayBuffer().catch(failed))
  }
  const files = globalThis.process?.getBuiltinModule?.('node:fs/promises')
  const path = /^file:/.test(String(location)) && URL.canParse(location) ? new URL(location) : location
  if (!files) throw new InputError(`${location} cannot be read: this runtime has no files, so give a URL or a Blob`)
  try {
    return await files.readFile(path)
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'it does not exist' : (cause as Error).message
    throw new InputError(`${location} cannot be read: ${why}`, { cause })
  }
}
