/** Every mutation still finds what it changes. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { MUTATIONS } from './mutations.js'
import { NATS_MUTATIONS } from './nats.js'
import { SECURITY_MUTATIONS } from './security.js'

const all = [...MUTATIONS, ...SECURITY_MUTATIONS, ...NATS_MUTATIONS]

test.each(all.map(m => [m.name, m] as const))('%s', (_, { edits }) => {
  for (const { file, find, replace } of edits) {
    expect(readFileSync(file, 'utf8'), file).toContain(find)
    expect(replace).not.toBe(find)
  }
})
