/** How far two arrays are apart. */

/**
 * max|got − want| / max|want|; infinite where the lengths differ or a value is not a number. Where terms may cancel,
 * `scale` is what they amount to: the error is then taken of that, if it is larger than max|want|.
 */
export function distance(got: ArrayLike<number>, want: ArrayLike<number>, scale = 0): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY
  let largest = scale
  let error = 0
  for (let i = 0; i < want.length; i++) {
    largest = Math.max(largest, Math.abs(want[i] as number))
    const difference = Math.abs((got[i] as number) - (want[i] as number))
    error = Math.max(error, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference)
  }
  return error === 0 ? 0 : error / largest
}

/** max|x| */
export const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0)

/** Cosine of the angle between two vectors. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const dot = (x: ArrayLike<number>, y: ArrayLike<number>): number =>
    Array.from(x).reduce((sum, value, i) => sum + value * (y[i] as number), 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}

/** The bits of f32 values, for results that must be the same to the last one. */
export const bits = (values: Float32Array): number[] => [...new Uint32Array(values.slice().buffer)]
