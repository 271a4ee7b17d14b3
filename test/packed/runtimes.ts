/** Where the runtimes are that the packed packages run in: `npm ci --prefix test/packed` installs them, Debian has the browsers. */
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const installed = fileURLToPath(new URL('node_modules', import.meta.url))

/** Programs that run JavaScript, by the names that tables give them. */
export const RUNTIMES = {
  'Node 20': join(installed, 'node-20/bin/node'),
  'Node 22': join(installed, 'node-22/bin/node'),
  'Node 24': join(installed, 'node-24/bin/node'),
  'Node 26': join(installed, 'node-26/bin/node'),
  Deno: join(installed, '@deno/linux-x64-glibc/deno'),
  Bun: join(installed, '@oven/bun-linux-x64/bin/bun'),
  workerd: join(installed, '@cloudflare/workerd-linux-64/bin/workerd'),
  Chromium: process.env.PRISMAL_CHROMIUM ?? '/usr/bin/chromium',
  Firefox: process.env.PRISMAL_FIREFOX ?? '/usr/bin/firefox-esr',
} as const

export type Runtime = keyof typeof RUNTIMES

/** What a suite needs and this machine lacks; under CI a lack is a failure. */
export function isThere(runtime: Runtime): boolean {
  try {
    accessSync(RUNTIMES[runtime], constants.X_OK)
    return true
  } catch {
    const lack = `${runtime} is missing (${RUNTIMES[runtime]}): CONTRIBUTING.md tells how to install it`
    if (process.env.CI) throw new Error(lack)
    console.warn(`skipped: ${lack}`)
    return false
  }
}
