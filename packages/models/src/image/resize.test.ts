import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cases, kept, lcgBytes, picture } from '../../../../test/fixtures/images/goldens.js'
import { InputError } from '../errors.js'
import type { Image } from './image.js'
import { Resample, resize } from './resize.js'

const nameOf = (resample: Resample) => Object.entries(Resample).find(([, number]) => number === resample)![0]

describe('resize equals Pillow to the bit', () => {
  for (const { source, target } of cases.resize) {
    const sizes = `${source.width}×${source.height}×${source.channels} to ${target.width}×${target.height}`
    it(`${nameOf(target.resample)}: ${sizes}`, () => {
      const { width, height } = target
      expect(resize(picture(source), target, target.resample)).toEqual({
        width,
        height,
        channels: source.channels,
        data: kept(target.pixels),
      })
    })
  }

  const { width, height, seed, targets } = cases.large_resize
  const large: Image = { width, height, channels: 3, data: lcgBytes(width * height * 3, seed) }
  for (const target of targets) {
    it(`${nameOf(target.resample)}: ${width}×${height} to ${target.width}×${target.height} (digest)`, () => {
      const { data } = resize(large, target, target.resample)
      expect(createHash('sha256').update(data).digest('hex')).toBe(target.sha256)
    })
  }
})

const side = fc.integer({ min: 1, max: 40 })
const anyResample = fc.constantFrom(...Object.values(Resample))
const anyImage = fc
  .record({ width: side, height: side, channels: fc.constantFrom(1 as const, 3 as const), seed: fc.nat() })
  .map(({ seed, ...shape }): Image => ({ ...shape, data: lcgBytes(shape.width * shape.height * shape.channels, seed) }))

describe('resize, for any sizes and filter', () => {
  it('keeps a colour that fills the image', () => {
    fc.assert(
      fc.property(
        anyImage,
        side,
        side,
        anyResample,
        fc.integer({ min: 0, max: 255 }),
        (image, w, h, resample, value) => {
          const flat = { ...image, data: new Uint8Array(image.data.length).fill(value) }
          const { data } = resize(flat, { width: w, height: h }, resample)
          expect(data).toEqual(new Uint8Array(w * h * image.channels).fill(value))
        },
      ),
    )
  })

  it('treats the channels alike and apart', () => {
    fc.assert(
      fc.property(anyImage, side, side, anyResample, (image, width, height, resample) => {
        const whole = resize(image, { width, height }, resample)
        for (let c = 0; c < image.channels; c++) {
          const ofChannel = (from: Image): Image => {
            return { ...from, channels: 1, data: from.data.filter((_, i) => i % image.channels === c) }
          }
          expect(resize(ofChannel(image), { width, height }, resample)).toEqual(ofChannel(whole))
        }
      }),
    )
  })

  it('does not change the image it is given', () => {
    fc.assert(
      fc.property(anyImage, side, side, anyResample, (image, width, height, resample) => {
        const before = image.data.slice()
        resize(image, { width, height }, resample)
        expect(image.data).toEqual(before)
      }),
    )
  })
})

describe('resize refuses', () => {
  const image: Image = { width: 2, height: 2, channels: 1, data: new Uint8Array(4) }
  it.each([
    [0, 5],
    [5, -1],
    [2.5, 5],
    [Number.NaN, 5],
    [2 ** 20, 2 ** 20],
  ])('%d × %d', (width, height) => {
    const asked = `resize: 2 × 2 to ${width} × ${height} pixels: the sides have to be whole numbers`
    expect(() => resize(image, { width, height }, Resample.bilinear)).toThrow(asked)
    expect(() => resize(image, { width, height }, Resample.nearest)).toThrow(InputError)
  })

  it('alpha', () => {
    const alpha: Image = { width: 1, height: 1, channels: 4, data: new Uint8Array(4) }
    expect(() => resize(alpha, { width: 2, height: 2 }, Resample.bilinear)).toThrow('convert it to RGB or grey first')
  })
})
