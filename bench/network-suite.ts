/** Devices in processes of their own, over the networks that join them: how fast, how many bytes, how well foreseen. */
import { batches } from './network/batches.js'
import { bytesOnTheWire } from './network/bytes.js'
import { exchanges } from './network/exchange.js'
import { prediction } from './network/prediction.js'
import { encryption, limited, loopback } from './network/speed.js'
import { strategies } from './network/strategies.js'
import { GPT2, type TopicFindings, type TopicOptions, together, VIT } from './network/topic.js'
import { compileScripts } from './scripts.js'

export interface NetworkOptions extends TopicOptions {
  /** Only the topics whose name contains this. */
  readonly only?: string
}

interface Topic {
  readonly name: string
  readonly run: (options: TopicOptions) => Promise<TopicFindings>
  /** Nothing of it has a bar. */
  readonly isWithoutBars?: true
}

const TOPICS: readonly Topic[] = [
  { name: 'exchange', run: exchanges },
  { name: 'bytes', run: bytesOnTheWire },
  { name: 'vit f32', run: loopback(VIT, 'f32', 1.8) },
  { name: 'vit q8', run: loopback(VIT, 'q8', 1.6) },
  { name: 'gpt2 prefill', run: loopback(GPT2, 'f32', 1.8) },
  { name: '100 Mbit/s', run: limited },
  { name: 'encryption', run: encryption, isWithoutBars: true },
  { name: 'strategies', run: strategies },
  { name: 'prediction', run: prediction },
  { name: 'batches', run: batches, isWithoutBars: true },
]

/** All topics, one after another. Throws where devices compute something else than one does. */
export async function benchNetwork({ only, ...options }: NetworkOptions): Promise<TopicFindings> {
  await compileScripts()
  const found: TopicFindings[] = []
  for (const { name, run, isWithoutBars } of TOPICS) {
    if ((options.onlyBars && isWithoutBars) || (only !== undefined && !name.includes(only))) continue
    options.tell(name)
    found.push(await run(options))
  }
  return together(found)
}
