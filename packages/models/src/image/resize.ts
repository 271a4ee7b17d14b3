/**
 * Resizing as Pillow does it, to the bit: models were trained behind Pillow, and a filter that differs by a little
 * moves their answers. Source: Pillow's `src/libImaging/Resample.c` (filters, 8-bit path) and `Geometry.c` (nearest).
 *
 * As in Pillow up to 12, rows are shortened or lengthened first, always. Pillow 13.0.0 begins with the columns where
 * that is less work (the width grows, the height shrinks), which now and then moves a value by one.
 */
import { InputError } from '../errors.js'
import { checkImage, type Image, MAX_PIXELS } from './image.js'

/** Filters by the numbers that `resample` in a `preprocessor_config.json` has, Pillow's. */
export const Resample = { nearest: 0, lanczos: 1, bilinear: 2, bicubic: 3, box: 4, hamming: 5 } as const
export type Resample = (typeof Resample)[keyof typeof Resample]

interface Filter {
  /** Half of the filter's width, in source pixels where the image grows, in target pixels where it shrinks. */
  support: number
  weight(x: number): number
}

const FILTERS: Record<Exclude<Resample, typeof Resample.nearest>, Filter> = {
  [Resample.box]: { support: 0.5, weight: x => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  [Resample.bilinear]: { support: 1, weight: x => Math.max(0, 1 - Math.abs(x)) },
  [Resample.hamming]: { support: 1, weight: hamming },
  [Resample.bicubic]: { support: 2, weight: bicubic },
  [Resample.lanczos]: { support: 3, weight: x => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
}

// Pillow writes these two as C floats; as doubles they would round some coefficients the other way.
const HAMMING_MEAN = Math.fround(0.54)
const HAMMING_SWING = Math.fround(0.46)

function hamming(signed: number): number {
  const x = Math.abs(signed)
  if (x === 0) return 1
  if (x >= 1) return 0
  const angle = x * Math.PI
  return (Math.sin(angle) / angle) * (HAMMING_MEAN + HAMMING_SWING * Math.cos(angle))
}

function bicubic(signed: number): number {
  const a = -0.5
  const x = Math.abs(signed)
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a
  return 0
}

function sinc(x: number): number {
  if (x === 0) return 1
  const angle = x * Math.PI
  return Math.sin(angle) / angle
}

/** Weights are whole numbers of 2^-22: 32 bits less 8 for the pixel and 2 for the overshoot of negative lobes. */
const PRECISION_BITS = 32 - 8 - 2

/** For each target position: the first source position that counts, how many do, and their weights. */
interface Coefficients {
  first: Int32Array
  count: Int32Array
  /** `[target, stride]`, rows filled up with zeros. */
  weights: Int32Array
  stride: number
}

/** Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`, in its order of operations. */
function coefficients(source: number, target: number, filter: Filter): Coefficients {
  const scale = source / target
  // On reduction the filter is stretched over all the source pixels that fall into a target pixel: antialiasing.
  const filterScale = Math.max(scale, 1)
  const support = filter.support * filterScale
  const stride = Math.ceil(support) * 2 + 1
  const first = new Int32Array(target)
  const count = new Int32Array(target)
  const weights = new Int32Array(target * stride)
  const real = new Float64Array(stride)
  for (let at = 0; at < target; at++) {
    const center = (at + 0.5) * scale
    const from = Math.max(0, Math.trunc(center - support + 0.5))
    const used = Math.min(source, Math.trunc(center + support + 0.5)) - from
    let sum = 0
    for (let i = 0; i < used; i++) {
      const weight = filter.weight((i + from - center + 0.5) * (1 / filterScale))
      real[i] = weight
      sum += weight
    }
    for (let i = 0; i < used; i++) {
      const weight = (sum === 0 ? real[i]! : real[i]! / sum) * (1 << PRECISION_BITS)
      weights[at * stride + i] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5)
    }
    first[at] = from
    count[at] = used
  }
  return { first, count, weights, stride }
}

/**
 * Filters along one axis. The image is seen as `[outer, length, inner]` bytes with the axis in the middle:
 * `inner` is the channels for a row's pixels, a whole row's bytes for the rows.
 */
function filterAxis(data: Uint8Array, outer: number, length: number, target: number, inner: number, filter: Filter) {
  const { first, count, weights, stride } = coefficients(length, target, filter)
  const out = new Uint8ClampedArray(outer * target * inner)
  for (let o = 0; o < outer; o++) {
    for (let at = 0; at < target; at++) {
      const source = (o * length + first[at]!) * inner
      const to = (o * target + at) * inner
      const used = count[at]!
      for (let i = 0; i < inner; i++) {
        let sum = 1 << (PRECISION_BITS - 1)
        for (let k = 0; k < used; k++) sum += data[source + k * inner + i]! * weights[at * stride + k]!
        out[to + i] = sum >> PRECISION_BITS
      }
    }
  }
  return new Uint8Array(out.buffer)
}

/** Source positions for nearest. The step is added up and not multiplied, since Pillow's rounding errors add up too. */
function nearestPositions(source: number, target: number): Int32Array {
  const step = source / target
  const positions = new Int32Array(target)
  let position = step * 0.5
  for (let at = 0; at < target; at++) {
    positions[at] = Math.min(source - 1, Math.trunc(position))
    position += step
  }
  return positions
}

function resizeNearest({ data, width, height, channels }: Image, targetWidth: number, targetHeight: number) {
  const columns = nearestPositions(width, targetWidth)
  const rows = nearestPositions(height, targetHeight)
  const out = new Uint8Array(targetWidth * targetHeight * channels)
  let to = 0
  for (const row of rows) {
    for (const column of columns) {
      const from = (row * width + column) * channels
      for (let c = 0; c < channels; c++) out[to++] = data[from + c]!
    }
  }
  return out
}

/**
 * Resizes a grey or RGB image as Pillow's `Image.resize` does, to the bit: its width first, then its height, rounded
 * to 8 bits in between. An image that has the size already is returned as it is, not copied.
 * @param size target width and height in pixels, whole, at least 1, together at most `MAX_PIXELS`
 * @throws InputError for another size, for an image with alpha (Pillow multiplies it in; convert first), and for one
 * that contradicts itself
 */
export function resize(image: Image, size: { width: number; height: number }, resample: Resample): Image {
  checkImage(image)
  const { width, height, channels } = image
  const target = { width: size.width, height: size.height }
  if (channels === 4) throw new InputError('resize: the image has alpha; convert it to RGB or grey first')
  const whole = Number.isSafeInteger(target.width) && Number.isSafeInteger(target.height)
  if (!whole || target.width < 1 || target.height < 1 || target.width * target.height > MAX_PIXELS) {
    throw new InputError(
      `resize: ${width} × ${height} to ${target.width} × ${target.height} pixels: the sides have to be whole numbers ` +
        `of at least 1 and make at most ${MAX_PIXELS} pixels`,
    )
  }
  if (target.width === width && target.height === height) return image
  if (resample === Resample.nearest) {
    return { ...target, channels, data: resizeNearest(image, target.width, target.height) }
  }
  const filter = FILTERS[resample]
  let data = image.data
  // A pass whose length stays is left out, as Pillow leaves it out.
  if (target.width !== width) data = filterAxis(data, height, width, target.width, channels, filter)
  if (target.height !== height) data = filterAxis(data, 1, height, target.height, target.width * channels, filter)
  return { ...target, channels, data }
}
