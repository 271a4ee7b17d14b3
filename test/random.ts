/** Random numbers that are the same in every run. */

/** Uniform in [0, 1): mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** One value, normally distributed around 0 with deviation 1. */
export function normalFrom(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

/** `count` values, normally distributed around 0 with this deviation. */
export function normals(count: number, seed: number, deviation = 1): Float32Array {
  const random = randomFrom(seed)
  return Float32Array.from({ length: count }, () => normalFrom(random) * deviation)
}
