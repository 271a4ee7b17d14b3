/** The decoders in workerd (`#decoders`): loaded at the first image. */
import type { Image } from '@prismal/models'

export async function decodeImage(bytes: Uint8Array, name?: string): Promise<Image> {
  const { decodeImage } = await import('./workerd-codecs.js')
  return decodeImage(bytes, name)
}
