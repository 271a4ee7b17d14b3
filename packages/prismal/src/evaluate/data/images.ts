/** Labelled pictures in the layouts of CIFAR-10 (binary) and MNIST (IDX). */
import type { Image } from '@prismal/models'
import { DataError } from './errors.js'
import type { Source, SourceFile } from './source.js'

export interface LabelledImages {
  readonly count: number
  /** Class numbers. */
  readonly labels: Uint8Array
  image(index: number): Image
}

/** Throws {@link DataError} where a file is neither, or is cut off. */
export function readImages(source: Source): LabelledImages {
  return source.files.some(isIdx) && !source.files.every(isRecords) ? idx(source) : cifar(source)
}

const SIDE = 32
const PIXELS = SIDE * SIDE
/** Of CIFAR-10's binary layout: a label, then planes of red, green and blue. */
export const RECORD_BYTES = 1 + 3 * PIXELS

const isIdx = ({ bytes }: SourceFile): boolean => bytes[0] === 0 && bytes[1] === 0 && bytes[2] === 8
/** A record may begin as IDX does: an aeroplane with a dark corner. */
const isRecords = ({ bytes }: SourceFile): boolean => bytes.length > 0 && bytes.length % RECORD_BYTES === 0

/** Records of a label and three planes of 32 × 32. */
function cifar({ files }: Source): LabelledImages {
  const counts = files.map(({ path, bytes }) => {
    if (bytes.length === 0 || bytes.length % RECORD_BYTES !== 0)
      throw new DataError(
        `${path} has ${bytes.length} bytes, which are not records of ${RECORD_BYTES} (CIFAR-10: a label and 3 planes of 32×32), nor does it begin as IDX (MNIST) does`,
      )
    return bytes.length / RECORD_BYTES
  })
  const count = counts.reduce((a, b) => a + b, 0)
  const record = (index: number): Uint8Array => {
    let i = index
    let f = 0
    while (i >= (counts[f] as number)) i -= counts[f++] as number
    return (files[f] as SourceFile).bytes.subarray(i * RECORD_BYTES, (i + 1) * RECORD_BYTES)
  }
  const labels = Uint8Array.from({ length: count }, (_, i) => record(i)[0] as number)
  return { count, labels, image: index => cifarImage(record(index)) }
}

/** The picture of a record of {@link RECORD_BYTES}. */
export function cifarImage(record: Uint8Array): Image {
  const planes = record.subarray(1)
  const data = new Uint8Array(3 * PIXELS)
  for (let p = 0; p < PIXELS; p++) for (let c = 0; c < 3; c++) data[3 * p + c] = planes[c * PIXELS + p] as number
  return { width: SIDE, height: SIDE, channels: 3, data }
}

/** Two files: bytes `0 0 8 dimensions`, the sides as 32-bit numbers, highest byte first, then values of one byte. */
function idx({ location, files }: Source): LabelledImages {
  const arrays = files.map(parseIdx)
  const images = arrays.find(a => a.sides.length === 3)
  const labels = arrays.find(a => a.sides.length === 1)
  if (!images || !labels || arrays.length !== 2)
    throw new DataError(
      `${location}: IDX data are a file of images and a file of labels; here are ${files.map(f => f.name).join(', ')} (a folder may need --split)`,
    )
  const [count, height, width] = images.sides as [number, number, number]
  if (labels.sides[0] !== count)
    throw new DataError(`${location}: ${count} images and ${labels.sides[0]} labels do not belong together`)
  const image = (index: number): Image => {
    const data = Uint8Array.from(images.values.subarray(index * width * height, (index + 1) * width * height))
    return { width, height, channels: 1, data }
  }
  return { count, labels: labels.values, image }
}

function parseIdx({ path, bytes }: SourceFile): { sides: number[]; values: Uint8Array } {
  const dimensions = bytes[3] ?? 0
  const header = 4 + 4 * dimensions
  if (bytes[0] !== 0 || bytes[1] !== 0 || bytes[2] !== 8 || dimensions === 0 || bytes.length < header)
    throw new DataError(`${path} does not begin as IDX of bytes does (0 0 8 dimensions)`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const sides = Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i))
  const due = header + sides.reduce((a, b) => a * b, 1)
  if (bytes.length !== due)
    throw new DataError(`${path} has ${bytes.length} bytes where ${sides.join('×')} need ${due}`)
  return { sides, values: bytes.subarray(header) }
}
