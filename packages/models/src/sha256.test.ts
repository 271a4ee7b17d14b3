import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { digestOf, sha256 } from './sha256.js'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

it('is what the runtime has, by hand too', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async bytes => {
      const here = Uint8Array.from(bytes)
      const expected = createHash('sha256').update(here).digest('hex')
      expect([await sha256(here), hex(digestOf(here))]).toEqual([expected, expected])
    }),
  )
})
