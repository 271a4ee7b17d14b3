/** The orientation that a camera noted beside the pixels, and turning the pixels accordingly. */
import type { Image } from '@prismal/models'

const ORIENTATION_TAG = 0x0112

/**
 * Reads the orientation out of EXIF data, 1 to 8.
 * @param tiff the TIFF structure: a JPEG's APP1 segment after `Exif\0\0`, a PNG's `eXIf` chunk
 * @returns undefined where it is not there or cannot be read; damaged EXIF must not cost the picture
 * @see Exif 2.32, 4.6.2 (structure), 4.6.4 A (tag 274)
 */
export function exifOrientation(tiff: Uint8Array): number | undefined {
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength)
  if (tiff.length < 8) return undefined
  const order = view.getUint16(0)
  const little = order === 0x4949 // 'II'
  if ((!little && order !== 0x4d4d) || view.getUint16(2, little) !== 42) return undefined
  const directory = view.getUint32(4, little)
  if (directory + 2 > tiff.length) return undefined
  const entries = view.getUint16(directory, little)
  for (let i = 0; i < entries; i++) {
    const entry = directory + 2 + i * 12 // tag 2, type 2, count 4, value 4
    if (entry + 12 > tiff.length) return undefined
    if (view.getUint16(entry, little) !== ORIENTATION_TAG) continue
    const long = view.getUint16(entry + 2, little) === 4
    return inRange(long ? view.getUint32(entry + 8, little) : view.getUint16(entry + 8, little))
  }
  return undefined
}

/** Reads the orientation out of an XMP packet, where some editors write it instead; undefined where it is not there. */
export function xmpOrientation(xmp: Uint8Array): number | undefined {
  const text = new TextDecoder('latin1').decode(xmp)
  return inRange(Number(/tiff:Orientation(?:="|>)([0-9])/.exec(text)?.[1]))
}

function inRange(value: number): number | undefined {
  return value >= 1 && value <= 8 ? value : undefined
}

/**
 * Turns an image upright, as Pillow's `ImageOps.exif_transpose`.
 * @param orientation EXIF's 1 to 8; 1 and undefined return the image as it is
 */
export function upright(image: Image, orientation: number | undefined): Image {
  if (orientation === undefined || orientation === 1) return image
  const { width, height, channels, data } = image
  // How one walks through the source: from its right or lower edge, and down its columns (5 to 8) or along its rows.
  const fromRight = [2, 3, 7, 8].includes(orientation)
  const fromBelow = [3, 4, 6, 7].includes(orientation)
  const swapped = orientation >= 5
  const stepX = (fromRight ? -1 : 1) * channels
  const stepY = (fromBelow ? -1 : 1) * width * channels
  const start = (fromRight ? (width - 1) * channels : 0) + (fromBelow ? (height - 1) * width * channels : 0)

  const out = new Uint8Array(data.length)
  const [outWidth, outHeight] = swapped ? [height, width] : [width, height]
  const [along, down] = swapped ? [stepY, stepX] : [stepX, stepY]
  let to = 0
  for (let y = 0; y < outHeight; y++) {
    let from = start + y * down
    for (let x = 0; x < outWidth; x++, from += along) {
      for (let c = 0; c < channels; c++) out[to++] = data[from + c]!
    }
  }
  return { width: outWidth, height: outHeight, channels, data: out }
}
