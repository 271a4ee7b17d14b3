import fc from 'fast-check'
import { expect, test } from 'vitest'
import { base64url, fromBase64url, hex, randomId } from './bytes-as-text.js'

test('bytes are the text that Node makes of them, and come back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), bytes => {
      expect(base64url(bytes)).toBe(Buffer.from(bytes).toString('base64url'))
      expect(hex(bytes)).toBe(Buffer.from(bytes).toString('hex'))
      expect(fromBase64url(base64url(bytes))).toEqual(bytes)
    }),
  )
})

test.each(['A', 'AAAAA', 'AA=', 'AA+/', 'A A', 'äÄöÖ'])('%s is no base64url', text => {
  expect(fromBase64url(text)).toBeUndefined()
})

test('random ids are 32 hexadecimal digits, each another', () => {
  const ids = Array.from({ length: 100 }, randomId)
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/)
  expect(new Set(ids).size).toBe(ids.length)
})
