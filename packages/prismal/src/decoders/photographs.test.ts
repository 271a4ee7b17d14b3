/** Whole photographs, from the file to 224 × 224, against digests of what Pillow makes of them. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type Image, parsePreprocessor, preprocess, toRgb } from '@prismal/models'
import { describe, expect, it } from 'vitest'
import { cases } from '../../../../test/fixtures/images/goldens.js'
import { sharedFolder } from '../../../../test/shared-folder.js'
import { decodeImage } from './decode-image.js'

const folder = sharedFolder('data/sample-images')

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** The bytes of a resized image, interleaved again, out of the pixels that a model would read. */
function resized(image: Image, resample: number): Uint8Array {
  const json = { size: 224, resample, do_rescale: false, do_normalize: false }
  const { pixels } = preprocess(image, parsePreprocessor(json, 'photographs.test.ts'), 3)
  return Uint8Array.from(pixels, (_, i) => pixels[(i % 3) * 224 * 224 + Math.floor(i / 3)]!)
}

describe.skipIf(!folder)('photographs', () => {
  for (const golden of cases.photographs) {
    it(`${golden.file} equals Pillow to the bit`, async () => {
      const image = toRgb(await decodeImage(readFileSync(`${folder}/${golden.file}`), golden.file))
      expect([image.width, image.height]).toEqual([golden.width, golden.height])
      expect(sha256(image.data)).toBe(golden.rgb)
      expect(sha256(resized(image, 2))).toBe(golden.bilinear)
      expect(sha256(resized(image, 3))).toBe(golden.bicubic)
    })
  }
})
