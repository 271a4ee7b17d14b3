/** Images as bytes, and the two conversions a model may ask for. Both equal Pillow's `convert` to the bit. */
import { InputError } from '../errors.js'

/** Pixels of 8 bits, rows from the top, channels interleaved: `data[(y * width + x) * channels + c]`. */
export interface Image {
  width: number
  height: number
  /** 1: grey, 3: RGB, 4: RGB and an alpha that is not multiplied in. */
  channels: 1 | 3 | 4
  /** `width * height * channels` bytes. */
  data: Uint8Array
}

/** Turns a file's bytes into an image, upright as its EXIF orientation says; rejects with an `InputError` otherwise. */
export type ImageDecoder = (bytes: Uint8Array) => Promise<Image>

/** Most pixels an image may have, decoded or resized: 2^28 (16,384 × 16,384), 805 MB as RGB. */
export const MAX_PIXELS = 2 ** 28

/**
 * Checks that an image is what its fields say: whole positive sides, 1, 3 or 4 channels, as many bytes as they make.
 * @throws InputError naming the field that does not fit
 */
export function checkImage(image: Image): void {
  const { width, height, channels, data } = image
  if (!isSide(width) || !isSide(height)) {
    throw new InputError(`image: its sides are ${width} × ${height} pixels; whole numbers of at least 1 are needed`)
  }
  if (width * height > MAX_PIXELS) {
    throw new InputError(`image: ${width} × ${height} pixels are more than the ${MAX_PIXELS} that are taken`)
  }
  if (channels !== 1 && channels !== 3 && channels !== 4) {
    throw new InputError(`image: it has ${channels} channels; 1 (grey), 3 (RGB) or 4 (RGB, alpha) are taken`)
  }
  if (data.length !== width * height * channels) {
    const needed = width * height * channels
    throw new InputError(`image: ${width} × ${height} × ${channels} need ${needed} bytes, it has ${data.length}`)
  }
}

function isSide(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1
}

/**
 * The image as RGB, as Pillow's `convert('RGB')`: grey is repeated, alpha is dropped and not multiplied in.
 * An RGB image is returned as it is, not copied.
 * @throws InputError if the image contradicts itself
 */
export function toRgb(image: Image): Image {
  checkImage(image)
  const { width, height, channels, data } = image
  if (channels === 3) return image
  const rgb = new Uint8Array(width * height * 3)
  const [green, blue] = channels === 1 ? [0, 0] : [1, 2]
  for (let from = 0, to = 0; to < rgb.length; from += channels, to += 3) {
    rgb[to] = data[from]!
    rgb[to + 1] = data[from + green]!
    rgb[to + 2] = data[from + blue]!
  }
  return { width, height, channels: 3, data: rgb }
}

/**
 * The image as grey, as Pillow's `convert('L')`: ITU-R 601 luma in 16-bit fixed point, alpha dropped.
 * A grey image is returned as it is, not copied.
 * @throws InputError if the image contradicts itself
 */
export function toGrey(image: Image): Image {
  checkImage(image)
  const { width, height, channels, data } = image
  if (channels === 1) return image
  const grey = new Uint8Array(width * height)
  for (let from = 0, to = 0; to < grey.length; from += channels, to++) {
    // Pillow's L24: 0.299, 0.587 and 0.114 times 65,536, which add up to exactly that, so that grey stays what it is.
    grey[to] = (data[from]! * 19595 + data[from + 1]! * 38470 + data[from + 2]! * 7471 + 0x8000) >> 16
  }
  return { width, height, channels: 1, data: grey }
}
