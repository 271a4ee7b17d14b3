/** Data that evaluations are tried on. */
import { randomFrom } from '../random.js'

/** Pictures of noise on a coloured ground in CIFAR-10's layout; their labels follow from nothing. */
export function cifarFile(count: number): Uint8Array {
  const random = randomFrom(7)
  const records = Array.from({ length: count }, (_, i) => {
    const ground = [random(), random(), random()]
    return Uint8Array.from({ length: 3073 }, (_, b) => {
      if (b === 0) return i % 10
      return 255 * (0.6 * ground[Math.floor((b - 1) / 1024)]! + 0.4 * random())
    })
  })
  return new Uint8Array(records.flatMap(r => [...r]))
}

const PEOPLE = 'Abram Esau Jacob Rachel Leah Laban Joseph Judah Reuben Simeon Dan Asher'.split(' ')

/** Sentences of names, enough for a question about one of them. */
export const TEXT = Array.from({ length: 24 }, (_, i) => {
  const [a, b] = [PEOPLE[i % 12], PEOPLE[(5 * i + 3) % 12]]
  return i % 2 === 0 ? `And the sons of ${a} went to ${b} in the land.` : `Now ${a} said unto ${b}, Go.`
}).join(' ')
