/** Made-up devices and links for the tests of this folder. */
import type { StackShape } from '@prismal/models'
import type { Measurements } from './measurements.js'

export const vitB: StackShape = {
  ...{ layers: 12, width: 768, heads: 12, headWidth: 64, inner: 3072, causal: false },
  ...{ positions: 197, patchWidth: 768, prefixRows: 1 },
}
export const gpt2: StackShape = { ...vitB, causal: true, positions: 1024, patchWidth: 0, prefixRows: 0 }

export interface Imagined {
  /** Operations a second of each device. */
  readonly speeds: readonly number[]
  readonly bitsPerSecond?: number
  readonly latencyMs?: number
  readonly jitter?: readonly number[]
  readonly layerMs?: number
}

/** Devices that do nothing but operations, and links that are all alike. */
export function imagined({
  speeds,
  bitsPerSecond = 1e12,
  latencyMs = 0,
  jitter = [1],
  layerMs = 0,
}: Imagined): Measurements {
  const none = { requestMs: 0, requestRowMs: 0, embedMs: 0, embedRowMs: 0, aloneFactor: 1 }
  const numbers = speeds.map((_, p) => p)
  return {
    devices: speeds.map((s, p) => ({
      ...none,
      ...{ name: `device ${p}`, layerMs, flopsPerSecond: s, overallFlopsPerSecond: s, jitter },
    })),
    links: numbers.flatMap(from =>
      numbers.filter(to => to !== from).map(to => ({ from, to, latencyMs, bitsPerSecond })),
    ),
    controls: numbers.map(device => ({ device, latencyMs: 0, bitsPerSecond: 1e12, bitsPerSecondBack: 1e12 })),
    sharedUplinks: [],
    sharedDownlinks: [],
    coordinatorMs: 0,
  }
}
