/** language-modelling: texts, scored on rows after a cut by their distance from it. */
import { InputError, type Part, textPart } from '@prismal/models'
import { bitsPerByte, natsPerToken, perplexity } from '../metrics.js'
import { columnsOf, type TaskKind } from './task.js'
import { bytesOf, DISTANCES, distanceOf, surprises, textsOf, type Window, windowsOf } from './texts.js'

/** Shorter ends of documents are left out. */
const LEAST_ROWS = 32

export const languageModelling: TaskKind = {
  about: 'texts, scored on rows after the first cut by their distance from it; bits per byte, perplexity',
  pipeline: 'text-generation',
  byDistance: true,
  async prepare(context) {
    const { model, settings } = context
    const { positions } = model.shape
    const { window = Math.min(512, positions) } = settings
    const { stride = window } = settings
    if (window > positions) throw new InputError(`window is ${window}; ${model.location} has ${positions} positions`)
    const texts = await textsOf(context, 'language-modelling')
    const windows = windowsOf(texts, { rows: window, stride, least: Math.min(LEAST_ROWS, window) })
    return {
      data: texts.data,
      count: windows.length,
      metrics: [bitsPerByte, natsPerToken, perplexity],
      settings: { window, stride },
      together: Math.max(1, Math.floor(2048 / window)),
      async run(ask, items) {
        const some = items.map(i => windows[i] as Window)
        const parts = some.map(({ ids }): Part => textPart(ids.subarray(0, -1)))
        return ask.rows(parts, 'all', rows => {
          let start = 0
          const scored = some.flatMap(({ document, ids, again }) => {
            const count = ids.length - 1
            const cuts = ask.cuts(count)
            const first = Math.max(again, cuts.length > 1 ? (cuts[0]?.[1] ?? 0) : 0)
            const targets = ids.subarray(first + 1)
            const nats = surprises(rows.slice(start + first, start + count), texts.vocabulary, targets)
            start += count
            const sums = DISTANCES.map(distance => ({ document, distance, nats: 0, tokens: 0, bytes: 0 }))
            for (const [i, id] of targets.entries()) {
              const distance = distanceOf(first + i, cuts)
              const sum = sums.find(s => s.distance === distance) as (typeof sums)[number]
              sum.nats += nats[i] as number
              sum.tokens++
              sum.bytes += bytesOf(texts.tokenizer, id)
            }
            return sums.filter(s => s.tokens > 0)
          })
          return columnsOf(scored)
        })
      },
    }
  },
}
