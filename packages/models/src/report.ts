/** What a request cost: operations and bytes, stage by stage, counted as they happen. */
import type { Meter } from '@prismal/tensor'

/** A stage is `embed`, a layer by its number, `head` or `decode`. */
export interface Stage {
  readonly stage: string
  flops: number
  bytesSent: number
  bytesReceived: number
}

/** Counts what one device does for one request. */
export class StageMeter implements Meter {
  readonly stages: Stage[] = []
  #current: Stage

  constructor() {
    this.#current = this.at('embed')
  }
  /** From now on operations count for this stage. */
  enter(stage: string): void {
    this.#current = this.at(stage)
  }
  count(flops: number): void {
    this.#current.flops += flops
  }
  /** The record of a stage, made where there is none. */
  at(stage: string): Stage {
    const known = this.stages.find(s => s.stage === stage)
    if (known) return known
    const fresh = { stage, flops: 0, bytesSent: 0, bytesReceived: 0 }
    this.stages.push(fresh)
    return fresh
  }
}

export interface DeviceReport {
  readonly device: string
  /** Rows of the batch that this device computed. */
  readonly rows: number
  readonly stages: readonly Stage[]
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
