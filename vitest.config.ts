/**
 * Tests import packages as users do, built; unit tests beside a source import that source. Worker scripts and wasm are
 * then the real files. `npm test` builds first.
 */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'weights-tools/src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: ['test/packed/**', 'node_modules/**'],
    setupFiles: ['test/setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // By default one core stays free; most of these wait for processes and sockets.
    maxWorkers: 2,
  },
})
