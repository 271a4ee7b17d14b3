/** What the bench and its coordinator's process say to each other, an object of JSON a line. */
import type { SharingOptions } from '@prismal/distribute'
import type { WeightDtype } from '../peer-cases.js'

/** What a request computes: an image's class logits, or the logits after a prompt's last token. */
export type Subject = { readonly kind: 'image' } | { readonly kind: 'prompt'; readonly tokens: number }

/** Who computes a request: this device alone, or the devices together. */
export type RunnerSpec = 'alone' | SharingOptions

export interface CoordinatorLoad {
  readonly folder: string
  readonly dtype: WeightDtype
  readonly subject: Subject
  /** The devices in the plan's order: `local`, and addresses of others. */
  readonly devices: readonly string[]
  readonly secretFile?: string
  /** By the names that turns then call them. */
  readonly runners: Readonly<Record<string, RunnerSpec>>
}

/** One runner, over so many inputs at once. */
export interface Choice {
  readonly runner: string
  readonly batch: number
}

export interface CoordinatorTurn {
  /** Of each request, from the parts of its input to its logits. */
  readonly milliseconds: readonly number[]
  /** Of each request, what its slowest device took from the input's arrival to its account. */
  readonly deviceMilliseconds: readonly number[]
}

/** What a plan says of one device: operations, and bytes with the wire's frames. */
export interface PlannedDevice {
  readonly flops: number
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly inputBytes: number
  readonly outputBytes: number
}

/** What measuring devices and links beforehand says of a batch. */
export interface Foreseen {
  /** Milliseconds of each way, `one device` or a strategy. */
  readonly milliseconds: Readonly<Record<string, number>>
  readonly chosen: string
  readonly reason: string
}

/** A prediction as `plan --measured` prints it, beside what the command measures. */
export interface Verification {
  readonly way: string
  readonly predictedMs: number
  readonly measuredMs: number
}

export type CoordinatorMessage =
  | { readonly load: CoordinatorLoad }
  | { readonly turn: Choice & { readonly runs: number } }
  | { readonly planned: Choice }
  /** How far the runner's logits are from those of this device alone, relative to the largest. */
  | { readonly difference: string }
  | { readonly foresee: { readonly batch: number } }
  /** Of what was foreseen last. */
  | { readonly verify: { readonly rounds: number } }
