/**
 * What each device of a plan will need of its memory, before anything runs: its work is rehearsed on an engine that counts
 * and has no memory, so the figures are those of the run to the byte.
 */
import {
  blankSequence,
  checkOptions,
  type Head,
  headOf,
  type MemoryEstimate,
  type Model,
  type Part,
  rehearse,
} from '@prismal/models'
import { outputRows } from './cost.js'
import { PlanError } from './errors.js'
import { gathered } from './gathered.js'
import type { Share } from './messages.js'
import { partFor } from './parts.js'
import type { Plan } from './plan.js'
import { rehearseWork } from './work.js'

export interface EstimateOptions {
  /** What comes back: the rows asked for (default), or the mean of each sequence's rows. */
  readonly output?: 'rows' | 'mean'
  /** Most tokens that each sequence gets; needed where the plan decodes. */
  readonly maxNewTokens?: number
  /** What the coordinator computes of the rows; default: nothing. Its estimate then comes last. */
  readonly head?: Head | undefined
  /** Whether the coordinator is device 0, on the same engine (default), or apart, with an engine of its own. */
  readonly coordinator?: 'device 0' | 'apart'
  /** Threads of each device's engine, by its number; default: as many as the model's engine has here. */
  readonly threads?: readonly number[]
  /** Numbers of the devices to rehearse; default: all. */
  readonly devices?: readonly number[]
}

export interface DeviceEstimate extends MemoryEstimate {
  /** Number of the device, or the coordinator, which computes the head. */
  readonly device: number | 'coordinator'
}

/**
 * One estimate for each device of the plan, as in a report's `devices`: every device holds all of the model's weights and
 * does nothing else meanwhile. Where a plan decodes, the figures are those of a run in which every sequence is decoded for
 * at least one step; one that ends before may need less, never more. Throws {@link PlanError} for options that do not go
 * with the plan, and what the request would throw: `InputError` for sequences that do not fit the model, or a head or
 * vocabulary that it lacks.
 */
export async function estimate(model: Model, plan: Plan, options: EstimateOptions = {}): Promise<DeviceEstimate[]> {
  const { output = 'rows', head, maxNewTokens, threads } = options
  const { devices = Array.from({ length: plan.devices }, (_, p) => p) } = options
  const share = shareOf(model, plan, output, maxNewTokens, head)
  const sequences = plan.sequences.map(({ rows }) => blankSequence(model, rows))
  for (const sequence of sequences) model.check(sequence)
  if (head) headOf(model, head)
  const estimates: DeviceEstimate[] = []
  for (const self of devices) {
    if (!(Number.isInteger(self) && self >= 0 && self < plan.devices))
      throw new PlanError(`estimate: device ${self} was asked for; the plan has ${plan.devices}`)
    const parts = plan.sequences.map((sequence, s) => partFor(sequence, self, sequences[s] as Part, model.shape))
    const needed = await rehearse(
      model,
      rehearsed => rehearseWork(rehearsed, { ...share, self }, parts),
      threads?.[self],
    )
    estimates.push({ device: self, ...needed })
  }
  if (!head) return estimates
  const own = await rehearse(model, async rehearsed => rehearseHead(rehearsed, plan, output, head))
  if (options.coordinator === 'apart') return [...estimates, { device: 'coordinator', ...own }]
  // Both watch the same engine; the device has given its memory back when the rows are there.
  const [first] =
    estimates[0]?.device === 0 ? estimates : await estimate(model, plan, { ...options, head: undefined, devices: [0] })
  return [...estimates, { device: 'coordinator', ...larger(own, first as DeviceEstimate) }]
}

function shareOf(
  model: Model,
  plan: Plan,
  output: 'rows' | 'mean',
  maxNewTokens: number | undefined,
  head: Head | undefined,
): Omit<Share, 'self'> {
  const { layers, causal } = model.shape
  if (plan.layers !== layers || plan.causal !== causal)
    throw new PlanError(
      `estimate: the plan is for ${kindOf(plan)}; ${model.location} has ${kindOf({ layers, causal })}: make it for this model`,
    )
  if (!plan.decodes && maxNewTokens === undefined) return { plan, output }
  if (!plan.decodes) throw new PlanError(`estimate: maxNewTokens is ${maxNewTokens}, but the plan does not decode`)
  if (maxNewTokens === undefined) throw new PlanError('estimate: the plan decodes, but maxNewTokens is not given')
  if (head || output === 'mean') throw new PlanError('estimate: the plan decodes: its output is tokens')
  checkOptions({ maxNewTokens })
  headOf(model, 'vocabulary')
  return { plan, output: 'tokens', generate: { maxNewTokens } }
}

const kindOf = ({ layers, causal }: { layers: number; causal: boolean }): string =>
  `${layers} ${causal ? 'causal ' : ''}layers`

function rehearseHead(rehearsed: Model, plan: Plan, output: 'rows' | 'mean', head: Head): number {
  const { width } = rehearsed.shape
  const scope = rehearsed.engine.scope()
  const pieces = Array.from({ length: plan.devices }, (_, p) => new Float32Array(outputRows(plan, p, output) * width))
  headOf(rehearsed, head)(gathered(scope, plan, pieces, width, output))
  return rehearsed.engine.arena.peakBytes
}

const larger = (a: MemoryEstimate, b: MemoryEstimate): MemoryEstimate => ({
  weightBytes: a.weightBytes,
  peakBytes: Math.max(a.peakBytes, b.peakBytes),
  processBytes: Math.max(a.processBytes, b.processBytes),
})
