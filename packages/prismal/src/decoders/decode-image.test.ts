import { crc32, deflateSync } from 'node:zlib'
import { InputError } from '@prismal/models'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cases, fixture, picture } from '../../../../test/fixtures/images/goldens.js'
import { decodeImage } from './decode-image.js'

describe('decodeImage equals Pillow to the bit', () => {
  for (const golden of cases.decode) {
    it(golden.file, async () => {
      expect(await decodeImage(fixture(golden.file), golden.file)).toEqual(picture(golden))
    })
  }

  it('decodes several at once', async () => {
    const files = cases.decode.filter(({ file }) => file.endsWith('.jpg'))
    const images = await Promise.all(files.map(({ file }) => decodeImage(fixture(file), file)))
    expect(images).toEqual(files.map(picture))
  })

  it('reads bytes that lie inside a larger buffer', async () => {
    for (const golden of [cases.decode[0]!, cases.decode.at(-1)!]) {
      const bytes = fixture(golden.file)
      const larger = new Uint8Array(bytes.length + 20).fill(0xff)
      larger.set(bytes, 7)
      expect(await decodeImage(larger.subarray(7, 7 + bytes.length), golden.file)).toEqual(picture(golden))
    }
  })
})

const text = (latin1: string) => Uint8Array.from(latin1, letter => letter.charCodeAt(0))

/** Rejects with exactly this message, and as a typed error. */
async function refuses(bytes: Uint8Array, name: string | undefined, message: string): Promise<void> {
  await expect(decodeImage(bytes, name)).rejects.toThrow(new InputError(message))
  await expect(decodeImage(bytes, name)).rejects.toMatchObject({ code: 'bad-input' })
}

describe('what is not read is named', () => {
  it.each([
    [text('Hello'), 'notes.txt is not an image (its first bytes are 48 65 6c 6c; read here: JPEG, PNG)'],
    [text('\x01\xff'), 'notes.txt is not an image (its first bytes are 01 ff; read here: JPEG, PNG)'],
    [text(''), 'notes.txt is not an image (it is empty; read here: JPEG, PNG)'],
    [text('RIFF1234WEBPVP8 '), 'notes.txt is in the WebP format, which is not read here: JPEG, PNG'],
    [text('\0\0\0\x20ftypavif'), 'notes.txt is in the AVIF format, which is not read here: JPEG, PNG'],
  ])('%#', (bytes, message) => refuses(bytes, 'notes.txt', message))

  it('without a name', () => {
    return refuses(
      text('GIF'),
      undefined,
      'the input is not an image (its first bytes are 47 49 46; read here: JPEG, PNG)',
    )
  })

  const messages: Record<string, string> = {
    'cmyk.jpg': 'cmyk.jpg is a CMYK JPEG, which is not read here: save it as RGB',
    'picture.gif': 'picture.gif is in the GIF format, which is not read here: JPEG, PNG',
  }
  for (const file of cases.refused) {
    it(file, () => refuses(fixture(file), file, messages[file]!))
  }
})

/** A copy with some bytes at an offset replaced. */
function patched(bytes: Uint8Array, at: number, ...values: number[]): Uint8Array {
  const copy = bytes.slice()
  copy.set(values, at)
  return copy
}

/** The offset of the first place where these bytes stand. */
function find(bytes: Uint8Array, ...values: number[]): number {
  const at = bytes.findIndex((_, i) => values.every((value, k) => bytes[i + k] === value))
  if (at < 0) throw new Error(`the fixture does not hold ${values}`)
  return at
}

describe('damaged JPEGs', () => {
  const fine = fixture('baseline-420.jpg')
  const frame = find(fine, 0xff, 0xc0)

  it('cut short, anywhere', async () => {
    for (const file of ['baseline-420.jpg', 'progressive-444.jpg']) {
      const bytes = fixture(file)
      for (let length = 3; length < bytes.length; length++) {
        const message = `a.jpg is a JPEG that was cut short (${length} bytes); get the whole file`
        await expect(decodeImage(bytes.subarray(0, length), 'a.jpg')).rejects.toThrow(new InputError(message))
      }
    }
  })

  it.each([
    [
      'of absurd size',
      patched(fine, frame + 5, 0xff, 0xff, 0xff, 0xff),
      'has 65535 × 65535 pixels; at most 268435456 are read',
    ],
    [
      'too short for their size',
      patched(fine, frame + 5, 0x40, 0, 0x40, 0),
      `is a damaged JPEG (${fine.length} bytes cannot hold 16384 × 16384 pixels)`,
    ],
    ['without height', patched(fine, frame + 5, 0, 0), 'is a damaged JPEG (23 × 0 pixels)'],
    ['of 12 bits', patched(fine, frame + 4, 12), 'is a JPEG of 12 bits a sample, which is not read here: 8'],
    ['of 2 components', patched(fine, frame + 9, 2), 'is a JPEG of 2 components, which is not read here: 1 or 3'],
    [
      'lossless',
      patched(fine, frame + 1, 0xc3),
      'is a JPEG of a kind that is not read here (lossless): save it as a baseline JPEG',
    ],
    [
      'arithmetic-coded',
      patched(fine, frame + 1, 0xc9),
      'is a JPEG of a kind that is not read here (arithmetic-coded): save it as a baseline JPEG',
    ],
    ['without markers', patched(fine, 20, 0), 'is a damaged JPEG (no marker at byte 20)'],
    ['with an empty segment', patched(fine, 4, 0, 1), 'is a damaged JPEG (a segment of length 1 at byte 2)'],
    ['without a frame', patched(fine, frame + 1, 0xe5), 'is a damaged JPEG (a scan before the frame header)'],
    ['that end at once', Uint8Array.of(0xff, 0xd8, 0xff, 0xd9, 0, 0), 'is a JPEG without a picture'],
    [
      'without a quantisation table',
      patched(fine, find(fine, 0xff, 0xdb) + 1, 0xe5),
      'is a damaged JPEG (Quantization table 0x00 was not defined)',
    ],
  ])('%s', (_, bytes, message) => refuses(bytes, 'a.jpg', `a.jpg ${message}`))

  it('cut short after an end marker that is only the content of a comment', async () => {
    const scan = find(fine, 0xff, 0xda)
    const comment = Uint8Array.of(0xff, 0xfe, 0, 4, 0xff, 0xd9)
    const bytes = Uint8Array.from([...fine.subarray(0, scan), ...comment, ...fine.subarray(scan, fine.length - 2)])
    await refuses(bytes, 'a.jpg', `a.jpg is a JPEG that was cut short (${bytes.length} bytes); get the whole file`)
    const whole = Uint8Array.from([...bytes, 0xff, 0xd9, ...text('and more')])
    expect(await decodeImage(whole)).toEqual(await decodeImage(fine))
  })

  it('is not about fill bytes before a marker', async () => {
    const filled = Uint8Array.from([...fine.subarray(0, -2), 0xff, 0xff, 0xd9])
    expect(await decodeImage(filled)).toEqual(await decodeImage(fine))
  })

  it('does not keep the next one from being decoded', async () => {
    const broken = patched(fine, find(fine, 0xff, 0xdb) + 1, 0xe5)
    await Promise.allSettled([decodeImage(broken), decodeImage(broken)])
    expect(await decodeImage(fine)).toEqual(picture(cases.decode.find(({ file }) => file === 'baseline-420.jpg')!))
  })

  it('of damaged EXIF are decoded all the same', async () => {
    const turned = fixture('orientation-6.jpg')
    const tiff = find(turned, 0x4d, 0x4d, 0, 42)
    for (const wrong of [patched(turned, tiff, 0), patched(turned, tiff + 4, 0xff), patched(turned, tiff + 8, 0xff)]) {
      const image = await decodeImage(wrong)
      expect([image.width, image.height]).toSatisfy(([w, h]) => w * h === 77)
    }
  })
})

/** A PNG of one grey pixel with a chunk replaced or put in after the header. */
function tinyPng(chunks: Record<string, Uint8Array | undefined> = {}): Uint8Array {
  const defaults = { IHDR: Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0) }
  const ending = { IDAT: new Uint8Array(deflateSync(Uint8Array.of(0, 99))), IEND: new Uint8Array(0) }
  const parts = [Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')]
  for (const [type, content] of Object.entries({
    ...defaults,
    ...chunks,
    ...(chunks.IDAT ? {} : ending),
    IEND: ending.IEND,
  })) {
    if (!content) continue
    const chunk = Buffer.alloc(12 + content.length)
    chunk.writeUInt32BE(content.length, 0)
    chunk.write(type, 4, 'latin1')
    chunk.set(content, 8)
    chunk.writeUInt32BE(crc32(chunk.subarray(4, 8 + content.length)), 8 + content.length)
    parts.push(chunk)
  }
  return new Uint8Array(Buffer.concat(parts))
}
const header = (width: number, height: number, ...rest: number[]) => {
  const bytes = Buffer.alloc(13)
  bytes.writeUInt32BE(width, 0)
  bytes.writeUInt32BE(height, 4)
  bytes.set(rest, 8)
  return new Uint8Array(bytes)
}
const deflated = (...bytes: number[]) => new Uint8Array(deflateSync(Uint8Array.from(bytes)))

describe('damaged PNGs', () => {
  it('is about files that would be fine otherwise', async () => {
    expect(await decodeImage(tinyPng())).toEqual({ width: 1, height: 1, channels: 1, data: Uint8Array.of(99) })
  })

  it('cut short, anywhere', async () => {
    const bytes = fixture('rgb-8.png')
    for (let length = 8; length < bytes.length; length++) {
      const message = `a.png is a PNG that was cut short (${length} bytes); get the whole file`
      await expect(decodeImage(bytes.subarray(0, length), 'a.png')).rejects.toThrow(new InputError(message))
    }
  })

  const one = [8, 0, 0, 0, 0]
  it.each([
    [
      'of absurd size',
      { IHDR: header(2 ** 15, 2 ** 14, ...one) },
      'has 32768 × 16384 pixels; at most 268435456 are read',
    ],
    ['of size 0', { IHDR: header(0, 1, ...one) }, 'is a damaged PNG (0 × 1 pixels)'],
    [
      'too short for their size',
      { IHDR: header(2 ** 14, 2 ** 14, ...one) },
      'is a damaged PNG (10 bytes cannot hold 16384 × 16384 pixels)',
    ],
    ['of colour type 5', { IHDR: header(1, 1, 8, 5, 0, 0, 0) }, 'is a damaged PNG (colour type 5 does not exist)'],
    ['of a short header', { IHDR: new Uint8Array(12) }, 'is a damaged PNG (its header has 12 bytes instead of 13)'],
    ['without a header', { IHDR: undefined }, 'is a damaged PNG (it starts with IDAT instead of IHDR)'],
    ['without data', { IDAT: new Uint8Array(0) }, 'is a PNG without a picture'],
    [
      'with an unknown chunk that matters',
      { CgBI: new Uint8Array(4) },
      'is a PNG with a CgBI chunk, which is not read here',
    ],
  ] as [string, Record<string, Uint8Array | undefined>, string][])('%s', (_, chunks, message) => {
    return refuses(tinyPng(chunks), 'a.png', `a.png ${message}`)
  })

  it.each([
    ['of 3 bits', { IHDR: header(1, 1, 3, 0, 0, 0, 0) }],
    ['of another compression', { IHDR: header(1, 1, 8, 0, 1, 0, 0) }],
    ['of another filtering', { IHDR: header(1, 1, 8, 0, 0, 1, 0) }],
    ['of another interlacing', { IHDR: header(1, 1, 8, 0, 0, 0, 2) }],
    ['without a palette', { IHDR: header(1, 1, 8, 3, 0, 0, 0) }],
    ['of too few rows', { IHDR: header(1, 2, ...one) }],
    ['of an unknown filter', { IDAT: deflated(5, 99) }],
    ['of a cut stream', { IDAT: deflated(0, 99).subarray(0, 6) }],
    ['of noise', { IDAT: text('noise') }],
  ] as [string, Record<string, Uint8Array | undefined>][])('%s', (_, chunks) => {
    return refuses(tinyPng(chunks), 'a.png', 'a.png is a damaged PNG (its data cannot be decoded)')
  })

  it('of a stream that is cut short or lacks rows, at any byte', async () => {
    const message = 'a.png is a damaged PNG (its data cannot be decoded)'
    for (const interlace of [0, 1]) {
      const IHDR = header(5, 3, 8, 0, 0, 0, interlace)
      // Each row starts with its filter. Interlaced: one row in passes 1, 2, 4, 5 and 7, two in 6, none in 3.
      const widths = interlace ? [1, 1, 1, 3, 2, 2, 5] : [5, 5, 5]
      const rows = widths.flatMap((width, row) => [0, ...new Array<number>(width).fill(row)])
      const stream = deflated(...rows)
      expect((await decodeImage(tinyPng({ IHDR, IDAT: stream }))).data).toHaveLength(15)
      for (let length = 1; length < stream.length; length++) {
        await refuses(tinyPng({ IHDR, IDAT: stream.subarray(0, length) }), 'a.png', message)
      }
      for (let length = 0; length < rows.length; length++) {
        await refuses(tinyPng({ IHDR, IDAT: deflated(...rows.slice(0, length)) }), 'a.png', message)
      }
    }
  })

  it('do not keep the next one from being decoded, however many', async () => {
    const broken = tinyPng({ IDAT: text('noise') })
    for (let i = 0; i < 1000; i++) await expect(decodeImage(broken)).rejects.toThrow(InputError)
    expect((await decodeImage(tinyPng())).data).toEqual(Uint8Array.of(99))
  })

  it('do not come from chunks that are not the picture', async () => {
    const chunks = { iCCP: text('p\0\0noise'), eXIf: text('noise'), zTXt: text('noise'), tRNS: text('?') }
    expect((await decodeImage(tinyPng(chunks))).data).toEqual(Uint8Array.of(99))
  })

  it('of a colour beyond the palette have it black', async () => {
    const chunks = {
      IHDR: header(2, 1, 8, 3, 0, 0, 0),
      PLTE: Uint8Array.of(1, 2, 3, 4, 5, 6),
      IDAT: deflated(0, 99, 1),
    }
    expect((await decodeImage(tinyPng(chunks))).data).toEqual(Uint8Array.of(0, 0, 0, 4, 5, 6))
  })

  it('of more rows than the header says lose them', async () => {
    expect((await decodeImage(tinyPng({ IDAT: deflated(0, 99, 0, 98) }))).data).toEqual(Uint8Array.of(99))
  })

  it('of a wrong checksum', async () => {
    const bytes = tinyPng()
    await refuses(
      patched(bytes, 16 + 14, 1),
      'a.png',
      'a.png is a damaged PNG (the checksum of its IHDR chunk at byte 8 is wrong)',
    )
  })
})

/** A copy of a PNG whose checksums are right, as far as there are chunks. */
function resealed(png: Uint8Array): Uint8Array {
  const copy = Buffer.from(png)
  for (let at = 8; at + 12 <= copy.length; ) {
    const end = at + 12 + copy.readUInt32BE(at)
    if (end > copy.length) break
    copy.writeUInt32BE(crc32(copy.subarray(at + 4, end - 4)), end - 4)
    at = end
  }
  return new Uint8Array(copy)
}

describe('any damage gives a picture or a typed error', () => {
  const files = [
    'baseline-420.jpg',
    'progressive-422.jpg',
    'orientation-6.jpg',
    'palette-4-alpha.png',
    'rgba-16-interlaced.png',
  ]
  for (const file of files) {
    it(file, async () => {
      const bytes = fixture(file)
      const damage = fc.array(fc.record({ at: fc.nat(bytes.length - 1), value: fc.nat(255) }), {
        minLength: 1,
        maxLength: 4,
      })
      await fc.assert(
        fc.asyncProperty(damage, async changes => {
          const copy = bytes.slice()
          // The first bytes decide whether it is an image at all; that is tested above.
          for (const { at, value } of changes) if (at >= 8) copy[at] = value
          // Where checksums tell of most damage, what they would let through is tried as well.
          const damaged = file.endsWith('.png') && changes.length > 1 ? resealed(copy) : copy
          try {
            const { width, height, channels, data } = await decodeImage(damaged, file)
            expect(data.length).toBe(width * height * channels)
          } catch (error) {
            expect(error).toBeInstanceOf(InputError)
            expect((error as Error).message).toContain(file)
          }
        }),
        { numRuns: 150 },
      )
    })
  }
})
