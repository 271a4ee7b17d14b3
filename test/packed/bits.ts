/** That runtimes agree: results of one numerics class have the same bits, whoever computed them and how. */
import type { Checked } from './check.js'

/** Computations that must not change a bit: on more threads, and in threads instead of one. */
const SAME: Readonly<Record<Checked['way'], string>> = {
  alone: 'alone',
  threads: 'alone',
  memory: 'shared',
  'message-port': 'shared',
}

/** Pairs of results that should have the same bits and do not, in words. */
export function disagreements(results: readonly (Checked & { readonly runtime: string })[]): string[] {
  const first = new Map<string, Checked & { readonly runtime: string }>()
  const found: string[] = []
  for (const result of results) {
    // The class tells the build too, but builds that fuse nothing have the same bits; their probe's digest says which.
    const [, precision, probe] = result.numericsClass.split('/')
    const kind = result.build === 'reference' ? 'reference' : 'simd'
    const key = [result.model, SAME[result.way], kind, precision, probe].join(' ')
    const before = first.get(key)
    if (!before) first.set(key, result)
    else if (before.digest !== result.digest)
      found.push(
        `${key}: ${before.runtime} (${before.build}, ${before.way}) ${before.digest}, ${result.runtime} (${result.build}, ${result.way}) ${result.digest}`,
      )
  }
  return found
}
