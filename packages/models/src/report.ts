/** What a request cost: operations and bytes, stage by stage, counted as they happen. */
import type { Meter } from '@prismal/tensor'

/** A stage is `embed`, a layer by its number, `head` or `decode`. */
export interface Stage {
  readonly stage: string
  flops: number
  bytesSent: number
  bytesReceived: number
}

/** A stage of a run, with the time from its begin to the next one's: waiting for others included. */
export interface TimedStage extends Stage {
  milliseconds: number
}

/** Counts what one device does for one request. */
export class StageMeter implements Meter {
  readonly #stages: TimedStage[] = []
  #current: TimedStage
  #since = performance.now()

  constructor() {
    this.#current = this.at('embed')
  }
  /** The stages so far, in the order in which they began. */
  get stages(): readonly TimedStage[] {
    this.#countTime()
    return this.#stages
  }
  /** From now on operations and time count for this stage. */
  enter(stage: string): void {
    this.#countTime()
    this.#current = this.at(stage)
  }
  count(flops: number): void {
    this.#current.flops += flops
  }
  /** The record of a stage, made where there is none. */
  at(stage: string): TimedStage {
    const known = this.#stages.find(s => s.stage === stage)
    if (known) return known
    const fresh = { stage, flops: 0, bytesSent: 0, bytesReceived: 0, milliseconds: 0 }
    this.#stages.push(fresh)
    return fresh
  }

  #countTime(): void {
    const now = performance.now()
    this.#current.milliseconds += now - this.#since
    this.#since = now
  }
}

export interface DeviceReport {
  readonly device: string
  /** Rows of the batch that this device computed. */
  readonly rows: number
  readonly stages: readonly TimedStage[]
  readonly flops: number
  /** Exchanged with other devices, frames included. */
  readonly bytesSent: number
  readonly bytesReceived: number
  /** Input that came to the device, and output that it gave, frames included. */
  readonly inputBytes: number
  readonly outputBytes: number
  /** Largest use of the engine's memory while the request ran, weights included. */
  readonly peakBytes: number
  readonly milliseconds: number
}

/** What came of a request besides its output. */
export interface Report {
  readonly strategy: string
  readonly devices: readonly DeviceReport[]
  readonly milliseconds: number
  /** Whatever was not as planned; empty where all was. */
  readonly deviations: readonly string[]
}

/** Sums of a device's stages. */
export const totals = (stages: readonly Stage[]): Pick<DeviceReport, 'flops' | 'bytesSent' | 'bytesReceived'> => ({
  flops: stages.reduce((sum, s) => sum + s.flops, 0),
  bytesSent: stages.reduce((sum, s) => sum + s.bytesSent, 0),
  bytesReceived: stages.reduce((sum, s) => sum + s.bytesReceived, 0),
})
