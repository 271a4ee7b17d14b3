/** Image files to pixels, where no platform decodes them. Which format it is, the first bytes say, never the name. */
import { type Image, InputError } from '@prismal/models'
import { codecModule } from './codec.js'
import { decodeJpeg } from './jpeg.js'
import { decodePng } from './png.js'
import { startsWith } from './starts-with.js'

/** The modules of the codecs, loaded at the first image of their format. */
export interface Codecs {
  jpeg(): Promise<WebAssembly.Module>
  png(): Promise<WebAssembly.Module>
}
const installed: Codecs = {
  jpeg: codecModule('@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm', 'JPEG'),
  png: codecModule('@jsquash/png/codec/pkg/squoosh_png_bg.wasm', 'PNG'),
}

/** Formats that are recognised in order to say so: they are images, but not read here. */
const NOT_READ: { format: string; offset?: number; letters: string }[] = [
  { format: 'GIF', letters: 'GIF8' },
  { format: 'WebP', offset: 8, letters: 'WEBP' },
  { format: 'AVIF', offset: 4, letters: 'ftypavif' },
  { format: 'HEIC', offset: 4, letters: 'ftypheic' },
  { format: 'TIFF', letters: 'II*\0' },
  { format: 'TIFF', letters: 'MM\0*' },
]

/**
 * Decodes a JPEG or a PNG as Pillow does, to the bit, upright as its EXIF orientation says.
 *
 * The channels are the file's: 1 for grey, 3 for RGB, 4 where it has alpha (grey with alpha and palettes too). 16-bit
 * samples keep their upper byte. (Pillow does so too, but for grey, where it cuts everything above 255 to white.)
 * @param bytes the whole file
 * @param name what messages call it
 * @param codecs default: those of the installed packages, as files
 * @throws InputError (as a rejection) if it is neither, cut short, damaged, of a variant that is not read (CMYK,
 * arithmetic coding), or of more than 2^28 pixels
 */
export async function decodeImage(bytes: Uint8Array, name = 'the input', codecs = installed): Promise<Image> {
  if (startsWith(bytes, '\xff\xd8\xff')) return decodeJpeg(bytes, name, codecs.jpeg)
  if (startsWith(bytes, '\x89PNG\r\n\x1a\n')) return decodePng(bytes, name, codecs.png)
  const other = NOT_READ.find(({ letters, offset }) => startsWith(bytes, letters, offset))
  if (other) throw new InputError(`${name} is in the ${other.format} format, which is not read here: JPEG, PNG`)
  const hex = Array.from(bytes.subarray(0, 4), byte => byte.toString(16).padStart(2, '0')).join(' ')
  const found = bytes.length === 0 ? 'it is empty' : `its first bytes are ${hex}`
  throw new InputError(`${name} is not an image (${found}; read here: JPEG, PNG)`)
}
