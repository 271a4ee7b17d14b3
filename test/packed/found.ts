/** What a run of the check says of a runtime, as the table wants it. */
import { execFileSync } from 'node:child_process'
import type { CheckedWay, CheckResult } from './check.js'
import type { Found, RuntimeRecord } from './results.js'
import { RUNTIMES, type Runtime } from './runtimes.js'

/** The columns that the check fills. */
export function foundBy({
  capabilities,
  results,
  lacks,
}: CheckResult): Pick<RuntimeRecord, 'simd' | 'relaxedSimd' | 'threads' | 'messagePort'> {
  const way = (way: CheckedWay): Found => {
    const some = results.filter(r => r.way === way)
    if (some.length === 0) return { works: false, note: lacks[way]?.replace(/^threads: one, as /, '') ?? 'not there' }
    return { works: some.every(r => r.failure === undefined) }
  }
  const [relaxed, plain] = (['relaxed-simd', 'simd'] as const).map(build =>
    results
      .find(r => r.build === build)
      ?.numericsClass.split('/')
      .at(-1),
  )
  return {
    simd: { works: capabilities.simd !== 'none' },
    relaxedSimd: {
      works: relaxed !== undefined,
      ...(relaxed !== undefined && relaxed === plain && { note: 'not fused: bits of plain SIMD' }),
    },
    threads: way('threads'),
    messagePort: way('message-port'),
  }
}

/** What a runtime says its version is. */
export function versionOf(runtime: Runtime): string {
  const said = execFileSync(RUNTIMES[runtime], ['--version'], { encoding: 'utf8' })
  return /\d+([.-]\d+)+/.exec(said)?.[0] ?? said.trim()
}
