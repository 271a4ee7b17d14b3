import { describe, expect, it } from 'vitest'
import { cases, keptFloats, picture } from '../../../../test/fixtures/images/goldens.js'
import { InputError, ModelError } from '../errors.js'
import type { Image } from './image.js'
import { parsePreprocessor, preprocess } from './preprocess.js'

const WHERE = 'vit/preprocessor_config.json'
const parse = (json: unknown) => parsePreprocessor(json, WHERE)

describe('preprocess equals transformers, to the bit', () => {
  for (const golden of cases.preprocess.cases) {
    const type = golden.config.image_processor_type ?? golden.config.feature_extractor_type
    it(`${type} ${golden.turned ? 'upright' : 'wide'} → ${golden.channels}×${golden.height}×${golden.width}`, () => {
      const image = picture(golden.turned ? cases.preprocess.turned : cases.preprocess.source)
      const result = preprocess(image, parse(golden.config), golden.channels)
      const { channels, height, width } = golden
      expect(result).toEqual({ channels, height, width, pixels: keptFloats(golden.pixels) })
    })
  }

  it('rounds a half to the even side, as Python does', () => {
    const image: Image = { width: 8, height: 4, channels: 1, data: new Uint8Array(32) }
    const config = { size: { shortest_edge: 4, longest_edge: 5 }, do_normalize: false }
    // 5 · 4 / 8 = 2.5 rows; the width is cut from 2.5 · 8 / 4.
    expect(preprocess(image, parse(config), 1)).toMatchObject({ width: 5, height: 2 })
  })

  it('takes grey and alpha to RGB', () => {
    const preprocessor = parse({ do_resize: false, do_normalize: false, do_rescale: false })
    const grey: Image = { width: 2, height: 1, channels: 1, data: Uint8Array.of(7, 9) }
    expect(preprocess(grey, preprocessor, 3).pixels).toEqual(Float32Array.of(7, 9, 7, 9, 7, 9))
    const alpha: Image = { width: 1, height: 1, channels: 4, data: Uint8Array.of(1, 2, 3, 0) }
    expect(preprocess(alpha, preprocessor, 3).pixels).toEqual(Float32Array.of(1, 2, 3))
  })
})

const SIZES = 'a number, height and width, or shortest_edge with or without longest_edge'
const TYPES = ['ViT', 'DeiT', 'Beit', 'CLIP', 'Bit'].map(name => `${name}ImageProcessor`).join(', ')

describe('parsePreprocessor', () => {
  it('fills what is missing as ViTImageProcessor does', () => {
    expect(parse({})).toEqual({
      where: WHERE,
      resize: { size: { height: 224, width: 224 }, resample: 2 },
      rescaleFactor: 1 / 255,
      normalize: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
    })
  })

  it('takes null for missing', () => {
    expect(parse({ size: null, resample: null, do_center_crop: null, image_mean: null, crop_pct: null })).toEqual(
      parse({}),
    )
  })

  it('passes by what has no effect or is switched off', () => {
    const junk = { do_reduce_labels: true, patch_size: 16, processor_class: 'X', _valid_processor_keys: ['a'] }
    expect(parse({ ...junk, do_pad: false, do_convert_rgb: true })).toEqual(parse({}))
  })

  it('takes a number as the shortest edge where the processor does', () => {
    const sizeOf = (type: string, more = {}) => parse({ image_processor_type: type, size: 30, ...more }).resize?.size
    expect(sizeOf('ViTImageProcessorFast')).toEqual({ height: 30, width: 30 })
    expect(sizeOf('CLIPImageProcessor')).toEqual({ shortestEdge: 30 })
    expect(sizeOf('BitImageProcessor')).toEqual({ shortestEdge: 30 })
    expect(sizeOf('CLIPImageProcessor', { default_to_square: true })).toEqual({ height: 30, width: 30 })
    for (const type of ['ViTImageProcessor', 'CLIPImageProcessor'])
      expect(sizeOf(type, { size: [20, 30] })).toEqual({ height: 20, width: 30 })
  })

  it.each([
    ['a text', 'it holds "a text", not an object of settings'],
    [[], 'it holds [], not an object of settings'],
    [{ do_pad: true }, 'do_pad true is not supported'],
    [{ crop_pct: 0.875 }, 'crop_pct 0.875 is not supported'],
    [{ do_resize: 1 }, 'do_resize is 1, not true or false'],
    [{ do_convert_rgb: 'yes' }, 'do_convert_rgb is "yes", not true or false'],
    [{ resample: 6 }, 'resample 6 is not supported (0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming)'],
    [{ size: { height: 5, width: 0 } }, 'size.width is 0; a whole number of pixels, at least 1, is needed'],
    [{ size: 22.5 }, 'size.height is 22.5; a whole number of pixels, at least 1, is needed'],
    [{ size: [224] }, 'size is [224]; a number of pixels or an object of them is needed'],
    [{ size: [224, 0] }, 'size.width is 0; a whole number of pixels, at least 1, is needed'],
    [{ size: { longest_edge: 5 } }, `size {"longest_edge":5} is not supported (${SIZES})`],
    [
      { size: { height: 5, width: 5, shortest_edge: 5 } },
      `size {"height":5,"width":5,"shortest_edge":5} is not supported (${SIZES})`,
    ],
    [{ do_center_crop: true }, 'do_center_crop is true, but there is no crop_size'],
    [{ do_center_crop: true, crop_size: { shortest_edge: 4 } }, 'crop_size has no height and width'],
    [{ rescale_factor: '1/255' }, 'rescale_factor is "1/255", not a number'],
    [{ image_mean: ['a'] }, 'image_mean is ["a"]; a number or one a channel is needed'],
    [{ image_std: [0.5, 0, 0.5] }, 'image_std [0.5,0,0.5] holds a zero, which pixels cannot be divided by'],
    [{ data_format: 'channels_last' }, 'data_format "channels_last" is not supported (channels_first)'],
    [
      { image_processor_type: 'ConvNextImageProcessor' },
      `image_processor_type "ConvNextImageProcessor" is not supported (${TYPES})`,
    ],
    [{ feature_extractor_type: 'toString' }, `feature_extractor_type "toString" is not supported (${TYPES})`],
  ])('refuses %j by name', (json, message) => {
    expect(() => parse(json)).toThrow(new ModelError(`${WHERE}: ${message}`))
  })
})

describe('preprocess refuses', () => {
  const image: Image = { width: 2, height: 2, channels: 1, data: new Uint8Array(4) }

  it('a model of other channels', () => {
    expect(() => preprocess(image, parse({}), 4)).toThrow(
      new ModelError(`${WHERE}: the model reads 4 channels; 1 (grey) or 3 (RGB) are supported`),
    )
  })

  it('a mean for other channels', () => {
    expect(() => preprocess(image, parse({ size: 2 }), 1)).toThrow(
      new ModelError(`${WHERE}: image_mean has 3 numbers, the model reads 1 channels`),
    )
  })

  it('a size that the image would not bear', () => {
    const strip: Image = { width: 2 ** 20, height: 1, channels: 1, data: new Uint8Array(2 ** 20) }
    expect(() => preprocess(strip, parse({ size: { shortest_edge: 224 } }), 3)).toThrow(InputError)
    const crop = parse({ do_resize: false, do_center_crop: true, crop_size: 2 ** 20 })
    expect(() => preprocess(image, crop, 3)).toThrow(InputError)
  })
})
