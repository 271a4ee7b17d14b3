/** Damage: bytes, lists of messages and JSON changed at random, from a seed. */

export type Random = () => number

const below = (random: Random, count: number): number => Math.floor(random() * count)
export const pick = <T>(random: Random, from: readonly T[]): T => from[below(random, from.length)] as T

const BYTES = [0, 1, 2, 0x20, 0x50, 0x7b, 0x7f, 0x80, 0xfe, 0xff]

/** A copy that differs in a bit, a byte, a number, its length, or a stretch taken from `other`. */
export function damaged(random: Random, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  const at = below(random, Math.max(1, copy.length))
  const near = below(random, Math.max(1, Math.min(copy.length, 36))) // where the headers are
  switch (below(random, 9)) {
    case 0:
      copy[at] = (copy[at] ?? 0) ^ (1 << below(random, 8))
      return copy
    case 1:
      copy[near] = (copy[near] ?? 0) ^ (1 << below(random, 8))
      return copy
    case 2:
      copy[near] = pick(random, BYTES)
      return copy
    case 3:
    case 4: {
      const field = near & ~3
      if (field + 4 > copy.length) return copy.subarray(0, at)
      const numbers = [0, 1, copy.length, copy.length - 24, copy.length + 1, 0x7fffffff, 0x80000000, 0xffffffff]
      new DataView(copy.buffer).setUint32(field, pick(random, numbers), true)
      return copy
    }
    case 5:
      return copy.subarray(0, at)
    case 6: {
      const longer = new Uint8Array(copy.length + 1 + below(random, 40))
      longer.set(copy)
      return longer
    }
    case 7: {
      const from = below(random, other.length + 1)
      const stretch = other.subarray(from, from + below(random, copy.length - at + 1))
      copy.set(stretch, at)
      return copy
    }
    default:
      return Uint8Array.from([...copy.subarray(0, near), ...copy.subarray(near + 1 + below(random, 8))])
  }
}

/** The messages with one of them dropped, repeated or moved. */
export function shuffled<T>(random: Random, messages: readonly T[]): T[] {
  const list = [...messages]
  if (list.length === 0) return list
  const at = below(random, list.length)
  const to = below(random, list.length + 1)
  const kind = below(random, 3)
  const [one] = kind === 2 ? [list[at] as T] : list.splice(at, 1)
  if (kind > 0) list.splice(to, 0, one as T)
  return list
}

const VALUES: readonly unknown[] = [
  ...[null, true, '', 'rows', 'tokens', -1, 0, 1, 2, 0.5, 63, 1e6, 2 ** 31, 2 ** 32, 2 ** 53, -1e308, 1e308],
  ...[[], {}, [[]], [0], [-1], [null], { length: 9 }, 'x'.repeat(300), new Array(300).fill(0)],
  JSON.parse('{"__proto__":{"rows":[1]}}'),
]

/** The JSON value with one part of it, at any depth, replaced, left out or repeated. */
export function damagedJson(random: Random, value: unknown): unknown {
  const keys = typeof value === 'object' && value !== null ? Object.keys(value) : []
  if (keys.length === 0 || random() < 0.1) return pick(random, VALUES)
  const copy: Record<string, unknown> | unknown[] = Array.isArray(value) ? [...value] : { ...(value as object) }
  const fields = copy as Record<string, unknown>
  const key = pick(random, keys)
  if (random() < 0.15) {
    if (Array.isArray(copy)) copy.splice(Number(key), 1)
    else delete fields[key]
  } else if (Array.isArray(copy) && random() < 0.1) copy.push(copy[Number(key)])
  else fields[key] = damagedJson(random, fields[key])
  return copy
}
