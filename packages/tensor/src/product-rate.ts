/** How fast an engine multiplies. */
import type { Engine } from './engine.js'
import { matmul } from './operations.js'

const MEASURED_MS = 100
/** Where a clock stands still while something computes, as workerd's does. */
const MOST_ROUNDS = 200

/** The rate of an f32 matrix product that fits the cache, best of several in a tenth of a second, in GF/s; 0 where the clock does not tell. */
export function productRate(engine: Engine): number {
  const [m, k, n] = [96, 256, 256]
  const scope = engine.scope()
  try {
    const a = scope.tensor(new Float32Array(m * k).fill(0.5), [m, k])
    const b = scope.tensor(new Float32Array(k * n).fill(0.5), [k, n])
    let best = 0
    const until = performance.now() + MEASURED_MS
    for (let round = 0; round < MOST_ROUNDS && performance.now() < until; round++) {
      const started = performance.now()
      for (let i = 0; i < 5; i++) matmul(a, b).dispose()
      const took = performance.now() - started
      if (took > 0) best = Math.max(best, (5 * 2 * m * k * n) / took / 1e6)
    }
    return best
  } finally {
    scope.dispose()
  }
}
