/** image-classification: labelled pictures. */
import {
  ModelError,
  type Part,
  parsePreprocessor,
  patchify,
  preprocess,
  readJson,
  type VitShape,
} from '@prismal/models'
import { DataError } from '../data/errors.js'
import { readImages } from '../data/images.js'
import { namedSource, readSource } from '../data/source.js'
import { accuracy } from '../metrics.js'
import { choices } from './choices.js'
import { columnsOf, type TaskKind } from './task.js'

export const imageClassification: TaskKind = {
  about: 'labelled pictures: CIFAR-10 (binary layout) or MNIST (IDX); accuracy',
  pipeline: 'image-classification',
  byDistance: false,
  async prepare({ model, files, data, split }) {
    const { classify, family, location } = model
    if (family !== 'vit' || !classify)
      throw new ModelError(
        `${location} does not classify images (it is a ${family} model): it cannot do image-classification`,
      )
    const source = readSource(data, { split, extensions: ['.bin', '-ubyte'], splits: ['test'] })
    const images = readImages(source)
    const classes = model.headProducts.classify?.at(-1)?.[1] ?? 0
    const most = images.labels.reduce((a, b) => Math.max(a, b), 0)
    if (most >= classes) throw new DataError(`${data} has label ${most}; ${location} has ${classes} classes`)
    const shape = model.shape as VitShape
    const json = (await readJson(files, 'preprocessor_config.json')) ?? { size: shape.imageSize }
    const preprocessor = parsePreprocessor(json, `${files.location}/preprocessor_config.json`)
    const part = (i: number): Part => patchify(preprocess(images.image(i), preprocessor, shape.channels).pixels, shape)
    return {
      data: namedSource(source),
      count: images.count,
      metrics: [accuracy],
      settings: {},
      together: 32,
      async run(ask, items) {
        const found = await ask.rows(items.map(part), 'first', rows => choices(classify(rows)))
        return columnsOf(found.map((choice, i) => ({ ...choice, truth: images.labels[items[i] as number] as number })))
      },
    }
  },
}
