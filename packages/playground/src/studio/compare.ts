/** One request on one device and shared, in turns, and what the two answers and their reports have to say of each other. */
import { cost, createPlan, type SharedRunner } from 'prismal/distribute'
import type { Model, Part, Report, Want } from 'prismal/models'
import type { Comparison, Sharing, Usage } from './messages.js'
import { optionsOf } from './team.js'

/** A request's answer as probabilities, with what it cost. */
export interface Asked {
  readonly probabilities: readonly number[]
  readonly report: Report
}

/** Most rounds, and milliseconds after which no further one begins. What compiles and warms caches was asked before. */
const ROUNDS = 3
const ROUNDS_MS = 1500

export interface Compared {
  readonly model: Model
  readonly part: Part
  readonly sharing: Sharing
  /** What is asked of the model, as its plan has it. */
  readonly want: Want
  readonly decodes: boolean
  readonly runner: SharedRunner
  readonly alone: () => Promise<Asked>
  readonly shared: () => Promise<Asked>
}

/** Asks both ways in turns, which have both been asked before. */
export async function compare(subject: Compared): Promise<Comparison> {
  const { model, part, sharing, alone, shared } = subject
  const rounds: { alone: Asked; shared: Asked }[] = []
  const until = performance.now() + ROUNDS_MS
  do rounds.push({ alone: await alone(), shared: await shared() })
  while (rounds.length < ROUNDS && performance.now() < until)
  const one = middle(rounds.map(r => r.alone))
  const several = middle(rounds.map(r => r.shared))
  const planned = planOf(subject, sharing)
  const full = planOf(subject, { ...sharing, strategy: 'full' })
  const differences = one.probabilities.map((p, i) => Math.abs(p - (several.probabilities[i] as number)))
  return {
    sharing,
    rows: part.to,
    told: planned.told,
    alone: { flops: flopsOf(one.report), milliseconds: one.report.milliseconds },
    milliseconds: several.report.milliseconds,
    devices: Array.from({ length: sharing.devices }, (_, p): Usage => {
      const { rows, bytesReceived, flops, milliseconds } = several.report.devices[p] as Report['devices'][number]
      return {
        ...{ rows, bytesReceived, flops, milliseconds },
        bytesPlanned: planned.received[p] as number,
        bytesOfFull: full.received[p] as number,
      }
    }),
    isSame: indexOfLargest(one.probabilities) === indexOfLargest(several.probabilities),
    largestDifference: Math.max(...differences),
    deviations: several.report.deviations,
  }

  function planOf({ want, decodes }: Compared, sharing: Sharing): { received: number[]; told: number[] } {
    const asked = { shape: model.shape, rows: [part.to], want, devices: sharing.devices, decodes }
    const plan = createPlan(asked, optionsOf(sharing))
    return {
      received: cost(plan, model.shape).map(device => device.bytesReceived),
      told: (plan.sequences[0]?.sent[0] ?? []).map(runs => runs.length),
    }
  }
}

/** The one whose time is in the middle. */
function middle(asked: readonly Asked[]): Asked {
  const sorted = [...asked].sort((a, b) => a.report.milliseconds - b.report.milliseconds)
  return sorted[Math.floor(sorted.length / 2)] as Asked
}

const flopsOf = (report: Report): number => report.devices.reduce((sum, d) => sum + d.flops, 0)
const indexOfLargest = (values: readonly number[]): number => values.indexOf(Math.max(...values))
