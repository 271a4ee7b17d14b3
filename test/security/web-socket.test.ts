/** The same over real sockets: somebody between two machines, sockets that trickle, and what a worker writes about them. */
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { type Connection, handshake, Secret } from '@prismal/distribute'
import { transport } from '@prismal/distribute/transports/web-socket'
import { readSecretFile } from 'prismal/distribute'
import { afterEach, describe, expect, test } from 'vitest'
import { encodeHello } from '../../packages/distribute/src/hello.js'
import { startWorker } from '../network/worker-process.js'
import { prismal } from '../prismal-command.js'
import { temporaryFolder } from '../temporary-folder.js'
import { Adversary, collect, contains, meet, outcome, outcomes, type Rule } from './adversary.js'

const secret = Secret.create()
const text = (words: string): Uint8Array => new TextEncoder().encode(words)

const endings: (() => unknown)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

/** A listener, and what connects to it in order. */
async function listening(): Promise<{ readonly address: string; next(): Promise<Connection> }> {
  const arrived: Connection[] = []
  let wanted: ((connection: Connection) => void) | undefined
  const listener = await transport.listen('ws://127.0.0.1:0', ({ connection }) => {
    if (wanted) wanted(connection)
    else arrived.push(connection)
    wanted = undefined
  })
  endings.push(() => listener.close())
  return {
    address: listener.address,
    next: () =>
      new Promise(resolve => {
        const connection = arrived.shift()
        if (connection) resolve(connection)
        else wanted = resolve
      }),
  }
}

/** A dialer that dials somebody who dials the listener. */
async function between(rule: Rule = () => undefined): Promise<Adversary> {
  const [device, proxy] = [await listening(), await listening()]
  const dialer = [await transport.dial(proxy.address), await proxy.next()] as const
  const dialled = await transport.dial(device.address)
  return new Adversary(rule, { dialer, listener: [await device.next(), dialled] })
}

/** A socket that has asked for a web-socket's upgrade, and the answer. */
async function asking(address: string, headers: Readonly<Record<string, string>>): Promise<[Socket, string]> {
  const { hostname, port, host } = new URL(address)
  const socket = connect(Number(port), hostname)
  endings.push(() => socket.destroy())
  socket.on('error', () => {})
  const all = { Host: host, Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', ...headers }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`GET / HTTP/1.1\r\n${lines.join('')}\r\n`)
  return [socket, await new Promise(resolve => socket.once('data', data => resolve(String(data))))]
}
const KEY = { 'Sec-WebSocket-Key': Buffer.alloc(16).toString('base64') }

/** A socket with an upgrade behind it, which then may send any bytes. */
const upgraded = async (address: string): Promise<Socket> => (await asking(address, KEY))[0]
/** A masked web-socket frame of bytes, its mask zero. */
const frameOf = (bytes: Uint8Array): Buffer => {
  const header = bytes.length < 126 ? [0x82, 0x80 | bytes.length] : [0x82, 0xfe, bytes.length >> 8, bytes.length & 255]
  return Buffer.from([...header, 0, 0, 0, 0, ...bytes])
}
const aHello = encodeHello({
  side: 'dialer',
  hasSecret: true,
  versions: [1],
  nonce: new Uint8Array(32).fill(3),
  publicKey: new Uint8Array(32).fill(9),
})

describe('between two machines', () => {
  test('somebody who passes all on sees nothing and may go on', async () => {
    const middle = await between()
    const { dialer, listener } = await meet(middle, { secret })
    const [there, here] = [collect(listener), collect(dialer)]
    const long = new Uint8Array(3_000_000)
    for (let i = 0; i < long.length; i++) long[i] = i % 251
    await Promise.all([
      dialer.send(text('a sentence for the listener')),
      dialer.send(long),
      listener.send(text('and back')),
    ])
    await Promise.all([there.count(2), here.count(1)])
    expect(there.got[0]).toEqual(text('a sentence for the listener'))
    expect(Buffer.compare(there.got[1] as Uint8Array, long)).toBe(0)
    expect(here.got).toEqual([text('and back')])
    for (const { message } of middle.seen)
      for (const hidden of [text('sentence'), text('and back'), long.subarray(0, 16), secret.bytesForThread()])
        expect(contains(message, hidden)).toBe(false)
    dialer.close('enough')
    expect(await listener.closed).toBe('enough')
  })

  test('somebody who changes a byte ends the connection on both sides', async () => {
    for (const change of ['header', 'body'] as const) {
      const middle = await between((packet, from, number) => {
        if (from !== 'dialer' || number !== 3) return undefined
        const at = change === 'header' ? 8 : packet.length - 1
        packet[at] = (packet[at] as number) ^ 1
        return [packet]
      })
      const { dialer, listener } = await meet(middle, { secret })
      const there = collect(listener)
      await dialer.send(text('first'))
      await there.count(1)
      await dialer.send(text('second'))
      expect(await listener.closed).toMatch(/packet 1 does not open/)
      await dialer.closed
      await expect(dialer.send(text('third'))).rejects.toThrow('the connection is closed')
      expect(there.got).toEqual([text('first')])
    }
  })

  test('two secrets that differ, or a missing one, are told on both sides', async () => {
    const differ = expect.stringMatching(/^handshake: the secrets differ/)
    expect(await outcomes(await between(), { secret }, { secret: Secret.create() })).toEqual({
      dialer: differ,
      listener: differ,
    })
    expect(await outcomes(await between(), { secret }, {})).toEqual({
      dialer: expect.stringContaining('this side has a secret and the other has none'),
      listener: expect.stringContaining('the other side has a secret and this one has none'),
    })
  })
})

describe('a socket that', () => {
  test('trickles a hello is ended within the time of a handshake', async () => {
    const device = await listening()
    const socket = await upgraded(device.address)
    const connection = await device.next()
    // A byte at a time, and one more than ever comes within the time.
    const bytes = frameOf(new Uint8Array(4000))
    let at = 0
    const trickle = setInterval(() => socket.write(bytes.subarray(at, ++at)), 5)
    endings.push(() => clearInterval(trickle))
    const gone = new Promise(resolve => socket.once('close', resolve))
    expect(await outcome(handshake(connection, 'listener', { secret, handshakeMs: 500 }))).toBe(
      'handshake: a hello did not come within 500 ms',
    )
    await gone
    expect(at).toBeGreaterThan(1)
    expect(at).toBeLessThan(bytes.length)
  })

  test('says hello and then only pings is ended too', async () => {
    const device = await listening()
    const socket = await upgraded(device.address)
    const connection = await device.next()
    socket.write(frameOf(aHello))
    const ping = setInterval(() => socket.write(Buffer.from([0x89, 0x80, 0, 0, 0, 0])), 5)
    endings.push(() => clearInterval(ping))
    const gone = new Promise(resolve => socket.once('close', resolve))
    expect(await outcome(handshake(connection, 'listener', { secret, handshakeMs: 500 }))).toBe(
      'handshake: a proof did not come within 500 ms',
    )
    await gone
  })

  test.each([{}, { 'Sec-WebSocket-Key': 'short' }, { ...KEY, 'Sec-WebSocket-Version': '7' }])(
    'asks for an upgrade that is none is answered and ended: %o',
    async headers => {
      const device = await listening()
      const [socket, answer] = await asking(device.address, headers)
      expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
      await new Promise(resolve => socket.resume().once('close', resolve))
      await upgraded(device.address)
      await device.next()
    },
  )

  test('sends a hello that is too long is refused', async () => {
    const device = await listening()
    const socket = await upgraded(device.address)
    socket.write(frameOf(new Uint8Array(5000)))
    expect(await outcome(handshake(await device.next(), 'listener', { secret }))).toBe(
      'handshake: a hello of 5000 bytes (at most 4096): refused',
    )
  })
})

describe('a worker with a secret', () => {
  test('writes about all who were refused, and nothing of the secret', async () => {
    const file = join(temporaryFolder(), 'secret')
    await prismal('secret', '--out', file)
    const shared = await readSecretFile(file)
    const worker = await startWorker('--model', 'models/vit-cifar10', '--secret-file', file)
    const refusals = {
      'the other has none': () => dial({}),
      'the secrets differ': () => dial({ secret: Secret.create() }),
      'protocol version': () => dial({ secret: shared, versions: [77] }),
      'does not speak this protocol': async () => {
        const connection = await transport.dial(worker.address)
        await connection.send(text('hello there'))
        await connection.closed
      },
      'a hello of 5000 bytes': async () => {
        const connection = await transport.dial(worker.address)
        await connection.send(new Uint8Array(5000))
        await connection.closed
      },
    }
    const dial = async (options: Parameters<typeof handshake>[2]): Promise<void> =>
      void (await outcome(handshake(await transport.dial(worker.address), 'dialer', options)))
    for (const [reason, attempt] of Object.entries(refusals)) {
      await attempt()
      await worker.until(new RegExp(`refused 127\\.0\\.0\\.1:\\d+: .*${reason}`))
    }
    // It serves on: who has the secret is let in.
    expect(await outcome(handshake(await transport.dial(worker.address), 'dialer', { secret: shared }))).toBe('agreed')
    const { out, err } = await worker.end()
    const bytes = Buffer.from(shared.bytesForThread())
    for (const form of [shared.reveal().slice(17), bytes.toString('hex'), bytes.toString('base64')])
      for (let i = 0; i + 8 <= form.length; i++) expect(out + err).not.toContain(form.slice(i, i + 8))
  })
})
