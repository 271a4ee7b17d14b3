/** Two devices against one at batch 1: over loopback, with 8-bit weights, encrypted, and at 100 Mbit/s. */
import { Unavailable } from '../contender.js'
import { ratio, summary, type Turns } from '../measure.js'
import type { WeightDtype } from '../peer-cases.js'
import { bar, type Row } from '../report.js'
import { twoHosts } from './namespaces.js'
import { compete, type PairStart, withPairs } from './pair.js'
import {
  FULL,
  meansName,
  NOTHING,
  oneDevice,
  SUITE,
  type TopicFindings,
  type TopicOptions,
  VIT,
  type Workload,
} from './topic.js'
import { secretFile } from './worker-process.js'

const ALONE = 'alone'
const MEANS = 'means'
const LEAST_DIFFERENCE = 1e-4

const startOf = ({ folder, subject, means }: Workload, dtype: WeightDtype = 'f32'): PairStart => ({
  ...{ folder: folder(), dtype, subject, runners: { [ALONE]: 'alone', [MEANS]: means, full: FULL } },
})

interface Found {
  readonly name: string
  /** Precision, who shares how, and over what. */
  readonly variant: string
  readonly turns: Turns
  readonly alone: Turns
  readonly dtype?: WeightDtype
  readonly least?: number
}

function rowOf({ name, variant, turns, alone, dtype, least }: Found): Row {
  const factor = ratio(alone, turns)
  return {
    ...{ suite: SUITE, name, variant, milliseconds: summary(turns) },
    times: { factor, than: oneDevice(dtype) },
    ...(least !== undefined && { bar: bar(factor.median, least, `≥ ${least}×`) }),
  }
}
const aloneRow = (name: string, alone: Turns, where: string, dtype: WeightDtype = 'f32'): Row => ({
  ...{ suite: SUITE, name, variant: `${oneDevice(dtype)}${where}`, milliseconds: summary(alone) },
})

/** A workload on two devices over loopback, without a secret. */
export const loopback =
  (workload: Workload, dtype: WeightDtype, least: number) =>
  (options: TopicOptions): Promise<TopicFindings> =>
    withPairs([startOf(workload, dtype)], async pair => {
      const entrants = [ALONE, MEANS].map(runner => ({ pair, runner, batch: 1 }))
      // A prompt's turn takes seconds, so fewer will do.
      const rounds = workload.subject.kind === 'prompt' ? Math.ceil((2 * options.rounds) / 3) : options.rounds
      const [alone, means] = (await compete(entrants, { ...options, rounds })).map(m => m.turns) as [Turns, Turns]
      const { name } = workload
      const variant = `2 devices, ${dtype}, ${meansName(workload)}, loopback`
      return {
        ...NOTHING,
        rows: [aloneRow(name, alone, '', dtype), rowOf({ name, variant, turns: means, alone, dtype, least })],
      }
    })

/** What a secret costs: the same pairs of processes with and without one, in turns. */
export async function encryption(options: TopicOptions): Promise<TopicFindings> {
  const secret = secretFile()
  try {
    const start = startOf(VIT)
    return await withPairs([start, { ...start, secretFile: secret.path }], async (plain, sealed) => {
      const strategies = [MEANS, 'full']
      const entrants = strategies.flatMap(runner => [plain, sealed].map(pair => ({ pair, runner, batch: 1 })))
      const found = await compete(entrants, options)
      const rows = strategies.map((runner, i): Row => {
        const [open, closed] = [found[2 * i]!.turns, found[2 * i + 1]!.turns]
        const how = runner === MEANS ? meansName(VIT) : runner
        return {
          ...{ suite: SUITE, name: VIT.name, variant: `2 devices, f32, ${how}, loopback, encrypted` },
          milliseconds: summary(closed),
          times: { factor: ratio(open, closed), than: 'the same in the clear' },
        }
      })
      return { ...NOTHING, rows }
    })
  } finally {
    secret.remove()
  }
}

const MEGABITS_PER_SECOND = 100
const LEAST_AT_100_MEGABITS = 1.7

/** Means and all rows at 100 Mbit/s, each process in a network namespace of its own. */
export async function limited(options: TopicOptions): Promise<TopicFindings> {
  const where = `${MEGABITS_PER_SECOND} Mbit/s`
  const { name } = VIT
  try {
    const network = twoHosts({ megabitsPerSecond: MEGABITS_PER_SECOND })
    const secret = secretFile()
    try {
      return await withPairs([{ ...startOf(VIT), hosts: network.hosts, secretFile: secret.path }], async pair => {
        const difference = await pair.difference('full')
        if (!(difference <= LEAST_DIFFERENCE))
          throw new Error(
            `full over ${where} computes something else than one device: ${difference} of the largest logit`,
          )
        const entrants = [ALONE, MEANS, 'full'].map(runner => ({ pair, runner, batch: 1 }))
        const [alone, means, full] = (await compete(entrants, options)).map(m => m.turns) as [Turns, Turns, Turns]
        const variant = (how: string): string => `2 devices, f32, ${how}, ${where}, encrypted`
        return {
          ...NOTHING,
          rows: [
            rowOf({ name, variant: variant(meansName(VIT)), turns: means, alone, least: LEAST_AT_100_MEGABITS }),
            rowOf({ name, variant: variant('full'), turns: full, alone }),
          ],
        }
      })
    } finally {
      secret.remove()
      network.remove()
    }
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    return { ...NOTHING, notMeasured: [{ suite: SUITE, name, variant: `2 devices, ${where}`, reason: error.message }] }
  }
}
