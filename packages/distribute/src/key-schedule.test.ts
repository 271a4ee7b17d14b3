/** The example in WIRE.md, recomputed from its keys, and read as the other side would. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { aesGcm, syncCipher, webCipher } from './aes-gcm.js'
import { decodeHello, decodeProof, encodeHello, encodeProof, type Side } from './hello.js'
import { ephemeralFrom, epochOf, isProofOf, proofOf, sessionOf, transcriptOf } from './key-schedule.js'
import { PACKET_HEADER_BYTES, readHeader, writeHeader } from './packets.js'
import { Secret } from './secret.js'

type Bytes = Uint8Array<ArrayBuffer>
const SIDES: readonly Side[] = ['dialer', 'listener']

/** Values by name: a line begins with a name, or goes on with the value before. */
const example = (): ((name: string) => Bytes) => {
  const wire = readFileSync(new URL('../WIRE.md', import.meta.url), 'utf8')
  const values = new Map<string, string>()
  let name = ''
  for (const line of (/```handshake\n([\s\S]*?)```/.exec(wire)?.[1] ?? '').trim().split('\n')) {
    const [, start = '', hex = ''] = /^(.*?)\s+([0-9a-f]+)$/.exec(line) ?? []
    name = start || name
    values.set(name, (values.get(name) ?? '') + hex)
  }
  return wanted => {
    expect([...values.keys()]).toContain(wanted)
    return new Uint8Array(Buffer.from(values.get(wanted) as string, 'hex'))
  }
}

/** X25519 keys from 32 bytes, by way of PKCS #8 (RFC 8410). */
async function keysOf(privateKey: Bytes) {
  const pkcs8 = Uint8Array.from([...Buffer.from('302e020100300506032b656e04220420', 'hex'), ...privateKey])
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, { name: 'X25519' }, true, ['deriveBits'])
  const { x = '' } = await crypto.subtle.exportKey('jwk', key)
  const raw = new Uint8Array(Buffer.from(x, 'base64url'))
  const publicKey = await crypto.subtle.importKey('raw', raw, { name: 'X25519' }, true, [])
  return ephemeralFrom({ privateKey: key, publicKey })
}

test('the example follows from its keys', async () => {
  const value = example()
  const [dialer, listener] = [
    await keysOf(value("dialer's private key")),
    await keysOf(value("listener's private key")),
  ]
  const hellos = SIDES.map(side => decodeHello(value(`${side}'s hello`), side))
  const [helloOfDialer, helloOfListener] = hellos
  expect(helloOfDialer).toMatchObject({ hasSecret: true, versions: [1], publicKey: dialer.publicKey })
  expect(helloOfListener).toMatchObject({ hasSecret: true, versions: [1], publicKey: listener.publicKey })
  for (const hello of hellos) expect(encodeHello(hello)).toEqual(value(`${hello.side}'s hello`))

  const shared = await dialer.sharedWith(listener.publicKey)
  expect(shared).toEqual(value('shared key'))
  expect(await listener.sharedWith(dialer.publicKey)).toEqual(shared)
  const transcript = await transcriptOf(value("dialer's hello"), value("listener's hello"))
  expect(transcript).toEqual(value('transcript'))

  const secret = Secret.fromBytes(value('secret')).bytesForThread()
  const session = await sessionOf(shared, secret, transcript)
  for (const side of SIDES) {
    const proof = await proofOf(session, side)
    expect(encodeProof(side, proof)).toEqual(value(`${side}'s proof`))
    expect(await isProofOf(session, side, decodeProof(value(`${side}'s proof`), side))).toBe(true)
    expect(session.traffic[side]).toEqual(value(`${side}'s traffic secret`))
  }
  const epoch = await epochOf(session.traffic.dialer)
  expect(epoch).toEqual({
    key: value('AES key'),
    nonce: value('nonce of packet 0'),
    next: value('next traffic secret'),
  })
})

test.each([
  ['web', webCipher],
  ['node', syncCipher()],
])("the example's packets are sealed and opened by %s", async (_, cipher) => {
  const value = example()
  const [dialers, listeners] = SIDES.map(side => value(`${side}'s traffic secret`)) as [Bytes, Bytes]
  const options = cipher ? { cipher } : {}
  const a = await aesGcm({ sending: dialers, receiving: listeners, ...options })
  const z = await aesGcm({ sending: listeners, receiving: dialers, ...options })
  const body = new TextEncoder().encode('prism')
  for (const number of [0, 1]) {
    const packet = value(`packet ${number}`)
    const header = new Uint8Array(PACKET_HEADER_BYTES)
    writeHeader(header, { kind: 'data', last: true, number, taken: 0 })
    expect(Buffer.concat([header, await a.seal(header, body)])).toEqual(Buffer.from(packet))
    expect(readHeader(packet, a.overheadBytes)).toEqual({ kind: 'data', last: true, number, taken: 0 })
    expect(await z.open(header, packet.subarray(PACKET_HEADER_BYTES))).toEqual(body)
  }
})

test('the number of a packet changes its nonce as the example shows', () => {
  const value = example()
  const [zero, one] = [value('nonce of packet 0'), value('nonce of packet 1')]
  expect([...one].map((byte, i) => byte ^ (zero[i] as number))).toEqual([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
})
