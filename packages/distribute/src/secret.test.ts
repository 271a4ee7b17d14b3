/** Secrets: what is refused, and that nothing prints them. */
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import { HandshakeError } from './errors.js'
import { Secret } from './secret.js'

const secrets = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .filter(bytes => new Set(bytes).size >= 18 && bytes.some(byte => byte < 0x20 || byte > 0x7e))
  .map(bytes => Secret.fromBytes(bytes))

/** What reading a text says; the empty string where it is read. */
const refusal = (text: string): string => {
  try {
    Secret.parse(text)
    return ''
  } catch (error) {
    expect(error).toBeInstanceOf(HandshakeError)
    return inspect(error)
  }
}

describe('secrets', () => {
  test('are read as they were written, white space around them skipped', () => {
    fc.assert(
      fc.property(secrets, secret => {
        const text = secret.reveal()
        expect(text).toMatch(/^prismal-secret-1\.[\w-]{48}$/)
        expect(Secret.parse(`  ${text}\r\n`).bytesForThread()).toEqual(secret.bytesForThread())
      }),
      { numRuns: RUNS },
    )
  })

  test('are 32 bytes, other ones each time', () => {
    const all = Array.from({ length: 100 }, () => Secret.create())
    for (const secret of all) expect(secret.bytesForThread()).toHaveLength(32)
    expect(new Set(all.map(secret => secret.reveal())).size).toBe(100)
  })

  test('with any letter changed, left out or added are refused, without repeating them', () => {
    fc.assert(
      fc.property(secrets, fc.nat(64), fc.constantFrom('a', 'Z', '0', '-', '_', '!', 'é', ''), (secret, at, letter) => {
        const text = secret.reveal()
        const changed = text.slice(0, at) + letter + text.slice(at + 1)
        fc.pre(changed !== text)
        const message = refusal(changed)
        expect(message).not.toBe('')
        for (let i = 0; i + 8 <= 48; i++) expect(message).not.toContain(changed.slice(17).slice(i, i + 8) || '\0')
        expect(refusal(`${text.slice(0, at)}x${text.slice(at)}`)).not.toBe('')
      }),
      { numRuns: RUNS },
    )
  })

  test('that were typed are refused, each with its reason', () => {
    expect(refusal('correct horse battery staple')).toContain('begins with prismal-secret-1.')
    expect(refusal('')).toContain('begins with prismal-secret-1.')
    expect(refusal(`prismal-secret-1.${'a'.repeat(47)}`)).toContain('48 letters after prismal-secret-1., this one 47')
    expect(refusal(`prismal-secret-1.${'a'.repeat(48)}`)).toContain('checksum')
    const typed = new TextEncoder().encode('the quick brown fox jumps over a')
    expect(() => Secret.fromBytes(typed)).toThrow('its bytes are text')
    expect(() => Secret.fromBytes(new Uint8Array(32))).toThrow('only 1 of its 32 bytes are distinct')
    expect(() => Secret.fromBytes(new Uint8Array(31))).toThrow('a secret has 32 bytes, this one 31')
  })

  test('print as nothing', () => {
    const secret = Secret.create()
    const bytes = [...secret.bytesForThread()]
    const holder = { options: { secret }, error: new HandshakeError('no', { cause: secret }) }
    const printed = [
      String(secret),
      `${secret}`,
      JSON.stringify(holder),
      inspect(holder, { depth: 9, showHidden: true, getters: true }),
      JSON.stringify(structuredClone({ ...secret })),
      Object.getOwnPropertyNames(secret).join(),
    ].join('\n')
    expect(printed).toContain('[secret]')
    for (const form of [
      secret.reveal().slice(17),
      Buffer.from(bytes).toString('hex'),
      Buffer.from(bytes).toString('base64'),
      bytes.slice(0, 4).join(', '),
      bytes.slice(0, 4).join(','),
    ])
      expect(printed).not.toContain(form)
  })

  test('do not change with the bytes that they were made of, or that they gave', () => {
    const secret = Secret.create()
    const bytes = secret.bytesForThread()
    const same = Secret.fromBytes(bytes)
    bytes.fill(0)
    expect(same.reveal()).toBe(secret.reveal())
  })
})
