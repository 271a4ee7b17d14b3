/** What is the web-socket's own: who may come in, addresses that do not answer, certificates, messages too long. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { type Connection, ConnectionError, type Listener, type ListenOptions } from '@prismal/distribute'
import { transport, webSocketTransport } from '@prismal/distribute/transports/web-socket'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { temporaryFolder } from '../temporary-folder.js'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})

interface Listening {
  readonly listener: Listener
  readonly port: number
  readonly logged: string[]
  /** The next connection that comes. */
  arrival(): Promise<Connection>
}
async function listen(options: ListenOptions = {}, address = 'ws://127.0.0.1:0'): Promise<Listening> {
  const logged: string[] = []
  const arrived: Connection[] = []
  const waiting: ((connection: Connection) => void)[] = []
  const accept = (connection: Connection): void => void (waiting.shift()?.(connection) ?? arrived.push(connection))
  const log = (message: string): void => void logged.push(message)
  const listener = await transport.listen(address, ({ connection }) => accept(connection), { log, ...options })
  ends.push(() => listener.close())
  const arrival = async (): Promise<Connection> => arrived.shift() ?? new Promise(resolve => waiting.push(resolve))
  return { listener, port: Number(new URL(listener.address).port), logged, arrival }
}

/** The status that an upgrade with these headers gets: 101 where it may come in. */
function upgrade(port: number, headers: Record<string, string> = {}, path = '/'): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const request = get({
      port,
      host: '127.0.0.1',
      path,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
        ...headers,
      },
    })
    request.on('response', response => resolve(response.resume().statusCode))
    request.on('upgrade', (_, socket) => {
      socket.destroy()
      resolve(101)
    })
    request.on('error', reject)
  })
}

describe('who may come in', () => {
  it.each([
    ['no origin', {}, 101],
    ['an origin', { origin: 'https://elsewhere.example' }, 403],
    ['the origin of a file', { origin: 'null' }, 403],
    ['its own origin', { origin: 'http://127.0.0.1' }, 403],
    ['the host localhost', { host: 'localhost:7040' }, 101],
    ['the host [::1]', { host: '[::1]:7040' }, 101],
    ['a name that leads here', { host: 'rebound.example' }, 403],
    ['a name that begins like ours', { host: '127.0.0.1.rebound.example' }, 403],
    ['a host that is none', { host: 'a b' }, 403],
  ])('%s', async (_, headers: Record<string, string>, status) => {
    const { port, logged } = await listen()
    expect(await upgrade(port, headers)).toBe(status)
    if (status !== 101) expect(logged.join()).toMatch(/^refused 127\.0\.0\.1:\d+: the (origin|host) .* is not/)
  })

  it('origins and hosts that are allowed', async () => {
    const { port } = await listen({ allowedOrigins: ['https://app.example'], allowedHosts: ['Device.example'] })
    expect(await upgrade(port, { origin: 'https://app.example', host: 'device.example:80' })).toBe(101)
    expect(await upgrade(port, { origin: 'https://app.example.elsewhere', host: 'device.example' })).toBe(403)
  })

  it('at every address of the machine: addresses and its name, no other names', async () => {
    const { port } = await listen({}, 'ws://0.0.0.0:0')
    expect(await upgrade(port, { host: '192.0.2.7:7040' })).toBe(101)
    expect(await upgrade(port, { host: 'rebound.example' })).toBe(403)
  })

  it('no other paths, and no plain requests', async () => {
    const { port, logged } = await listen()
    for (const path of ['/other', '/rtc', '/?a', '/toString']) expect(await upgrade(port, {}, path)).toBe(404)
    const [response] = await once(get({ port, host: '127.0.0.1' }), 'response')
    expect(response.resume().statusCode).toBe(426)
    expect(logged).toHaveLength(5)
  })

  it('no lines for the log that a stranger wrote', async () => {
    const { port, logged } = await listen()
    const socket = connect(port, '127.0.0.1')
    socket.write(
      'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: \u001b[2J\tgood\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    )
    await once(socket.resume(), 'close')
    expect(logged).toHaveLength(1)
    expect([...logged.join()].filter(each => each < ' ')).toEqual([])
  })

  it('not more than maxConnections, until one is gone', async () => {
    const { listener, arrival } = await listen({ maxConnections: 2 })
    const open = [await transport.dial(listener.address), await transport.dial(listener.address)]
    await expect(transport.dial(listener.address)).rejects.toThrow(/HTTP 503/)
    const first = await arrival()
    open[0]?.close('makes room')
    expect(await first.closed).toBe('makes room')
    open.push(await transport.dial(listener.address))
    for (const connection of open) connection.close()
  })

  it('nobody who does not say what he wants', async () => {
    const { port } = await listen({ requestTimeoutMs: 200 })
    const silent = connect(port, '127.0.0.1')
    const slow = connect(port, '127.0.0.1')
    slow.write('GET / HTTP/1.1\r\nHost: 127')
    await Promise.all([once(silent.resume(), 'close'), once(slow.resume(), 'close')])
  })
})

describe('addresses', () => {
  const clients = [...('WebSocket' in globalThis ? (['platform'] as const) : []), 'ws' as const]

  it('in use or not of this machine are named', async () => {
    const { listener } = await listen()
    const again = transport.listen(listener.address, () => {})
    await expect(again).rejects.toThrow(ConnectionError)
    await expect(again).rejects.toThrow(`${listener.address} cannot be listened at: the port is in use`)
    await expect(transport.listen('ws://192.0.2.77:0', () => {})).rejects.toThrow(/does not have that address/)
    await expect(transport.listen('wss://127.0.0.1:0', () => {})).rejects.toThrow(/without a certificate/)
    for (const wrong of ['http://127.0.0.1:1', 'ws://', 'ws://127.0.0.1:1/path', 'ws://a@127.0.0.1:1', 'nonsense'])
      await expect(transport.dial(wrong), wrong).rejects.toThrow(ConnectionError)
  })

  async function mute(answer?: string): Promise<{ address: string; server: Server }> {
    const server = createServer(socket => {
      ends.push(() => socket.destroy())
      socket.on('error', () => {})
      if (answer !== undefined) socket.once('data', () => socket.end(answer))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    ends.push(() => server.close())
    return { address: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
  }

  it.each(clients)('that do not answer are named, within the time given (%s)', async client => {
    const { dial } = webSocketTransport({ client })
    const { address } = await mute()
    const since = performance.now()
    const dialling = dial(address, { timeoutMs: 300 })
    await expect(dialling).rejects.toThrow(`${address} cannot be reached: no answer within 300 ms`)
    expect(performance.now() - since).toBeGreaterThan(250)
    const stop = new AbortController()
    const stopped = dial(address, { signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(stopped).rejects.toThrow(/enough/)
  })

  it('where nobody listens, or something else, are told apart', async () => {
    const { address, server } = await mute()
    const gone = once(server.close(), 'close')
    await gone
    await expect(transport.dial(address)).rejects.toThrow(`${address} cannot be reached: nothing listens there`)
    const other = await mute('SSH-2.0-OpenSSH_9.9\r\n')
    await expect(transport.dial(other.address)).rejects.toThrow(/not a web-socket/)
    const web = await mute('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    await expect(transport.dial(web.address)).rejects.toThrow(/not as a web-socket: HTTP 200/)
  })
})

describe('messages', () => {
  it('that are too long, or text, close the connection on both sides with the reason', async () => {
    const { listener, arrival } = await listen()
    const long = new WebSocket(listener.address)
    await once(long, 'open')
    const [first, ended] = [await arrival(), once(long, 'close')]
    long.send(new Uint8Array(2 ** 20 + 1))
    expect(await first.closed).toBe('a message longer than 1048576 bytes came')
    expect((await ended)[0]).toBe(1009)
    const text = new WebSocket(listener.address)
    await once(text, 'open')
    const [second, closed] = [await arrival(), once(text, 'close')]
    text.send('hello')
    expect(await second.closed).toBe('the other side sent text, not bytes')
    expect(String((await closed)[1])).toBe('the other side sent text, not bytes')
  })

  it('that are too long are not sent, and what follows is', async () => {
    const { listener, arrival } = await listen()
    const ours = await transport.dial(listener.address)
    await expect(ours.send(new Uint8Array(2 ** 20 + 1))).rejects.toThrow(/1048577 bytes is longer than 1048576/)
    await ours.send(new Uint8Array(2 ** 20))
    const theirs = await arrival()
    const bytes = await new Promise<number>(resolve => theirs.receive(message => resolve(message.length)))
    expect(bytes).toBe(2 ** 20)
    ours.close()
  })

  it('wait where they are not taken: reading pauses, and so does the sender', async () => {
    const { listener, arrival } = await listen()
    const ours = await transport.dial(listener.address)
    const theirs = await arrival()
    let sent = 0
    const sending = (async () => {
      for (; sent < 64; sent++) await ours.send(new Uint8Array(2 ** 20))
    })()
    // Messages the other way are the clock: the sender stands still while two hundred of them pass.
    let ticked = (): void => {}
    ours.receive(() => ticked())
    for (let still = 0, before = -1; still < 200; still = sent === before ? still + 1 : 0) {
      before = sent
      const tick = new Promise<void>(resolve => {
        ticked = resolve
      })
      await theirs.send(new Uint8Array(1))
      await tick
    }
    expect(sent).toBeLessThan(64)
    let taken = 0
    const all = new Promise<void>(resolve => theirs.receive(() => void (++taken === 64 && resolve())))
    await Promise.all([sending, all])
    ours.close()
  })

  it('have reasons that fit, cut between characters', async () => {
    const { listener, arrival } = await listen()
    const ours = await transport.dial(listener.address)
    const theirs = await arrival()
    ours.close('€'.repeat(60))
    expect(await theirs.closed).toBe(`${'€'.repeat(40)}…`)
  })
})

describe('wss', () => {
  it('serves a certificate, which the dialling side must trust', async () => {
    const folder = temporaryFolder()
    const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
    const request = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '1',
    ]
    execFileSync('openssl', [...request, '-keyout', keyFile, '-out', certFile, ...subject], { stdio: 'ignore' })
    const [key, cert] = [readFileSync(keyFile, 'utf8'), readFileSync(certFile, 'utf8')]
    const { listener, arrival, port } = await listen({ certificate: { key, cert } }, 'wss://127.0.0.1:0')
    expect(listener.address).toBe(`wss://127.0.0.1:${port}`)
    await expect(transport.dial(listener.address)).rejects.toThrow(/its certificate is not trusted/)
    await expect(transport.dial(`ws://127.0.0.1:${port}`)).rejects.toThrow(ConnectionError)
    const ours = await transport.dial(listener.address, { authorities: cert })
    const theirs = await arrival()
    const came = new Promise<Uint8Array>(resolve => theirs.receive(resolve))
    await ours.send(new Uint8Array([1, 2, 3]))
    expect([...(await came)]).toEqual([1, 2, 3])
    ours.close('done')
    expect(await theirs.closed).toBe('done')
  })
})
