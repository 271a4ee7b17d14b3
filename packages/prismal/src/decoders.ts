/** The decoders of image files, in WebAssembly (`#decoders`): loaded at the first image. */
import type { Image } from '@prismal/models'

export async function decodeImage(bytes: Uint8Array, name?: string): Promise<Image> {
  const { decodeImage } = await import('./decoders/decode-image.js')
  return decodeImage(bytes, name)
}
