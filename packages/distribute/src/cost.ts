/**
 * What a plan costs: operations and bytes a device, stage by stage, as they are executed and sent. The counters of a
 * real run equal it. Counted are matrix products and attention (a multiply-add is two operations), and frames' headers
 * and data. `asPublished` counts as the paper does: every row in every layer, n·k scores, n = N/P.
 *
 * Letters: N rows, P devices, D width, A = H·d attention width, F inner width, L segments.
 */
import { type Part, type StackShape, type Stage, totals } from '@prismal/models'
import type { Run } from '@prismal/tensor'
import { handedRows, layerWork, type Message, rowsHere, sentRows } from './layer-work.js'
import { textBytes } from './messages.js'
import { patchBytes } from './palette.js'
import { partFor } from './parts.js'
import {
  anchorRows,
  decoderOf,
  haloRows,
  handoffs,
  type Plan,
  type SequencePlan,
  transfers,
  wantedHere,
} from './plan.js'
import { dataBytes } from './wire.js'

export interface DeviceCost {
  /** Rows of the batch that this device computes. */
  readonly rows: number
  readonly stages: readonly Stage[]
  readonly flops: number
  readonly bytesSent: number
  readonly bytesReceived: number
  /** What it is given by, and gives to, the coordinator. */
  readonly inputBytes: number
  readonly outputBytes: number
}

export interface CostOptions {
  readonly asPublished?: boolean
  /** The whole sequences, where the bytes of inputs are wanted. */
  readonly sequences?: readonly Part[]
  /** What comes back: the rows asked for (default), or the mean of each sequence's rows. */
  readonly output?: 'rows' | 'mean'
  /** Tokens that each sequence gets by decoding, and the vocabulary's size V. */
  readonly decoding?: { readonly tokens: readonly number[]; readonly vocabulary: number }
}

/** One cost for each device of the plan. */
export function cost(plan: Plan, shape: StackShape, options: CostOptions = {}): DeviceCost[] {
  const devices = Array.from({ length: plan.devices }, (_, p) => p)
  return devices.map(p => (options.asPublished ? publishedCost(plan, shape) : deviceCost(plan, shape, p, options)))
}

function deviceCost(plan: Plan, shape: StackShape, p: number, options: CostOptions): DeviceCost {
  const stages: Stage[] = [stage('embed', embedFlops(plan, shape, p))]
  for (let i = 0; i < plan.layers; i++) stages.push(layerCost(plan, shape, p, i))
  const { decoding } = options
  const decoded = plan.sequences.flatMap((s, i) =>
    decoding && decoderOf(s) === p ? [[s, decoding.tokens[i] as number] as const] : [],
  )
  const made = decoded.reduce((sum, [, tokens]) => sum + tokens, 0)
  stages.push(stage('head', 2 * made * shape.width * (decoding?.vocabulary ?? 0)))
  if (decoded.some(([, tokens]) => tokens > 1))
    stages.push(
      stage(
        'decode',
        decoded.reduce((sum, [s, tokens]) => sum + decodeFlops(plan, shape, s, p, tokens), 0),
      ),
    )
  return {
    rows: plan.sequences.reduce((sum, s) => sum + rowsHere(s, p), 0),
    stages,
    ...totals(stages),
    inputBytes: inputBytes(plan, shape, p, options.sequences),
    outputBytes: decoding ? made * dataBytes(0) : dataBytes(outputRows(plan, p, options.output) * shape.width * 4),
  }
}

const stage = (name: string, flops: number, bytesSent = 0, bytesReceived = 0): Stage => ({
  stage: name,
  flops,
  bytesSent,
  bytesReceived,
})

function patchRows(shape: StackShape, sequence: SequencePlan, p: number): number {
  const [from, to] = sequence.bounds[p] as Run
  const patches = (from: number, to: number): number =>
    Math.max(to, shape.prefixRows) - Math.max(from, shape.prefixRows)
  return patches(from - haloRows(sequence, p), to) + patches(0, anchorRows(sequence, p))
}

function embedFlops(plan: Plan, shape: StackShape, p: number): number {
  if (shape.patchWidth === 0) return 0
  const patches = plan.sequences.reduce((sum, s) => sum + patchRows(shape, s, p), 0)
  return 2 * patches * shape.patchWidth * shape.width
}

function layerCost(plan: Plan, shape: StackShape, p: number, layer: number): Stage {
  const { own, heard, after, sent } = layerWork(plan, shape, p, layer)
  const bytes = (messages: readonly Message[]): number => messages.reduce((sum, m) => sum + m.bytes, 0)
  const flops = own + heard.reduce((sum, h) => sum + h.flops, 0) + after
  return stage(String(layer), flops, bytes(sent), bytes(heard))
}

/** One row a step and layer; the first token comes from the prefill. */
function decodeFlops(plan: Plan, shape: StackShape, sequence: SequencePlan, p: number, tokens: number): number {
  const { width: D, inner: F } = shape
  const A = shape.heads * shape.headWidth
  const own = rowsHere(sequence, p)
  const s = plan.sequences.indexOf(sequence)
  let total = 0
  for (let layer = 0; layer < plan.layers; layer++) {
    let kept = 0
    for (let other = 0; other < plan.devices; other++)
      if (plan.handoff === 'full') kept += handoffs(plan, other, p).includes(s) ? handedRows(plan, [s], other) : 0
      else kept += transfers(plan, layer, other, p).includes(s) ? sentRows(plan, layer, [s], other, p) : 0
    for (let step = 1; step < tokens; step++) total += 8 * D * A + 4 * D * F + 4 * A * (own + step + kept)
  }
  return total
}

function inputBytes(plan: Plan, shape: StackShape, p: number, sequences: readonly Part[] | undefined): number {
  if (!sequences) return 0
  const bytes = plan.sequences.reduce((sum, planned, s) => {
    const part = partFor(planned, p, sequences[s] as Part, shape)
    return sum + textBytes(part) + (part.patches ? patchBytes(part.patches, shape) : 0)
  }, 0)
  return dataBytes(bytes)
}

/** How many rows a device gives back. */
export function outputRows(plan: Plan, p: number, output: CostOptions['output'] = 'rows'): number {
  if (output === 'mean') return plan.sequences.filter(s => rowsHere(s, p) > 0).length
  return plan.sequences.reduce((sum, s) => sum + wantedHere(s, p).length, 0)
}

/**
 * The paper's count, per device: n = N/P rows, k = n + (P−1)·L keys (k = N where all rows are sent), in each layer
 * 4nDA (Q, O) + 4kDA (K, V) + 4nkA (scores, weighted sum) + 4nDF (feed-forward), and n patches. Elements are f32; they
 * are counted by whole rows, ⌈N/P⌉ of each other device where all are sent.
 */
function publishedCost(plan: Plan, shape: StackShape): DeviceCost {
  const { width: D, inner: F } = shape
  const A = shape.heads * shape.headWidth
  const P = plan.devices
  const all = plan.strategy === 'full'
  let patches = 0
  let rows = 0
  for (const { rows: N } of plan.sequences) {
    patches += shape.patchWidth > 0 ? (N - shape.prefixRows) / P : 0
    rows += N / P
  }
  const stages = Array.from({ length: plan.layers }, (_, layer): Stage => {
    let flops = 0
    let elements = 0
    for (const sequence of plan.sequences) {
      const N = sequence.rows
      const n = N / P
      const L = sequence.sent[layer]?.[0]?.length ?? 0
      const k = all ? N : n + (P - 1) * L
      flops += 4 * n * D * A + 4 * k * D * A + 4 * n * k * A + 4 * n * D * F
      elements += (P - 1) * (all ? Math.ceil(n) : L) * D
    }
    return stage(String(layer), flops, elements * 4, elements * 4)
  })
  const embed = stage('embed', 2 * patches * shape.patchWidth * D)
  return { rows, stages: [embed, ...stages], ...totals([embed, ...stages]), inputBytes: 0, outputBytes: 0 }
}
