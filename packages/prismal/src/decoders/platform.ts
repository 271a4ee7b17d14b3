/** Images by a browser's own decoders: files, and what a page shows already. */
import { type Image, InputError, MAX_PIXELS } from '@prismal/models'

/** Whether images are decoded by the platform: in pages and their workers. Runtimes with Node's modules decode to Pillow's bits. */
export const platformDecodes = (): boolean =>
  !globalThis.process?.getBuiltinModule &&
  typeof createImageBitmap === 'function' &&
  typeof OffscreenCanvas === 'function'

/** Stored colours, as Pillow gives them: no profile applied, no alpha multiplied in; upright, as the file's EXIF says. */
const AS_STORED: ImageBitmapOptions = { colorSpaceConversion: 'none', premultiplyAlpha: 'none' }

/** Throws `InputError` (as a rejection) for what the platform does not take for an image; `name` is what messages call it. */
export async function decodeByPlatform(bytes: Uint8Array, name: string): Promise<Image> {
  // A copy: no Blob is made of memory that threads share.
  const bitmap = await createImageBitmap(new Blob([new Uint8Array(bytes)]), AS_STORED).catch(cause => {
    const hex = Array.from(bytes.subarray(0, 4), byte => byte.toString(16).padStart(2, '0')).join(' ')
    const found = bytes.length === 0 ? 'it is empty' : `its first bytes are ${hex}`
    throw new InputError(`${name} is not an image that this browser reads, or is damaged (${found})`, { cause })
  })
  try {
    return pixelsOf(bitmap)
  } finally {
    bitmap.close()
  }
}

/** The kinds of things that a canvas can draw, as far as this runtime has them. */
const DRAWABLE = ['ImageBitmap', 'HTMLImageElement', 'HTMLCanvasElement', 'OffscreenCanvas', 'HTMLVideoElement']

type Source = ImageBitmap | HTMLImageElement | HTMLCanvasElement | OffscreenCanvas | HTMLVideoElement

/** Whether a canvas can draw it. Asked of the prototypes' names: an element may be another frame's. */
export function isDrawable(input: unknown): input is Source {
  for (let at: unknown = input; typeof at === 'object' && at !== null; at = Object.getPrototypeOf(at))
    if (DRAWABLE.includes((at as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? '')) return true
  return false
}

/**
 * The pixels of what a canvas can draw, RGBA. Throws `InputError` where it has none yet, or a page may not see them (an
 * image of another origin without CORS).
 */
export function pixelsOf(source: Source): Image {
  const [width, height] = sidesOf(source)
  if (!(width > 0 && height > 0)) throw new InputError('the image has no pixels: is it loaded?')
  if (width * height > MAX_PIXELS)
    throw new InputError(`the image has ${width} × ${height} pixels; at most ${MAX_PIXELS} are read`)
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })
  if (!context) throw new InputError(`this browser has no canvas of ${width} × ${height} pixels`)
  try {
    context.drawImage(source, 0, 0)
    const { data } = context.getImageData(0, 0, width, height)
    return { width, height, channels: 4, data: new Uint8Array(data.buffer) }
  } catch (cause) {
    throw new InputError(`the image's pixels cannot be read: ${(cause as Error).message}`, { cause })
  }
}

function sidesOf(source: Source): [number, number] {
  if ('naturalWidth' in source) return [source.naturalWidth, source.naturalHeight]
  return 'videoWidth' in source ? [source.videoWidth, source.videoHeight] : [source.width, source.height]
}
