/**
 * What the authors of PRISM measured on real boards: arXiv 2605.25682, two Jetson Orin Nano over Wi-Fi 6E of about
 * 400 Mbit/s, ViT-B, means of 20 runs, milliseconds.
 */

export interface BoardsResult {
  readonly batch: number
  readonly oneDevice: number
  /** PRISM with L = 10, and what it is made of. */
  readonly means: {
    readonly compute: number
    readonly staging: number
    readonly network: number
    readonly total: number
  }
  /** Voltage: every row sent. */
  readonly full: number
}

const of = (
  batch: number,
  oneDevice: number,
  parts: readonly [number, number, number, number],
  full: number,
): BoardsResult => {
  const [compute, staging, network, total] = parts
  return { batch, oneDevice, means: { compute, staging, network, total }, full }
}

export const BOARDS: readonly BoardsResult[] = [
  of(1, 80.6, [123.0, 26.5, 18.6, 168.1], 351),
  of(2, 141.3, [140.2, 29.8, 26.4, 196.4], 497.5),
  of(4, 249.8, [179.5, 34.4, 39.0, 252.9], 806),
  of(8, 485.0, [272.0, 52.3, 90.4, 414.7], 1288),
  of(16, 946.0, [494.0, 86.7, 124.0, 704.7], 2274.5),
  of(32, 1864.8, [936.1, 182.0, 221.7, 1339.8], 3843),
]

export const BOARDS_NAME = 'two Jetson Orin Nano (arXiv 2605.25682)'
