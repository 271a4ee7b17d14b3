/**
 * From an image to the numbers a vision model reads, as its `preprocessor_config.json` says. The definition is
 * transformers' PIL backend (`image_processing_backends.py`, `image_transforms.py`), whose float32 results these are.
 */
import { InputError, ModelError } from '../errors.js'
import { type Image, MAX_PIXELS, toGrey, toRgb } from './image.js'
import { Resample, resize } from './resize.js'

/** Sides in pixels. */
export interface Sides {
  height: number
  width: number
}

/** What an image's sides become: given ones, or the shorter one given, the longer in proportion (and at most so long). */
export type TargetSize = Sides | { shortestEdge: number; longestEdge?: number }

/** A checked `preprocessor_config.json`. What is absent is not done. The steps run in the order of the fields. */
export interface Preprocessor {
  /** The file it was read from, for messages. */
  where: string
  resize?: { size: TargetSize; resample: Resample }
  /** Cut out of the middle, filled up with zeros where the image is smaller. */
  centerCrop?: Sides
  /** What each byte is multiplied by. */
  rescaleFactor?: number
  /** `(x - mean) / std`, one number a channel, or one for all. */
  normalize?: { mean: number[]; std: number[] }
}

/** A model's input: `pixels` is `[channels, height, width]`. */
export interface Pixels {
  pixels: Float32Array
  channels: number
  height: number
  width: number
}

const SHORTEST_EDGE_AND_CROP = {
  do_resize: true,
  size: { shortest_edge: 224 },
  resample: Resample.bicubic,
  do_center_crop: true,
  crop_size: { height: 224, width: 224 },
  do_rescale: true,
  do_normalize: true,
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
}

const SQUARE = {
  do_resize: true,
  size: { height: 224, width: 224 },
  resample: Resample.bilinear,
  do_center_crop: false,
  do_rescale: true,
  do_normalize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
}

/** What transformers takes for a missing field, by processor. `ViT` is also what a file without a type gets. */
const DEFAULTS: Record<string, Record<string, unknown>> = {
  ViT: SQUARE,
  DeiT: {
    ...SQUARE,
    size: { height: 256, width: 256 },
    resample: Resample.bicubic,
    do_center_crop: true,
    crop_size: { height: 224, width: 224 },
  },
  Beit: { ...SQUARE, resample: Resample.bicubic, crop_size: { height: 224, width: 224 } },
  CLIP: SHORTEST_EDGE_AND_CROP,
  Bit: SHORTEST_EDGE_AND_CROP,
}

/** Fields that say nothing about the pixels of one image for classification. */
const WITHOUT_EFFECT = new Set([
  'image_processor_type',
  'feature_extractor_type',
  'processor_class',
  'auto_map',
  'backend',
  'device',
  'disable_grouping',
  'do_reduce_labels',
  'reduce_labels',
  'image_size',
  'input_data_format',
  'num_channels',
  'pad_size',
  'patch_size',
  'return_tensors',
])

/** Fields that are read below. */
const READ = new Set([
  'crop_size',
  'data_format',
  'default_to_square',
  'do_center_crop',
  'do_convert_rgb',
  'do_normalize',
  'do_rescale',
  'do_resize',
  'image_mean',
  'image_std',
  'resample',
  'rescale_factor',
  'size',
])

/** Reads one file's fields, with the defaults of its processor behind them, and complains by the field's name. */
class Fields {
  constructor(
    readonly where: string,
    private readonly given: Record<string, unknown>,
    private readonly defaults: Record<string, unknown>,
  ) {}

  fail(what: string): never {
    throw new ModelError(`${this.where}: ${what}`)
  }

  /** null counts as missing, as in transformers. */
  value(name: string): unknown {
    return this.given[name] ?? this.defaults[name]
  }

  flag(name: string, otherwise = false): boolean {
    const value = this.value(name) ?? otherwise
    if (typeof value !== 'boolean') this.fail(`${name} is ${show(value)}, not true or false`)
    return value
  }

  resample(): Resample {
    const value = this.value('resample')
    const known = Object.values(Resample).find(number => number === value)
    if (known === undefined) {
      const names = Object.entries(Resample).map(([name, number]) => `${number} ${name}`)
      this.fail(`resample ${show(value)} is not supported (${names.join(', ')})`)
    }
    return known
  }

  /** A number for all channels, or one for each. */
  perChannel(name: string): number[] {
    const value = this.value(name)
    const numbers: unknown[] = Array.isArray(value) ? value : [value]
    if (numbers.length === 0 || !numbers.every(isNumber)) {
      this.fail(`${name} is ${show(value)}; a number or one a channel is needed`)
    }
    return numbers
  }

  /** `size` or `crop_size`: a number, height and width as a list, or an object of sides. */
  size(name: string, square: boolean): TargetSize {
    const value = this.value(name)
    const edges: unknown =
      Array.isArray(value) && value.length === 2
        ? { height: value[0], width: value[1] }
        : typeof value !== 'number'
          ? value
          : square
            ? { height: value, width: value }
            : { shortest_edge: value }
    if (!isObject(edges)) this.fail(`${name} is ${show(value)}; a number of pixels or an object of them is needed`)
    const present = Object.entries(edges).filter(([, edge]) => edge !== null)
    for (const [key, edge] of present) {
      if (!isSide(edge)) this.fail(`${name}.${key} is ${show(edge)}; a whole number of pixels, at least 1, is needed`)
    }
    const { height, width, shortest_edge, longest_edge } = edges as Record<string, number | null | undefined>
    const keys = new Set(present.map(([key]) => key))
    if (height && width && keys.size === 2) return { height, width }
    if (shortest_edge && keys.size === 1) return { shortestEdge: shortest_edge }
    if (shortest_edge && longest_edge && keys.size === 2) {
      return { shortestEdge: shortest_edge, longestEdge: longest_edge }
    }
    const supported = 'a number, height and width, or shortest_edge with or without longest_edge'
    return this.fail(`${name} ${show(value)} is not supported (${supported})`)
  }
}

/**
 * Checks a parsed `preprocessor_config.json`, also an old one (`feature_extractor_type`, `size` as a number, fields
 * missing).
 * @param json the parsed file
 * @param where the file's name, which every message starts with
 * @throws ModelError naming the field: of a wrong kind, of a processor that is not known, or one that would change the
 * pixels in a way that is not done here (`do_pad: true`, `crop_pct`, …)
 */
export function parsePreprocessor(json: unknown, where: string): Preprocessor {
  if (!isObject(json)) throw new ModelError(`${where}: it holds ${show(json)}, not an object of settings`)
  const family = familyOf(json, where)
  const fields: Fields = new Fields(where, json, DEFAULTS[family]!)
  for (const [name, value] of Object.entries(json)) {
    if (READ.has(name) || WITHOUT_EFFECT.has(name) || name.startsWith('_')) continue
    // What a field switches is not known, but one that is off changes nothing.
    if (value === null || value === false) continue
    fields.fail(`${name} ${show(value)} is not supported`)
  }
  fields.flag('do_convert_rgb') // Checked only: images are always brought to the channels that the model reads.
  const layout = fields.value('data_format') ?? 'channels_first'
  if (layout !== 'channels_first') fields.fail(`data_format ${show(layout)} is not supported (channels_first)`)

  const preprocessor: Preprocessor = { where }
  if (fields.flag('do_resize')) {
    const square = fields.flag('default_to_square', family !== 'CLIP' && family !== 'Bit')
    preprocessor.resize = { size: fields.size('size', square), resample: fields.resample() }
  }
  if (fields.flag('do_center_crop')) {
    if (fields.value('crop_size') === undefined) fields.fail('do_center_crop is true, but there is no crop_size')
    const size = fields.size('crop_size', true)
    if (!('height' in size)) fields.fail('crop_size has no height and width')
    preprocessor.centerCrop = size
  }
  if (fields.flag('do_rescale')) {
    const factor = fields.value('rescale_factor') ?? 1 / 255
    if (!isNumber(factor)) fields.fail(`rescale_factor is ${show(factor)}, not a number`)
    preprocessor.rescaleFactor = factor
  }
  if (fields.flag('do_normalize')) {
    const mean = fields.perChannel('image_mean')
    const std = fields.perChannel('image_std')
    if (std.includes(0)) fields.fail(`image_std ${show(std)} holds a zero, which pixels cannot be divided by`)
    preprocessor.normalize = { mean, std }
  }
  return preprocessor
}

/** `ViT` of ViTImageProcessor, ViTImageProcessorFast, ViTImageProcessorPil and ViTFeatureExtractor. */
function familyOf(json: Record<string, unknown>, where: string): string {
  const type = json.image_processor_type ?? json.feature_extractor_type
  if (type === undefined || type === null) return 'ViT'
  const family = /^(\w+?)(?:ImageProcessor(?:Fast|Pil)?|FeatureExtractor)$/.exec(String(type))?.[1]
  if (family !== undefined && Object.hasOwn(DEFAULTS, family)) return family
  const field = json.image_processor_type == null ? 'feature_extractor_type' : 'image_processor_type'
  const known = Object.keys(DEFAULTS).map(name => `${name}ImageProcessor`)
  throw new ModelError(`${where}: ${field} ${show(type)} is not supported (${known.join(', ')})`)
}

/**
 * Turns an image into a model's input.
 * @param channels what the model reads: 3 (RGB) or 1 (grey); the image is converted as Pillow does it
 * @throws InputError if the image contradicts itself or would become too large
 * @throws ModelError if the preprocessor's mean or std are for another number of channels
 */
export function preprocess(image: Image, preprocessor: Preprocessor, channels: number): Pixels {
  if (channels !== 1 && channels !== 3) {
    throw new ModelError(
      `${preprocessor.where}: the model reads ${channels} channels; 1 (grey) or 3 (RGB) are supported`,
    )
  }
  let at = channels === 3 ? toRgb(image) : toGrey(image)
  if (preprocessor.resize) {
    at = resize(at, resizedSides(at, preprocessor.resize.size), preprocessor.resize.resample)
  }
  if (preprocessor.centerCrop) at = centerCrop(at, preprocessor.centerCrop)

  const { width, height, data } = at
  const pixels = new Float32Array(channels * height * width)
  for (let c = 0; c < channels; c++) {
    const values = valueTable(preprocessor, channels, c)
    const plane = c * height * width
    for (let i = 0; i < height * width; i++) pixels[plane + i] = values[data[i * channels + c]!]!
  }
  return { pixels, channels, height, width }
}

/** A channel's value for each of the 256 bytes: float64 for the product, float32 from there on, as numpy does it. */
function valueTable(
  { where, rescaleFactor, normalize }: Preprocessor,
  channels: number,
  channel: number,
): Float32Array {
  const table = Float32Array.from({ length: 256 }, (_, byte) => byte * (rescaleFactor ?? 1))
  if (!normalize) return table
  const pick = (name: 'mean' | 'std') => {
    const numbers = normalize[name]
    if (numbers.length !== 1 && numbers.length !== channels) {
      throw new ModelError(
        `${where}: image_${name} has ${numbers.length} numbers, the model reads ${channels} channels`,
      )
    }
    return Math.fround(numbers[numbers.length === 1 ? 0 : channel]!)
  }
  const mean = pick('mean')
  const std = pick('std')
  return table.map(value => Math.fround(value - mean) / std)
}

/** The sides that every image gets; undefined where they follow from the image's own. */
export function givenSides({ resize, centerCrop }: Preprocessor): Sides | undefined {
  return centerCrop ?? (resize && 'height' in resize.size ? resize.size : undefined)
}

/** transformers' `get_resize_output_image_size` and, with a longest edge, `get_size_with_aspect_ratio`. */
function resizedSides({ width, height }: Image, size: TargetSize): Sides {
  if ('height' in size) return size
  const short = Math.min(width, height)
  const long = Math.max(width, height)
  let newShort = size.shortestEdge
  let newLong = Math.trunc((newShort * long) / short)
  if (size.longestEdge !== undefined && (long / short) * size.shortestEdge > size.longestEdge) {
    const exact = (size.longestEdge * short) / long
    newShort = roundHalfToEven(exact)
    // From the exact short side and not from the rounded one, and cut: it may come out as longestEdge - 1.
    newLong = newShort === short ? long : Math.trunc((exact * long) / short)
  }
  return width <= height ? { width: newShort, height: newLong } : { width: newLong, height: newShort }
}

/** Python's `round`. */
function roundHalfToEven(x: number): number {
  const down = Math.floor(x)
  if (x - down !== 0.5) return Math.round(x)
  return down % 2 === 0 ? down : down + 1
}

/** transformers' `center_crop`: where the image is smaller, zeros around it, the odd one above and to the left. */
function centerCrop(image: Image, { width, height }: Sides): Image {
  if (width * height > MAX_PIXELS) {
    throw new InputError(`centre crop: ${width} × ${height} pixels are more than the ${MAX_PIXELS} that are taken`)
  }
  // Floor also below zero: a row too few above is a row of padding above.
  const top = Math.floor((image.height - height) / 2)
  const left = Math.floor((image.width - width) / 2)
  const data = new Uint8Array(width * height * image.channels)
  const firstColumn = Math.max(0, left)
  const lastColumn = Math.min(image.width, left + width)
  for (let y = Math.max(0, top); y < Math.min(image.height, top + height); y++) {
    const from = (y * image.width + firstColumn) * image.channels
    const until = (y * image.width + lastColumn) * image.channels
    data.set(image.data.subarray(from, until), ((y - top) * width + firstColumn - left) * image.channels)
  }
  return { width, height, channels: image.channels, data }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isNumber(value: unknown): value is number {
  return Number.isFinite(value)
}

function isSide(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}
