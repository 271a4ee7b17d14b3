/** generation: a prompt is prefilled by all devices, then what follows it is scored as it is decoded from the cache that is left. */
import { InputError, indexOfMax, textPart } from '@prismal/models'
import type { Asker } from '../asking.js'
import { agreedTokens, bitsPerByte, natsPerToken, perplexity } from '../metrics.js'
import { columnsOf, type TaskKind } from './task.js'
import { bytesOf, DISTANCES, distanceOf, surprise, textsOf, type Window, windowsOf } from './texts.js'

/** What a device said of one prompt's continuation, token by token. */
interface Said {
  readonly nats: Float64Array
  /** The tokens that it would have chosen. */
  readonly likeliest: Int32Array
}

export const generation: TaskKind = {
  about: 'what follows a prompt, decoded after a shared prefill; perplexity, agreement with one device',
  pipeline: 'text-generation',
  byDistance: true,
  async prepare(context) {
    const { model, settings } = context
    const { prompt = 256, continuation = 64 } = settings
    const rows = prompt + continuation - 1
    if (rows > model.shape.positions)
      throw new InputError(
        `prompt and continuation are ${prompt} and ${continuation}; ${model.location} has ${model.shape.positions} positions`,
      )
    const texts = await textsOf(context, 'generation')
    const windows = windowsOf(texts, { rows, stride: rows, least: rows })
    const alone = new Map<number, Int32Array>()

    const decode = async (ask: Asker, items: readonly number[]): Promise<Said[]> => {
      const some = items.map(i => windows[i] as Window)
      const forced = some.map(({ ids }) => Array.from(ids.subarray(prompt)))
      const said = some.map(() => ({ nats: new Float64Array(continuation), likeliest: new Int32Array(continuation) }))
      const counts = some.map(() => 0)
      const options = { maxNewTokens: continuation, withLogits: true, forced }
      const prompts = some.map(({ ids }) => textPart(ids.subarray(0, prompt)))
      await ask.tokens(prompts, options, ({ sequence, id, logits }) => {
        const t = counts[sequence] as number
        counts[sequence] = t + 1
        const { nats, likeliest } = said[sequence] as Said
        nats[t] = surprise(logits as Float32Array, id)
        likeliest[t] = indexOfMax(logits as Float32Array)
      })
      return said
    }
    /** Kept: every cell asks for the same. */
    const expectAlone = async (ask: Asker, items: readonly number[]): Promise<void> => {
      const missing = items.filter(i => !alone.has(i))
      if (missing.length === 0) return
      const said = await decode(ask.alone(), missing)
      for (const [i, { likeliest }] of said.entries()) alone.set(missing[i] as number, likeliest)
    }

    return {
      data: texts.data,
      count: windows.length,
      metrics: [bitsPerByte, natsPerToken, perplexity, agreedTokens],
      settings: { prompt, continuation },
      together: 4,
      async run(ask, items) {
        const said = await decode(ask, items)
        if (ask.way.devices === 1) for (const [i, s] of said.entries()) alone.set(items[i] as number, s.likeliest)
        await expectAlone(ask, items)
        const cuts = ask.cuts(prompt)
        const rows = said.flatMap(({ nats, likeliest }, i) => {
          const { document, ids } = windows[items[i] as number] as Window
          const same = alone.get(items[i] as number) as Int32Array
          const sums = DISTANCES.map(distance => ({ document, distance, nats: 0, tokens: 0, bytes: 0, agreed: 0 }))
          for (let t = 0; t < continuation; t++) {
            const distance = distanceOf(prompt - 1 + t, cuts)
            const sum = sums.find(s => s.distance === distance) as (typeof sums)[number]
            sum.nats += nats[t] as number
            sum.tokens++
            sum.bytes += bytesOf(texts.tokenizer, ids[prompt + t] as number)
            if (likeliest[t] === same[t]) sum.agreed++
          }
          return sums.filter(s => s.tokens > 0)
        })
        return columnsOf(rows)
      },
    }
  },
}
