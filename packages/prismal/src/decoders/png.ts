/**
 * PNG by the Rust crate `png` in WebAssembly (`@jsquash/png`). The file's chunks are walked here first: the codec tells
 * neither the channels nor the orientation, ignores checksums, and is given nothing but the picture.
 * Source: Portable Network Graphics (PNG) Specification (Third Edition), W3C.
 */
import { type Image, InputError, MAX_PIXELS } from '@prismal/models'
import { codecInstance, fromRgba } from './codec.js'
import { crc32 } from './crc32.js'
import { exifOrientation, upright } from './orientation.js'

/** What the module exports for decoding; the lengths are in bytes, the places in its memory. */
interface Codec {
  memory: WebAssembly.Memory
  __wbindgen_malloc(length: number, alignment: number): number
  decode(file: number, length: number): number
}

/** The import that is handed the picture; a hash follows. Of the others only those for errors are called. */
const TAKE_PICTURE = '__wbg_newwithownedu8clampedarrayandsh_'

/** Samples a pixel, by colour type (section 11.2.1). */
const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }
const GREY = 0
const RGB = 2
const PALETTE = 3

/** Deflate's best: 258 bytes for 2 bits. Without this a file of 70 bytes would cost 1 GB. */
const MAX_INFLATION = 1032

interface Header {
  width: number
  height: number
  colour: number
  /** Of all rows, without their filter bytes. */
  rowBytes: number
}

/** What the chunks hold, undecoded. */
interface Chunks {
  header: Header
  channels: Image['channels']
  orientation: number | undefined
  /** The signature and the chunks that make the picture; together they are a PNG again. */
  picture: Uint8Array[]
}

/**
 * Decodes a PNG of any colour type and depth, interlaced or not, and turns it upright (`eXIf`). Of an animated one, the
 * first picture. Transparency by one colour (`tRNS` of grey or RGB) is left out, as RGB without it is what models read;
 * a colour beyond the palette is black.
 * @param name what messages call the file
 * @throws InputError if it is cut short, damaged, too large or needs a chunk that is not known
 * @throws UnavailableError if the codec's file is not there
 */
export async function decodePng(
  bytes: Uint8Array,
  name: string,
  loadCodec: () => Promise<WebAssembly.Module>,
): Promise<Image> {
  const { header, channels, orientation, picture } = readChunks(bytes, name)
  const module = await loadCodec()
  let image: Image | undefined
  const codec = openCodec(module, (rgba, width, height) => {
    if (width === header.width && height === header.height) image = fromRgba(rgba, width, height, channels)
  })
  const file = copyInto(codec, picture)
  let cause: unknown
  try {
    codec.decode(file.at, file.length)
  } catch (error) {
    cause = error
  }
  if (!image) throw new InputError(`${name} is a damaged PNG (its data cannot be decoded)`, { cause })
  return upright(image, orientation)
}

/**
 * An instance for one file: the package's glue has but one for all, whose stack loses a piece with every damaged file
 * (after 743 of them it fails for whole ones too), and whose memory never shrinks.
 * @param take is given the pixels, where they lie in the codec's memory
 */
function openCodec(module: WebAssembly.Module, take: (rgba: Uint8Array, width: number, height: number) => void): Codec {
  const imports: WebAssembly.ModuleImports = {}
  for (const { name } of WebAssembly.Module.imports(module)) {
    imports[name] = name.startsWith(TAKE_PICTURE)
      ? (at: number, length: number, width: number, height: number) => {
          take(new Uint8Array(codec.memory.buffer, at >>> 0, length >>> 0), width >>> 0, height >>> 0)
          return 0
        }
      : () => {
          throw new Error(`the codec called ${name}`)
        }
  }
  const codec = codecInstance(module, { wbg: imports }).exports as unknown as Codec
  return codec
}

/** Puts the parts one after another into the codec's memory. */
function copyInto(codec: Codec, parts: Uint8Array[]): { at: number; length: number } {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const at = codec.__wbindgen_malloc(length, 1) >>> 0
  const memory = new Uint8Array(codec.memory.buffer, at, length)
  let to = 0
  for (const part of parts) {
    memory.set(part, to)
    to += part.length
  }
  return { at, length }
}

function cutShort(bytes: number, name: string): InputError {
  return new InputError(`${name} is a PNG that was cut short (${bytes} bytes); get the whole file`)
}

function damaged(name: string, why: string): InputError {
  return new InputError(`${name} is a damaged PNG (${why})`)
}

/** Walks the chunks (length, type, content, checksum) up to `IEND`; of those that count, the checksum is compared. */
function readChunks(bytes: Uint8Array, name: string): Chunks {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let header: Header | undefined
  let orientation: number | undefined
  let transparency = false
  let dataBytes = 0
  const picture = [bytes.subarray(0, 8)]
  let at = 8
  for (let type = ''; type !== 'IEND'; ) {
    if (at + 12 > bytes.length) throw cutShort(bytes.length, name)
    const length = view.getUint32(at)
    const end = at + 12 + length
    type = String.fromCharCode(...bytes.subarray(at + 4, at + 8))
    if (!/^[A-Za-z]{4}$/.test(type)) throw damaged(name, `no chunk at byte ${at}`)
    if (end > bytes.length) throw cutShort(bytes.length, name)
    const content = bytes.subarray(at + 8, end - 4)
    const needed = type[0]! < 'a' // An upper-case first letter: the picture cannot be shown without it.
    if ((needed || type === 'tRNS') && view.getUint32(end - 4) !== crc32(bytes.subarray(at + 4, end - 4))) {
      throw damaged(name, `the checksum of its ${type} chunk at byte ${at} is wrong`)
    }
    if (!header && type !== 'IHDR') throw damaged(name, `it starts with ${type} instead of IHDR`)
    if (needed && !['IHDR', 'PLTE', 'IDAT', 'IEND'].includes(type)) {
      throw new InputError(`${name} is a PNG with a ${type} chunk, which is not read here`)
    }
    if (type === 'IHDR') header = readHeader(content, name)
    if (type === 'IDAT') dataBytes += length
    if (type === 'eXIf') orientation ??= exifOrientation(content)
    const alpha = type === 'tRNS' && header?.colour === PALETTE
    if (alpha) transparency = true
    if (needed || alpha) picture.push(bytes.subarray(at, end))
    at = end
  }
  const { width, height, colour, rowBytes } = header!
  if (dataBytes === 0) throw new InputError(`${name} is a PNG without a picture`)
  if (rowBytes > dataBytes * MAX_INFLATION) {
    throw damaged(name, `${dataBytes} bytes cannot hold ${width} × ${height} pixels`)
  }
  const channels = colour === GREY ? 1 : colour === RGB || (colour === PALETTE && !transparency) ? 3 : 4
  return { header: header!, channels, orientation, picture }
}

function readHeader(content: Uint8Array, name: string): Header {
  if (content.length !== 13) throw damaged(name, `its header has ${content.length} bytes instead of 13`)
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength)
  const width = view.getUint32(0)
  const height = view.getUint32(4)
  const depth = view.getUint8(8)
  const colour = view.getUint8(9)
  const samples = SAMPLES[colour]
  if (!samples) throw damaged(name, `colour type ${colour} does not exist`)
  if (width === 0 || height === 0) throw damaged(name, `${width} × ${height} pixels`)
  if (width * height > MAX_PIXELS) {
    throw new InputError(`${name} has ${width} × ${height} pixels; at most ${MAX_PIXELS} are read`)
  }
  return { width, height, colour, rowBytes: height * Math.ceil((width * samples * depth) / 8) }
}
