/** Whether memory will suffice, found out before anything is read or computed. */
import { type Engine, MAX_MEMORY_BYTES, MemoryError, rehearsalEngine } from '@prismal/tensor'
import type { StoredTensor } from './weights/safetensors.js'

/** How weights may lie in memory. */
export interface Precision {
  readonly name: string
  /** Bytes of an element of a matrix (any tensor of two or more dimensions). */
  readonly bytesPerWeight: number
  /** Bytes beside each row of a stored matrix: scales and sums. */
  readonly bytesPerRow: number
}
/** From the most exact to the smallest. */
export const PRECISIONS: readonly Precision[] = [
  { name: 'f32', bytesPerWeight: 4, bytesPerRow: 0 },
  { name: 'f16', bytesPerWeight: 2, bytesPerRow: 0 },
  { name: 'q8', bytesPerWeight: 1, bytesPerRow: 8 },
]

/** Bytes of weights at a precision, but for padding; biases and gains stay f32. */
export function weightBytes(
  tensors: readonly { readonly shape: readonly number[] }[],
  { bytesPerWeight, bytesPerRow }: Omit<Precision, 'name'>,
): number {
  return tensors.reduce((sum, { shape }) => {
    const elements = shape.reduce((a, b) => a * b, 1)
    const isMatrix = shape.filter(n => n > 1).length > 1
    return sum + (isMatrix ? elements * bytesPerWeight + (shape[0] as number) * bytesPerRow : elements * 4)
  }, 0)
}

/** Weights of which nobody sets a limit are rehearsed only where they come near wasm's 4 GiB. */
const LARGE_BYTES = 2 ** 30

/**
 * Rehearses loading on an engine that counts. Throws {@link MemoryError}, saying by how much and which precision would
 * fit, where the engine's limit or wasm's 4 GiB will not suffice.
 */
export async function checkRoomToLoad(
  engine: Engine,
  headers: readonly StoredTensor[],
  location: string,
  load: (rehearsal: Engine) => Promise<unknown>,
): Promise<void> {
  const { limitBytes, state } = engine.arena
  const isSmall = limitBytes === Number.POSITIVE_INFINITY && weightBytes(headers, F32) < LARGE_BYTES
  if (engine.rehearses || isSmall) return
  const rehearsal = rehearsalEngine({ of: engine, from: state })
  await load(rehearsal)
  const { peakBytes, memory } = rehearsal.arena
  rehearsal.dispose()
  const short = shortage(engine, peakBytes, memory.bytes)
  if (!short) return
  const smaller = OTHERS.map(p => ({ name: p.name, bytes: short.need - saved(headers, p) }))
  const fits = smaller.find(({ bytes }) => bytes <= short.limit)
  const advice = fits
    ? `as ${fits.name} it would take about ${fits.bytes}`
    : `no precision fits (${smaller.map(({ name, bytes }) => `${name} takes about ${bytes}`).join(', ')})`
  throw new MemoryError(`${location}: loading it as f32 ${short.message}; ${advice}`, short.missing)
}

/** Throws {@link MemoryError}, saying by how much, where a request that needs `peakBytes` cannot fit its engine. */
export function checkRoom(engine: Engine, need: { readonly peakBytes: number; readonly processBytes: number }): void {
  const short = shortage(engine, need.peakBytes, need.processBytes)
  if (short) throw new MemoryError(`the request, weights included, ${short.message}`, short.missing)
}

const [F32, ...OTHERS] = PRECISIONS as readonly [Precision, ...Precision[]]
/** Bytes that weights take less than in f32. */
const saved = (headers: readonly StoredTensor[], precision: Precision): number =>
  weightBytes(headers, F32) - weightBytes(headers, precision)

function shortage(engine: Engine, peakBytes: number, memoryBytes: number) {
  const { limitBytes } = engine.arena
  const isLimited = peakBytes > limitBytes
  if (!isLimited && memoryBytes <= MAX_MEMORY_BYTES) return undefined
  const [need, limit, what] = isLimited
    ? ([peakBytes, limitBytes, 'the memory limit of'] as const)
    : ([memoryBytes, MAX_MEMORY_BYTES, "wasm's 4 GiB allow:"] as const)
  const message = `needs ${need} bytes, ${need - limit} more than ${what} ${limit}`
  return { need, limit, missing: need - limit, message }
}
