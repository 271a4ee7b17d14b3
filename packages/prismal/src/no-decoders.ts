/** What bundles for browsers have in place of the decoders (`#decoders` in package.json): the platform decodes there. */
import { type Image, InputError } from '@prismal/models'

/** Rejects with `InputError`. */
export async function decodeImage(_bytes: Uint8Array, name = 'the input'): Promise<Image> {
  throw new InputError(
    `${name} cannot be decoded: this bundle was made for browsers, and this runtime has no createImageBitmap and ` +
      'OffscreenCanvas; give pixels ({ width, height, data })',
  )
}
