/** What is WebRTC's own: one port for both kinds, who may not come in, and the one thread of a process that may use it. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { type Connection, ConnectionError, type Listener, type ListenOptions } from '@prismal/distribute'
import { transport } from '@prismal/distribute/transports/web-rtc'
import { transport as webSocket } from '@prismal/distribute/transports/web-socket'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})

async function listen(options: ListenOptions = {}): Promise<{ listener: Listener; logged: string[]; url: string }> {
  const logged: string[] = []
  const echo = (connection: Connection): void =>
    connection.receive(message => void connection.send(message).catch(() => {}))
  const log = (message: string): void => void logged.push(message)
  const options2 = { log, ...options }
  const listener = await transport.listen('rtc+ws://127.0.0.1:0', ({ connection }) => echo(connection), options2)
  ends.push(() => listener.close())
  return { listener, logged, url: listener.address.replace('rtc+', '') }
}
async function echoes(connection: Connection): Promise<number[]> {
  const came = new Promise<Uint8Array>(resolve => connection.receive(resolve))
  await connection.send(new Uint8Array([4, 5]))
  return [...(await came)]
}

describe('web-rtc', () => {
  it('shares its port with web-sockets, and ends all of them', async () => {
    const { listener, url } = await listen()
    const [channel, socket] = [await transport.dial(listener.address), await webSocket.dial(url)]
    expect([await echoes(channel), await echoes(socket)]).toEqual([
      [4, 5],
      [4, 5],
    ])
    await listener.close('the day is over')
    expect([await channel.closed, await socket.closed]).toEqual(['the day is over', 'the day is over'])
    await expect(transport.dial(listener.address)).rejects.toThrow(ConnectionError)
  })

  it('counts both kinds, and lets others in when one is gone', async () => {
    const { listener, url } = await listen({ maxConnections: 1 })
    const channel = await transport.dial(listener.address)
    await expect(webSocket.dial(url)).rejects.toThrow(/HTTP 503/)
    channel.close()
    await channel.closed
    // The listener hears of the end a little later.
    const dialled = await new Promise<Connection>(resolve => {
      const dial = (): void => void webSocket.dial(url).then(resolve, dial)
      dial()
    })
    dialled.close()
  })

  it('is refused by those who only listen for web-sockets', async () => {
    const listener = await webSocket.listen('ws://127.0.0.1:0', () => {})
    ends.push(() => listener.close())
    await expect(transport.dial(`rtc+${listener.address}`)).rejects.toThrow(/HTTP 404/)
  })

  it.each([
    ['nonsense', 'x'],
    ['another type', JSON.stringify({ type: 'answer', sdp: 'v=0' })],
    ['no description', JSON.stringify({ type: 'offer' })],
    ['a description that is none', JSON.stringify({ type: 'offer', sdp: 'v=0\r\nnothing' })],
    ['too much', JSON.stringify({ type: 'offer', sdp: 'a'.repeat(70_000) })],
    ['candidates that are none', JSON.stringify({ type: 'candidates', candidates: [1] })],
  ])('leaves those who send %s', async (_, text) => {
    const { listener, logged } = await listen()
    const socket = new WebSocket(`${listener.address.replace('rtc+', '')}/rtc`)
    await once(socket, 'open')
    const closed = once(socket, 'close')
    socket.send(Buffer.from(text))
    expect(String((await closed)[1])).not.toBe('')
    expect(logged.join()).toMatch(/no data channel opened/)
  })

  it('leaves those who agree on nothing, within the time given', async () => {
    const { listener, logged } = await listen({ requestTimeoutMs: 200 })
    const socket = new WebSocket(`${listener.address.replace('rtc+', '')}/rtc`)
    const [, reason] = await once(socket, 'close')
    expect(String(reason)).toBe('it took too long')
    expect(logged.join()).toMatch(/it took too long/)
  })

  it('is refused in a second thread of a process, which node-datachannel would end', async () => {
    const { listener } = await listen()
    const channel = await transport.dial(listener.address)
    const script = `
      import(${JSON.stringify(import.meta.resolve('@prismal/distribute/transports/web-rtc'))})
        .then(({ transport }) => transport.dial(${JSON.stringify(listener.address)}))
        .then(() => 'it was dialled', error => error.message)
        .then(message => require('node:worker_threads').parentPort.postMessage(message))`
    const worker = new Worker(script, { eval: true })
    ends.push(() => worker.terminate())
    const [message] = await once(worker, 'message')
    expect(message).toMatch(/another thread of this process has used node-datachannel/)
    expect(await echoes(channel)).toEqual([4, 5])
    channel.close()
  })
})
