/** Whether memory will suffice, found out before anything is read or computed. */
import {
  type Engine,
  MAX_MEMORY_BYTES,
  MemoryError,
  PRECISIONS,
  type Precision,
  rehearsalEngine,
} from '@prismal/tensor'
import type { StoredTensor } from './weights/safetensors.js'

/** Bytes of weights in f32: what they take at most. */
export const floatBytes = (tensors: readonly { readonly shape: readonly number[] }[]): number =>
  tensors.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0)

/** Weights of which nobody sets a limit are rehearsed only where they come near wasm's 4 GiB. */
const LARGE_BYTES = 2 ** 30

/**
 * Rehearses loading on an engine that counts. Throws {@link MemoryError}, saying by how much and which smaller precision
 * would fit, where the engine's limit or wasm's 4 GiB will not suffice.
 */
export async function checkRoomToLoad(
  engine: Engine,
  headers: readonly StoredTensor[],
  precision: Precision,
  location: string,
  load: (rehearsal: Engine, precision: Precision) => Promise<unknown>,
): Promise<void> {
  const { limitBytes, state } = engine.arena
  const isSmall = limitBytes === Number.POSITIVE_INFINITY && floatBytes(headers) < LARGE_BYTES
  if (engine.rehearses || isSmall) return
  const shortageOf = async (tried: Precision) => {
    const rehearsal = rehearsalEngine({ of: engine, from: state })
    await load(rehearsal, tried)
    const { peakBytes, memory } = rehearsal.arena
    rehearsal.dispose()
    return { peakBytes, short: shortage(engine, peakBytes, memory.bytes) }
  }
  const { short } = await shortageOf(precision)
  if (!short) return
  const taken: string[] = []
  for (const smaller of PRECISIONS.slice(PRECISIONS.indexOf(precision) + 1)) {
    const { peakBytes, short: still } = await shortageOf(smaller)
    if (!still)
      throw new MemoryError(
        `${location}: loading it as ${precision} ${short.message}; as ${smaller} it fits, with ${peakBytes}`,
        short.missing,
      )
    taken.push(`${smaller} takes ${peakBytes}`)
  }
  const others = taken.length > 0 ? ` (${taken.join(', ')})` : ''
  throw new MemoryError(
    `${location}: loading it as ${precision} ${short.message}; no smaller precision fits${others}`,
    short.missing,
  )
}

/** Throws {@link MemoryError}, saying by how much, where a request that needs `peakBytes` cannot fit its engine. */
export function checkRoom(engine: Engine, need: { readonly peakBytes: number; readonly processBytes: number }): void {
  const short = shortage(engine, need.peakBytes, need.processBytes)
  if (short) throw new MemoryError(`the request, weights included, ${short.message}`, short.missing)
}

function shortage(engine: Engine, peakBytes: number, memoryBytes: number) {
  const { limitBytes } = engine.arena
  const isLimited = peakBytes > limitBytes
  if (!isLimited && memoryBytes <= MAX_MEMORY_BYTES) return undefined
  const [need, limit, what] = isLimited
    ? ([peakBytes, limitBytes, 'the memory limit of'] as const)
    : ([memoryBytes, MAX_MEMORY_BYTES, "wasm's 4 GiB allow:"] as const)
  const message = `needs ${need} bytes, ${need - limit} more than ${what} ${limit}`
  return { missing: need - limit, message }
}
