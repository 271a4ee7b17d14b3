/**
 * JPEG by MozJPEG in WebAssembly (`@jsquash/jpeg`), whose pixels are libjpeg-turbo's and so Pillow's. The file's
 * segments are walked here first: the codec tells neither the components nor the orientation, and would fill up a file
 * that was cut short with grey.
 */
import mozjpeg from '@jsquash/jpeg/codec/dec/mozjpeg_dec.js'
import { type Image, InputError, MAX_PIXELS } from '@prismal/models'
import { codecInstance, fromRgba } from './codec.js'
import { exifOrientation, upright, xmpOrientation } from './orientation.js'
import { startsWith } from './starts-with.js'

/** What the package's Emscripten module takes and gives; its own declarations need globals that it does not export. */
interface CodecOptions {
  noInitialRun: boolean
  instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void): WebAssembly.Exports
  print(line: string): void
  printErr(line: string): void
}
interface Codec {
  decode(file: Uint8Array, turnUpright: boolean): { width: number; height: number; data: Uint8ClampedArray } | null
}
const openCodec = mozjpeg as unknown as (options: CodecOptions) => Promise<Codec>

/**
 * Each block of 8 × 8 samples takes a bit at least, for its mean, and the coarsest sampling (4 × 1 and 1 × 4 blocks for
 * 32 × 32 pixels) makes that 8 bits for 1,024 pixels. Without this a file of 700 bytes would cost 3 GB and 8 s.
 */
const MAX_PIXELS_A_BYTE = 1024

/** Markers, each after an FF (ITU-T T.81, table B.1). */
const END = 0xd9
const SCAN = 0xda
const APP1 = 0xe1

/** What the segments say. */
interface Header {
  width: number
  height: number
  components: number
  orientation: number | undefined
}

/**
 * Decodes a JPEG, baseline or progressive, grey or of three components, and turns it upright.
 * @param name what messages call the file
 * @throws InputError if it is cut short, damaged, too large or of a variant that is not read
 * @throws UnavailableError if the codec's file is not there
 */
export async function decodeJpeg(
  bytes: Uint8Array,
  name: string,
  loadCodec: () => Promise<WebAssembly.Module>,
): Promise<Image> {
  const header = readHeader(bytes, name)
  const module = await loadCodec()
  const complaints: string[] = []
  // A fresh instance each: libjpeg's fatal errors leave one unusable, and its memory never shrinks.
  const codec = await openCodec({
    noInitialRun: true,
    instantiateWasm: (imports, done) => {
      const instance = codecInstance(module, imports)
      done(instance)
      return instance.exports
    },
    print: line => complaints.push(line),
    printErr: line => complaints.push(line),
  })
  let decoded: ReturnType<Codec['decode']> = null
  let cause: unknown
  try {
    decoded = codec.decode(bytes, false)
  } catch (error) {
    cause = error
  }
  const { width, height, components, orientation } = header
  if (decoded?.width !== width || decoded.height !== height) {
    const why = complaints[0] ?? (cause instanceof Error ? cause.message : 'the codec gave no picture')
    throw new InputError(`${name} is a damaged JPEG (${why})`, { cause })
  }
  return upright(fromRgba(decoded.data, width, height, components === 1 ? 1 : 3), orientation)
}

function cutShort(bytes: Uint8Array, name: string): InputError {
  return new InputError(`${name} is a JPEG that was cut short (${bytes.length} bytes); get the whole file`)
}

/**
 * Walks the file's segments (marker, length, content) and over the scans' data to the end marker. That this is there has to
 * be seen here: the codec would take a file without it for whole.
 */
function readHeader(bytes: Uint8Array, name: string): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let frame: Omit<Header, 'orientation'> | undefined
  let exif: number | undefined
  let xmp: number | undefined
  let scans = 0
  let at = 2
  for (;;) {
    while (bytes[at] === 0xff && bytes[at + 1] === 0xff) at++ // Fill bytes may stand before a marker.
    if (at + 2 > bytes.length) throw cutShort(bytes, name)
    const marker = bytes[at + 1]!
    if (bytes[at] !== 0xff || marker === 0x00) {
      throw new InputError(`${name} is a damaged JPEG (no marker at byte ${at})`)
    }
    if (marker === END) break
    if (isRestart(marker) || marker === 0x01) {
      at += 2
      continue
    }
    if (at + 4 > bytes.length) throw cutShort(bytes, name)
    const length = view.getUint16(at + 2)
    if (length < 2) throw new InputError(`${name} is a damaged JPEG (a segment of length ${length} at byte ${at})`)
    if (at + 2 + length > bytes.length) throw cutShort(bytes, name)
    const content = bytes.subarray(at + 4, at + 2 + length)
    if (isFrame(marker)) frame = readFrame(marker, content, name)
    if (marker === APP1) {
      // The first of each counts, as in Pillow.
      if (startsWith(content, 'Exif\0\0')) exif ??= exifOrientation(content.subarray(6))
      if (startsWith(content, 'http://ns.adobe.com/xap/1.0/\0')) xmp ??= xmpOrientation(content)
    }
    at += 2 + length
    if (marker === SCAN) {
      if (!frame) throw new InputError(`${name} is a damaged JPEG (a scan before the frame header)`)
      scans++
      at = endOfScan(bytes, at)
    }
  }
  if (!frame || scans === 0) throw new InputError(`${name} is a JPEG without a picture`)
  const { width, height } = frame
  if (width * height > bytes.length * MAX_PIXELS_A_BYTE) {
    throw new InputError(`${name} is a damaged JPEG (${bytes.length} bytes cannot hold ${width} × ${height} pixels)`)
  }
  return { ...frame, orientation: exif ?? xmp }
}

/** Where a scan's data stops: at a marker that is none of its own. In the data an FF is followed by 00 or a restart. */
function endOfScan(bytes: Uint8Array, from: number): number {
  let at = from
  while (at < bytes.length) {
    at = bytes.indexOf(0xff, at)
    if (at < 0) return bytes.length
    const next = bytes[at + 1]
    if (next !== undefined && next !== 0x00 && next !== 0xff && !isRestart(next)) return at
    at += next === 0xff ? 1 : 2
  }
  return bytes.length
}

function isRestart(marker: number): boolean {
  return marker >= 0xd0 && marker <= 0xd7
}

/** Start of frame: C0 to CF without the Huffman (C4) and arithmetic (CC) tables and the reserved C8. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
}

function readFrame(marker: number, content: Uint8Array, name: string): Omit<Header, 'orientation'> {
  const type = marker & 0x0f
  if (type > 2) {
    const kind = type >= 9 ? 'arithmetic-coded' : type === 3 ? 'lossless' : 'hierarchical'
    throw new InputError(`${name} is a JPEG of a kind that is not read here (${kind}): save it as a baseline JPEG`)
  }
  if (content.length < 6) throw new InputError(`${name} is a damaged JPEG (its frame header is too short)`)
  const bits = content[0]!
  const height = content[1]! * 256 + content[2]!
  const width = content[3]! * 256 + content[4]!
  const components = content[5]!
  if (bits !== 8) throw new InputError(`${name} is a JPEG of ${bits} bits a sample, which is not read here: 8`)
  if (width === 0 || height === 0) throw new InputError(`${name} is a damaged JPEG (${width} × ${height} pixels)`)
  if (width * height > MAX_PIXELS) {
    throw new InputError(`${name} has ${width} × ${height} pixels; at most ${MAX_PIXELS} are read`)
  }
  if (components === 4) throw new InputError(`${name} is a CMYK JPEG, which is not read here: save it as RGB`)
  if (components !== 1 && components !== 3) {
    throw new InputError(`${name} is a JPEG of ${components} components, which is not read here: 1 or 3`)
  }
  return { width, height, components }
}
