/** The packed packages in every runtime and bundler: `npm run test:packed`. */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/packed/**/*.test.ts'],
    setupFiles: ['test/setup.ts'],
    testTimeout: 180_000,
    hookTimeout: 180_000,
    pool: 'forks',
    maxWorkers: 1,
  },
})
