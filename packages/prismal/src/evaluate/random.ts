/** Random numbers that are the same in every run: sfc32 (Doty-Humphrey), which passes PractRand. */

/** Whole numbers in [0, 2³²) of one of 2³² independent streams of a seed. */
export function randomWords(seed: number, stream = 0): () => number {
  let a = seed | 0
  let b = stream | 0
  let c = 0x9e3779b9 | 0
  let counter = 1
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + sum) | 0
    return sum >>> 0
  }
  // Seeds that differ in one bit are told apart after 12 steps.
  for (let i = 0; i < 12; i++) next()
  return next
}

/** Whole numbers in [0, below), for `below` < 2²¹ without a bias that 10⁹ draws would show. */
export function below(words: () => number, count: number): number {
  return Math.floor((words() / 2 ** 32) * count)
}

/** 0 … count − 1 in random order. */
export function shuffled(count: number, seed: number): number[] {
  const words = randomWords(seed)
  const order = Array.from({ length: count }, (_, i) => i)
  for (let i = count - 1; i > 0; i--) {
    const j = below(words, i + 1)
    ;[order[i], order[j]] = [order[j] as number, order[i] as number]
  }
  return order
}
