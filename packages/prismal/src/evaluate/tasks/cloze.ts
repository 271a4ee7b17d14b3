/** cloze: which of ten words a sentence lacks, by how likely each makes it. */
import { textPart } from '@prismal/models'
import { DataError } from '../data/errors.js'
import { accuracy } from '../metrics.js'
import { choice } from './choices.js'
import { type ClozeItem, clozeItems } from './cloze-items.js'
import { columnsOf, type TaskKind } from './task.js'
import { idsOf, surprises, textsOf } from './texts.js'

export const cloze: TaskKind = {
  about: 'which of ten words a sentence lacks after twenty others, made of texts; accuracy',
  pipeline: 'text-generation',
  byDistance: false,
  async prepare(context) {
    const { model, settings } = context
    const { seed = 0 } = settings
    const texts = await textsOf(context, 'cloze')
    const { tokenizer, begin, vocabulary } = texts
    const questions = clozeItems(texts.documents, seed)
    if (questions.length === 0)
      throw new DataError(
        `${context.data} has no document with 21 sentences of 5 to 60 words: no cloze can be made of it`,
      )
    return {
      data: texts.data,
      count: questions.length,
      metrics: [accuracy],
      settings: { seed },
      together: 1,
      async run(ask, items) {
        const answers = []
        for (const item of items) {
          const { document, context, sentences, truth } = questions[item] as ClozeItem
          const before = idsOf(tokenizer, context)
          const after = sentences.map(sentence => idsOf(tokenizer, ` ${sentence}`))
          const longest = Math.max(...after.map(ids => ids.length))
          // The context's end is what counts where not all of it fits.
          const room = model.shape.positions - longest - begin.length
          const head = [...begin, ...before.subarray(Math.max(0, before.length - room))]
          const parts = after.map(ids => textPart([...head, ...ids.subarray(0, -1)]))
          const want = after.map(ids => Array.from(ids, (_, i) => head.length - 1 + i))
          const scores = await ask.rows(parts, want, rows => {
            let from = 0
            return after.map(ids => {
              const nats = surprises(rows.slice(from, from + ids.length), vocabulary, ids)
              from += ids.length
              return -nats.reduce((a, b) => a + b, 0)
            })
          })
          answers.push({ ...choice(scores), truth, document })
        }
        return columnsOf(answers)
      },
    }
  },
}
