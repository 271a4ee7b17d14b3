/** What is known of devices and links once they were measured: plain data, which goes through JSON and back. */

/** Milliseconds as `fixedMs` + what grows with the work. */
export interface DeviceSpeed {
  readonly name: string
  /** Of the request, and each of its rows: what is neither embedding nor layer (memory, the final norm, the account). */
  readonly requestMs: number
  readonly requestRowMs: number
  /** Embedding of a batch, and of each of its rows. */
  readonly embedMs: number
  readonly embedRowMs: number
  /** A layer costs this whatever its rows are: weights are read, kernels called. */
  readonly layerMs: number
  /** Operations a second of whole requests, everything included: what one says of a device. */
  readonly overallFlopsPerSecond: number
  /** Operations a second, beyond what is fixed, while the other devices compute too. */
  readonly flopsPerSecond: number
  /**
   * Time that it takes while the others are idle, as a share of the time beside them: below 1 where they share cores, a
   * memory or a power limit.
   */
  readonly aloneFactor: number
  /**
   * How a layer's time varies: ascending shares of its mean, evenly many of each, with mean 1. Devices that wait for each other
   * in each layer go by the slower one each time, so that variation costs time.
   */
  readonly jitter: readonly number[]
}

/** One direction between two devices: a message takes latency + bytes / bandwidth. */
export interface LinkSpeed {
  readonly from: number
  readonly to: number
  readonly latencyMs: number
  readonly bitsPerSecond: number
}

/** The coordinator's connection to a device. */
export interface ControlSpeed {
  readonly device: number
  readonly latencyMs: number
  /** Towards the device, and back. */
  readonly bitsPerSecond: number
  readonly bitsPerSecondBack: number
}

export interface Measurements {
  readonly devices: readonly DeviceSpeed[]
  /** Of each pair of devices that exchange. */
  readonly links: readonly LinkSpeed[]
  readonly controls: readonly ControlSpeed[]
  /** Devices that send at the speed of one link however many they send to, by number; and that so receive. */
  readonly sharedUplinks: readonly number[]
  readonly sharedDownlinks: readonly number[]
  /** What the coordinator does of a request besides, its head included. */
  readonly coordinatorMs: number
}

/** Bandwidths above this are not told apart: nothing was copied. */
export const MOST_BITS_PER_SECOND = 1e13

/** Milliseconds that so many bytes take, latency apart. */
export const transferMs = (bytes: number, bitsPerSecond: number): number => (bytes * 8000) / bitsPerSecond

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return ((sorted[Math.floor(middle)] as number) + (sorted[Math.ceil(middle)] as number)) / 2
}
