/** What is the nats transport's own: its server, which may be absent, go away, come back or forbid; the contract is in test/transports. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { ConnectionError } from '@prismal/distribute'
import { connectNats, natsAddress } from '@prismal/distribute/nats'
import { natsTransport } from '@prismal/distribute/transports/nats'
import { describe, expect, it } from 'vitest'
import type { Arrival, Connection } from '../../packages/distribute/src/transport.js'
import { hasNatsServer } from '../nats-server.js'
import { temporaryFolder } from '../temporary-folder.js'
import { afterwards, started } from './opened.js'

const hasOpenssl = spawnSync('openssl', ['version']).status === 0
if (!hasOpenssl) console.log('skipped: openssl is not installed, so TLS to the server is not tested')
const SUBJECT = 'prismal.test.device.a'

/** A listener that gives its arrivals one by one. */
async function listening(address: string, options = {}) {
  const arrivals: Arrival[] = []
  let wake = (): void => {}
  const listener = await natsTransport().listen(
    address,
    arrival => {
      arrivals.push(arrival)
      wake()
    },
    options,
  )
  afterwards(() => listener.close())
  const next = async (): Promise<Arrival> => {
    while (arrivals.length === 0)
      await new Promise<void>(resolve => {
        wake = resolve
      })
    return arrivals.shift() as Arrival
  }
  return { listener, next }
}

/** Resolves with the messages once there are `count`. */
const received = (connection: Connection, count: number): Promise<Uint8Array[]> =>
  new Promise(resolve => {
    const messages: Uint8Array[] = []
    connection.receive(message => {
      messages.push(message)
      if (messages.length === count) resolve(messages)
    })
  })

async function pair(url: string, subject = SUBJECT): Promise<[Connection, Connection]> {
  const { next } = await listening(natsAddress(url, subject))
  const dialled = await natsTransport().dial(natsAddress(url, subject))
  return [dialled, (await next()).connection]
}

describe.skipIf(!hasNatsServer)('the nats transport', () => {
  it('carries messages in order both ways, up to what the server takes', async () => {
    const { url } = await started()
    const [a, b] = await pair(url)
    expect(a.maxMessageBytes).toBe(1 << 20)
    const largest = new Uint8Array(a.maxMessageBytes).map((_, i) => i * 7)
    const taken = received(b, 102)
    for (let i = 0; i < 100; i++) await a.send(Uint8Array.of(i))
    await a.send(largest)
    await a.send(new Uint8Array(0))
    const messages = await taken
    expect(messages.slice(0, 100).map(m => m[0])).toEqual(Array.from({ length: 100 }, (_, i) => i))
    expect(Buffer.compare(messages[100] as Uint8Array, largest)).toBe(0)
    expect(messages[101]).toHaveLength(0)
    await expect(a.send(new Uint8Array(a.maxMessageBytes + 1))).rejects.toThrow(
      /1048577 bytes is longer than the 1048576/,
    )
    const back = received(a, 1)
    await b.send(Uint8Array.of(42))
    expect((await back)[0]).toEqual(Uint8Array.of(42))
  })

  it('takes the shorter messages of a server that is set so', async () => {
    const config = `${import.meta.dirname}/small-messages.conf`
    const { url } = await started({ flags: ['-c', config] })
    const [a] = await pair(url)
    expect(a.maxMessageBytes).toBe(65_536)
  })

  it('closes with the reason, from either side', async () => {
    const { url } = await started()
    const [a, b] = await pair(url)
    a.close('enough')
    a.close('twice')
    expect(await b.closed).toBe('enough')
    expect(await a.closed).toBe('enough')
    await expect(a.send(new Uint8Array(1))).rejects.toThrow(ConnectionError)
    const [c, d] = await pair(url, 'prismal.test.device.b')
    d.close('too')
    expect(await c.closed).toBe('too')
  })

  it('names a server that is not there, within its time', async () => {
    const address = 'nats://token-abc@127.0.0.1:9/prismal.test.device.a'
    const failed = natsTransport().dial(address, { timeoutMs: 3000 })
    await expect(failed).rejects.toThrow(/^no NATS server at nats:\/\/127\.0\.0\.1:9: .*refused/)
    await expect(failed).rejects.toThrow(ConnectionError)
    await expect(failed).rejects.not.toThrow(/token-abc/)
  })

  it('names a server that does not answer, within its time', async () => {
    const server = await started()
    server.pause()
    const failed = natsTransport().dial(natsAddress(server.url, SUBJECT), { timeoutMs: 300 })
    await expect(failed).rejects.toThrow(/no NATS server at .*: no answer within 300 ms/)
    server.resume()
  })

  it('says that nobody listens at a subject, and that an address names none', async () => {
    const { url } = await started()
    const nats = natsTransport()
    await expect(nats.dial(natsAddress(url, 'prismal.test.device.b'))).rejects.toThrow(
      /nobody listens at prismal.test.device.b/,
    )
    await expect(nats.dial(url)).rejects.toThrow(/names no device/)
    await expect(nats.dial(natsAddress(url, 'a.*.>'))).rejects.toThrow(/names no device/)
  })

  it('refuses more connections than it holds, and what is not a dial', async () => {
    const { url } = await started()
    const log: string[] = []
    const address = natsAddress(url, SUBJECT)
    const { next } = await listening(address, { maxConnections: 1, log: (m: string) => log.push(m) })
    const first = await natsTransport().dial(address)
    await next()
    await expect(natsTransport().dial(address)).rejects.toThrow(/refused: it holds its 1 connections already/)
    first.close()
    const nc = await connectNats(url)
    afterwards(() => nc.close())
    for (const [payload, why] of [
      ['hello', /not JSON/],
      ['null', /version undefined/],
      [JSON.stringify({ version: 2 }), /version 2, this side speaks 1/],
      [JSON.stringify({ version: 1, inbox: 'prismal.other', maxMessageBytes: 1e6 }), /names no inbox/],
      [JSON.stringify({ version: 1, inbox: `_INBOX.${'a'.repeat(32)}`, maxMessageBytes: -1 }), /takes no messages/],
      ['x'.repeat(2000), /2000 bytes are more than 1024/],
    ] as const)
      expect((await nc.request(SUBJECT, payload)).json<{ refused: string }>().refused).toMatch(why)
    expect(log).toHaveLength(7)
  })

  it('closes connections when the server goes away, and listens again when it is back', async () => {
    const server = await started()
    const { listener, next } = await listening(natsAddress(server.url, SUBJECT))
    const dialler = natsTransport()
    const a = await dialler.dial(listener.address)
    const { connection: b } = await next()
    await server.kill()
    expect(await a.closed).toBe(`the NATS server ${server.url} is gone`)
    expect(await b.closed).toBe(`the NATS server ${server.url} is gone`)
    await started({ port: server.port })
    // The listener comes back by itself: dialled until it has.
    let again: Connection | undefined
    for (const deadline = Date.now() + 20_000; !again && Date.now() < deadline; )
      again = await dialler.dial(listener.address, { timeoutMs: 5000 }).catch(() => undefined)
    const taken = received((await next()).connection, 1)
    await again?.send(Uint8Array.of(1))
    expect(await taken).toEqual([Uint8Array.of(1)])
  })

  it('notices at its next message that the other side is gone', async () => {
    const { url } = await started()
    const address = natsAddress(url, SUBJECT)
    const { next } = await listening(address)
    const worker = new Worker(
      `const { workerData } = require('node:worker_threads')
       import('@prismal/distribute/transports/nats').then(async ({ transport }) => {
         const connection = await transport.dial(workerData)
         await connection.send(Uint8Array.of(7))
       })`,
      { eval: true, workerData: address },
    )
    const { connection } = await next()
    expect(await received(connection, 1)).toEqual([Uint8Array.of(7)])
    await worker.terminate()
    // The server may hear of it a moment later than we do.
    while (
      (await Promise.race([connection.closed, connection.send(Uint8Array.of(1)).catch(() => 'closed')])) === undefined
    )
      await new Promise(resolve => setImmediate(resolve))
    expect(await connection.closed).toBe('the other side is gone')
  })

  it('names what the server does not permit, and refused credentials', async () => {
    const config = `${import.meta.dirname}/permissions.conf`
    const { port } = await started({ flags: ['-c', config] })
    const address = (user: string) => `nats://${user}@127.0.0.1:${port}/${SUBJECT}`
    await listening(address('all:all-password'))
    await expect(natsTransport().dial(address('some:some-password'), { timeoutMs: 2000 })).rejects.toThrow(
      /Permissions Violation.*prismal.test.device.a/i,
    )
    await expect(natsTransport().dial(address('some:wrong'))).rejects.toThrow(/refuses the credentials/)
    await expect(natsTransport().dial(address('some:wrong'))).rejects.not.toThrow(/wrong/)
  })

  it.skipIf(!hasOpenssl)('encrypts the way to the server, and trusts only those that it was told of', async () => {
    const folder = temporaryFolder()
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const made = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost'
    const names = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert]
    expect(spawnSync('openssl', [...made.split(' '), ...names]).status).toBe(0)
    const { port } = await started({ flags: ['--tls', '--tlscert', cert, '--tlskey', key] })
    const address = `nats+tls://localhost:${port}`
    const authorities = readFileSync(cert, 'utf8')
    const nc = await connectNats(address, { authorities })
    afterwards(() => nc.close())
    await nc.flush()
    await expect(connectNats(address)).rejects.toThrow(/no NATS server at nats\+tls:.*self-signed certificate/)
    await expect(natsTransport().dial(`${address}/${SUBJECT}`, { authorities })).rejects.toThrow(/nobody listens/)
    // A server without a certificate is not talked to in the clear.
    const plain = await started()
    await expect(connectNats(`nats+tls://127.0.0.1:${plain.port}`)).rejects.toThrow(/tls/)
  })

  it('shares one client of a server, and lets the process end', async () => {
    const server = await started({ flags: ['-m', '-1'] })
    const address = natsAddress(server.url, SUBJECT)
    await listening(address)
    const worker = new Worker(
      `const { workerData, parentPort } = require('node:worker_threads')
       import('@prismal/distribute/transports/nats').then(async ({ transport }) => {
         const connections = await Promise.all(Array.from({ length: 20 }, () => transport.dial(workerData)))
         for (const connection of connections) await connection.send(new Uint8Array(1000))
         for (const connection of connections) connection.close()
         parentPort.postMessage(connections.length)
       })`,
      { eval: true, workerData: address },
    )
    expect((await once(worker, 'message'))[0]).toBe(20)
    expect((await once(worker, 'exit'))[0]).toBe(0)
  })
})
