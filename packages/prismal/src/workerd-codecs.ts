/** The decoders in workerd, which compiles WebAssembly before it runs: the codecs are imported. */
/// <reference path="./modules.d.ts" />

import type { Image } from '@prismal/models'
import jpeg from './codecs/mozjpeg_dec.wasm'
import png from './codecs/squoosh_png_bg.wasm'
import { type Codecs, decodeImage as decode } from './decoders/decode-image.js'

const imported: Codecs = { jpeg: async () => jpeg, png: async () => png }

export const decodeImage = (bytes: Uint8Array, name?: string): Promise<Image> => decode(bytes, name, imported)
