/** Image files to pixels, in Node and what is like it. Which format it is, the first bytes say, never the name. */
import { type Image, InputError } from '@prismal/models'
import { decodeJpeg } from './jpeg.js'
import { decodePng } from './png.js'
import { startsWith } from './starts-with.js'

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
 * @throws InputError (as a rejection) if it is neither, cut short, damaged, of a variant that is not read (CMYK,
 * arithmetic coding), or of more than 2^28 pixels
 */
export async function decodeImage(bytes: Uint8Array, name = 'the input'): Promise<Image> {
  if (startsWith(bytes, '\xff\xd8\xff')) return decodeJpeg(bytes, name)
  if (startsWith(bytes, '\x89PNG\r\n\x1a\n')) return decodePng(bytes, name)
  const other = NOT_READ.find(({ letters, offset }) => startsWith(bytes, letters, offset))
  if (other) throw new InputError(`${name} is in the ${other.format} format, which is not read here: JPEG, PNG`)
  const hex = Array.from(bytes.subarray(0, 4), byte => byte.toString(16).padStart(2, '0')).join(' ')
  const found = bytes.length === 0 ? 'it is empty' : `its first bytes are ${hex}`
  throw new InputError(`${name} is not an image (${found}; read here: JPEG, PNG)`)
}
