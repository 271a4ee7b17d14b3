import { describe, expect, it } from 'vitest'
import { cases, kept, picture } from '../../../../test/fixtures/images/goldens.js'
import { InputError } from '../errors.js'
import { checkImage, type Image, toGrey, toRgb } from './image.js'

describe('conversion equals Pillow', () => {
  for (const golden of cases.convert) {
    it(`from ${golden.channels} channels`, () => {
      const image = picture(golden)
      expect(toRgb(image)).toEqual({ ...image, channels: 3, data: kept(golden.rgb) })
      expect(toGrey(image)).toEqual({ ...image, channels: 1, data: kept(golden.grey) })
    })
  }

  it('leaves every grey what it is on the way to RGB and back', () => {
    const grey: Image = { width: 256, height: 1, channels: 1, data: Uint8Array.from({ length: 256 }, (_, i) => i) }
    expect(toGrey(toRgb(grey))).toEqual(grey)
  })
})

describe('an image that contradicts itself is refused', () => {
  const fine: Image = { width: 2, height: 3, channels: 3, data: new Uint8Array(18) }
  it.each([
    [{ ...fine, width: 0 }, 'image: its sides are 0 × 3 pixels; whole numbers of at least 1 are needed'],
    [{ ...fine, height: 1.5 }, 'image: its sides are 2 × 1.5 pixels; whole numbers of at least 1 are needed'],
    [{ ...fine, width: 2 ** 28 }, 'image: 268435456 × 3 pixels are more than the 268435456 that are taken'],
    [{ ...fine, channels: 2 as 1 }, 'image: it has 2 channels; 1 (grey), 3 (RGB) or 4 (RGB, alpha) are taken'],
    [{ ...fine, data: new Uint8Array(17) }, 'image: 2 × 3 × 3 need 18 bytes, it has 17'],
  ])('%#', (image, message) => {
    expect(() => checkImage(image)).toThrow(new InputError(message))
    expect(() => toRgb(image)).toThrow(InputError)
    expect(() => toGrey(image)).toThrow(InputError)
  })
})
