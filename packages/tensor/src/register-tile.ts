/** Which register tile of the kernels a runtime's compiler makes fast code of. */
import { checksBounds, isWorkerd } from './runtime.js'

/** V8 12.4 (Node 22) spills a tile of five or six rows and runs slower than with four; 13.6 (Node 24) does not. */
const FIRST_V8 = 13

/** Five rows load the fewest values for what they compute: where bounds are checked, each of their loads costs a branch. */
const FEWEST_LOADS = 5

/**
 * Rows at most; 0: as many as the build has. Six where they are known to be fast, five there if bounds are checked, else
 * four, which are nowhere slow.
 */
export function preferredTileRows(): number {
  // SpiderMonkey 153: six rows are 1.05 times as fast in a product, and 1.1 times in a ViT.
  if (/Firefox\/\d/.test((globalThis as { navigator?: { userAgent?: string } }).navigator?.userAgent ?? '')) return 0
  const version = v8Version()
  if (version === undefined || version < FIRST_V8) return 4
  return checksBounds() ? FEWEST_LOADS : 0
}

/** The major version of V8, as far as the runtime tells. */
function v8Version(): number | undefined {
  const { process, navigator } = globalThis as {
    process?: { versions?: { v8?: string; bun?: string } }
    navigator?: { userAgent?: string }
  }
  // Bun tells a version of V8 that it does not run on.
  if (process?.versions?.bun) return undefined
  const own = process?.versions?.v8
  if (own) return Number.parseInt(own, 10)
  if (isWorkerd()) return Number.POSITIVE_INFINITY
  const chromium = /Chrom(?:e|ium)\/(\d+)/.exec(navigator?.userAgent ?? '')
  return chromium ? Number(chromium[1]) / 10 : undefined
}
