/** How time grows: over the batch in proportion, over the length of a sequence as the operations that `cost` counts. */
import { fileURLToPath } from 'node:url'
import { cost, createPlan } from '@prismal/distribute'
import { aloneRunner, loadModel, type Model, type Part, textPart, type Want } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { randomFrom } from '../test/random.js'
import { type Contestant, type Rounds, summary, type Turns, takeTurns } from './measure.js'
import { randomModel } from './random-models.js'
import { atMost, type Row } from './report.js'

const VIT = fileURLToPath(new URL('../models/vit-cifar10', import.meta.url))
const BATCHES = [1, 2, 4, 8, 16, 32, 64]
const LENGTHS = [64, 128, 256, 512, 1024]
/** How far a time may lie from the line through all of them. */
const MOST_OFF = { batch: 0.1, length: 0.15 }

/** The zoo's ViT over batches, and a GPT-2-like stack over lengths. */
export async function benchGrowth(rounds: Rounds): Promise<Row[]> {
  return [...(await overBatches(rounds)), ...(await overLengths(rounds))]
}

async function overBatches(rounds: Rounds): Promise<Row[]> {
  const model = await load(VIT)
  const image = imageFor(model)
  const measured = BATCHES.map(count => ({
    variant: `batch ${count}`,
    work: count,
    parts: new Array<Part>(count).fill(image),
    want: 'first' as const,
  }))
  return rowsOf('vit-cifar10 over the batch', MOST_OFF.batch, model, measured, rounds)
}

async function overLengths(rounds: Rounds): Promise<Row[]> {
  const model = await load(randomModel('gpt2-16k'))
  const { shape } = model
  const measured = LENGTHS.map(rows => {
    const plan = createPlan({ shape, rows: [rows], want: 'all', devices: 1 })
    const { flops } = cost(plan, shape)[0]!
    return { variant: `N ${rows}`, work: flops, parts: [textFor(rows)], want: 'all' as const }
  })
  return rowsOf('GPT-2, 2 layers, over N', MOST_OFF.length, model, measured, rounds)
}

interface Measured {
  readonly variant: string
  /** What the time should be in proportion to. */
  readonly work: number
  readonly parts: readonly Part[]
  readonly want: Want
}

async function rowsOf(name: string, mostOff: number, model: Model, all: readonly Measured[], rounds: Rounds) {
  const runner = aloneRunner(model)
  const contestants = all.map(
    ({ variant, parts, want }): Contestant => ({
      name: variant,
      isAsync: true,
      run: async () => {
        const request = runner.begin()
        try {
          await request.rows(parts, want)
        } finally {
          request.end()
        }
      },
    }),
  )
  const turns = await takeTurns(contestants, rounds).finally(() => runner.dispose())
  const ratios = offsets(
    turns,
    all.map(m => m.work),
  )
  return all.map(({ variant }, i): Row => {
    const off = Math.abs(ratios[i]! - 1)
    return {
      ...{ suite: 'growth', name, variant, milliseconds: summary(turns[i]!) },
      times: { factor: { median: ratios[i]!, least: ratios[i]!, most: ratios[i]! }, than: 'the line' },
      bar: atMost(off, mostOff, `within ${100 * mostOff} %`),
    }
  })
}

/**
 * How many times as long each took as the line says that lies best between them. Each one's fastest turn counts: what
 * else the machine does only ever adds time, and adds more to what takes longer.
 */
function offsets(turns: readonly Turns[], work: readonly number[]): number[] {
  const rates = turns.map((ms, i) => Math.min(...ms) / work[i]!)
  const line = Math.sqrt(Math.min(...rates) * Math.max(...rates))
  return rates.map(rate => rate / line)
}

const load = async (folder: string): Promise<Model> =>
  loadModel(await openFiles(folder), { engine: await createEngine(), warn: () => {} })

function imageFor({ shape: { positions, prefixRows, patchWidth } }: Model): Part {
  const random = randomFrom(positions)
  const patches = Float32Array.from({ length: (positions - prefixRows) * patchWidth }, () => 2 * random() - 1)
  return { from: 0, to: positions, patches }
}

function textFor(rows: number): Part {
  const random = randomFrom(rows)
  return textPart(Array.from({ length: rows }, () => 1 + Math.floor(random() * 30000)))
}
