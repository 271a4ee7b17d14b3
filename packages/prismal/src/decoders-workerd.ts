/** The decoders in workerd, which compiles WebAssembly before it runs: the codecs are imported. */
/// <reference path="./modules.d.ts" />
import jpeg from '@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm'
import png from '@jsquash/png/codec/pkg/squoosh_png_bg.wasm'
import type { Image } from '@prismal/models'
import { type Codecs, decodeImage as decode } from './decoders/decode-image.js'

const imported: Codecs = { jpeg: async () => jpeg, png: async () => png }

export const decodeImage = (bytes: Uint8Array, name?: string): Promise<Image> => decode(bytes, name, imported)
