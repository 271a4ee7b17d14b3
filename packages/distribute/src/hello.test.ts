/** Messages of the handshake: what is written is read, and of anything else a typed error says what is wrong. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import { HandshakeError } from './errors.js'
import { decodeHello, decodeProof, encodeHello, encodeProof, type Hello, otherSide } from './hello.js'

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const sides = fc.constantFrom('dialer' as const, 'listener' as const)
const hellos: fc.Arbitrary<Hello> = fc.record({
  side: sides,
  hasSecret: fc.boolean(),
  versions: fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 1, maxLength: 255 }),
  nonce: bytes32,
  publicKey: bytes32,
})

describe('messages of the handshake', () => {
  test('come back as they were sent', () => {
    fc.assert(
      fc.property(hellos, bytes32, (hello, proof) => {
        expect(decodeHello(encodeHello(hello), hello.side)).toEqual(hello)
        expect(decodeProof(encodeProof(hello.side, proof), hello.side)).toEqual(proof)
        expect(() => decodeHello(encodeHello(hello), otherSide(hello.side))).toThrow(HandshakeError)
        expect(() => decodeProof(encodeProof(hello.side, proof), otherSide(hello.side))).toThrow(HandshakeError)
        expect(() => decodeProof(encodeHello(hello), hello.side)).toThrow('a proof was to come')
        expect(() => decodeHello(encodeProof(hello.side, proof), hello.side)).toThrow('a hello was to come')
      }),
      { numRuns: RUNS },
    )
  })

  test('may be followed by what a later version adds', () => {
    fc.assert(
      fc.property(hellos, fc.uint8Array({ maxLength: 1000 }), (hello, more) => {
        expect(decodeHello(Uint8Array.from([...encodeHello(hello), ...more]), hello.side)).toEqual(hello)
      }),
      { numRuns: RUNS },
    )
  })

  test('cut anywhere, or with any other start, are refused', () => {
    fc.assert(
      fc.property(hellos, fc.nat(), fc.nat(5), fc.integer({ min: 1, max: 255 }), (hello, at, place, flip) => {
        const whole = encodeHello(hello)
        expect(() => decodeHello(whole.slice(0, at % whole.length), hello.side)).toThrow(HandshakeError)
        const proof = encodeProof(hello.side, hello.nonce)
        expect(() => decodeProof(proof.slice(0, at % proof.length), hello.side)).toThrow(HandshakeError)
        expect(() => decodeProof(Uint8Array.from([...proof, 0]), hello.side)).toThrow('40 bytes, this one 41')
        whole[place] = (whole[place] as number) ^ flip
        expect(() => decodeHello(whole, hello.side)).toThrow(HandshakeError)
      }),
      { numRuns: RUNS },
    )
  })

  test('of any bytes give a hello or a typed error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), sides, (bytes, side) => {
        const started = Uint8Array.from([0x50, 0x52, 0x53, 0x4d, 1, side === 'dialer' ? 0 : 1, ...bytes])
        for (const message of [bytes, started])
          try {
            const { versions } = decodeHello(message, side)
            expect(message.length).toBeGreaterThanOrEqual(72 + 2 * versions.length)
          } catch (error) {
            expect(error).toBeInstanceOf(HandshakeError)
          }
      }),
      { numRuns: RUNS },
    )
  })

  test('say what came instead', () => {
    const say = (bytes: Uint8Array) => {
      try {
        decodeHello(bytes, 'dialer')
        return 'read'
      } catch (error) {
        return (error as Error).message
      }
    }
    expect(say(new TextEncoder().encode('GET / HTTP/1.1'))).toBe(
      'the other side does not speak this protocol: its message begins with 47 45 54 20 2f 20 48 54 …',
    )
    expect(say(new Uint8Array(0))).toBe('the other side does not speak this protocol: it sent an empty message')
    expect(say(new Uint8Array(5000))).toBe('a hello of 5000 bytes (at most 4096): refused')
  })
})
