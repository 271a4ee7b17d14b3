/**
 * @prismal/distribute/transports/web-rtc: connections between machines over data channels, in a browser by its own WebRTC, in
 * Node by the package `node-datachannel`. How to reach each other is agreed over a web-socket at `/rtc` of the address; data then
 * goes over UDP. The agreement is not authenticated: whoever can change it can stand in between. The handshake that comes above, over
 * the data channel, tells: it proves the secret and encrypts.
 */
import type { WebSocket as WsSocket } from 'ws'
import { ConnectionError } from '../errors.js'
import type { Connection, DialOptions, IceServer, Listener, ListenOptions, Transport } from '../transport.js'
import { allGone, openChannel } from './data-channel.js'
import { isIpAddress, isLoopback, isWildcard, readAddress, type SocketAddress } from './socket-address.js'
import { dialPath } from './web-socket.js'
import { wsConnection } from './web-socket-connection.js'
import { listenForUpgrades } from './web-socket-listener.js'

const SCHEMES = ['rtc+ws', 'rtc+wss'] as const
const PATH = '/rtc'
const TIMEOUT_MS = 10_000
/** Longest description that is read, in bytes. One with ten candidates has two thousand. */
const MAX_DESCRIPTION_BYTES = 64 << 10

/**
 * Connections over data channels: `rtc+ws://192.0.2.7:7040`. Who listens there takes web-sockets at the same port too. Without `iceServers`
 * both sides must see each other's addresses; nothing is asked of servers elsewhere.
 */
export const transport: Transport = {
  name: 'web-rtc',
  staysInThread: true,
  rest: allGone,
  schemes: SCHEMES,
  async dial(text, options = {}) {
    const address = readAddress(text, SCHEMES)
    const { timeoutMs = TIMEOUT_MS } = options
    const since = performance.now()
    const signalling = await dialPath(address, PATH, options)
    try {
      return await dialChannel(signalling, address, { ...options, timeoutMs: timeoutMs - (performance.now() - since) })
    } catch (error) {
      const { message } = error as Error
      throw new ConnectionError(`${text} answers, but no data channel opened: ${message}`, { cause: error })
    } finally {
      signalling.close('done')
    }
  },
  async listen(text, accept, options = {}) {
    const address = readAddress(text, SCHEMES)
    const connections = new Set<Connection>()
    let ending: string | undefined
    const take = (connection: Connection, from: string): Promise<unknown> => {
      connections.add(connection)
      if (ending === undefined) accept({ connection, from })
      else connection.close(ending)
      return connection.closed.then(() => connections.delete(connection))
    }
    const routes = {
      async '/'(socket: WsSocket, from: string) {
        const gone = new Promise<void>(resolve => socket.once('close', () => resolve()))
        take(wsConnection(socket), from)
        await gone
      },
      async [PATH](socket: WsSocket, from: string) {
        const signalling = wsConnection(socket)
        let connection: Connection & { readonly gone: Promise<void> }
        try {
          connection = await answerChannel(signalling, address, options)
        } catch (error) {
          const { message } = error as Error
          options.log?.(`refused ${from}: no data channel opened: ${message}`)
          signalling.close(message)
          return
        }
        take(connection, from)
        await connection.gone
      },
    }
    const listener = await listenForUpgrades(address, text.slice(0, text.indexOf(':')), routes, options)
    return {
      address: listener.address,
      async close(reason = 'the listener was closed') {
        ending ??= reason
        const closing = listener.close(reason)
        for (const connection of connections) connection.close(reason)
        await closing
      },
    } satisfies Listener
  },
}

/** What one side tells the other, as JSON. */
interface Description {
  readonly type: 'offer' | 'answer'
  readonly sdp: string
}
type Open = Awaited<ReturnType<typeof openChannel>>

async function dialChannel(signalling: Connection, address: SocketAddress, options: DialOptions): Promise<Connection> {
  const answer = nextDescription(signalling, 'answer')
  answer.catch(() => {})
  return attempt(signalling, options.timeoutMs ?? TIMEOUT_MS, options.signal, async signal =>
    openChannel({ ...placeOf(address, options), signal, offered: undefined }, async offer => {
      await sendDescription(signalling, { type: 'offer', sdp: offer })
      return (await answer).sdp
    }),
  )
}

async function answerChannel(signalling: Connection, address: SocketAddress, options: ListenOptions): Promise<Open> {
  const limit = options.requestTimeoutMs ?? TIMEOUT_MS
  return attempt(signalling, limit, undefined, async signal => {
    const offered = await Promise.race([nextDescription(signalling, 'offer'), rejection(signal)])
    return openChannel({ ...placeOf(address, options), signal, offered: offered.sdp }, async answer => {
      await sendDescription(signalling, { type: 'answer', sdp: answer })
      return undefined
    })
  })
}

/** Runs until it is done, the time is over, the caller has enough, or the other side leaves. */
async function attempt(
  signalling: Connection,
  limitMs: number,
  signal: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<Open>,
): Promise<Open> {
  const stop = new AbortController()
  const over = (why: string): void => stop.abort(new ConnectionError(why))
  const aborted = (): void =>
    over(`dialling was ended: ${(signal?.reason as Error | undefined)?.message ?? signal?.reason}`)
  const timer = setTimeout(() => over('it took too long'), Math.max(1, limitMs))
  signal?.addEventListener('abort', aborted)
  if (signal?.aborted) aborted()
  // The dialling side leaves with `done` once its end is open; ours then opens, or the time is over.
  signalling.closed.then(reason => reason !== 'done' && over(`the other side left: ${reason}`))
  try {
    return await run(stop.signal)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', aborted)
  }
}

const rejection = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

/** Addresses of this side that are used and told: those of the address, where it names one. */
function placeOf(
  { host }: SocketAddress,
  { iceServers = [] }: { readonly iceServers?: readonly IceServer[] },
): { readonly iceServers: readonly IceServer[]; readonly bindAddress?: string } {
  if (host === 'localhost') return { iceServers, bindAddress: '127.0.0.1' }
  return isLoopback(host) && isIpAddress(host) && !isWildcard(host) ? { iceServers, bindAddress: host } : { iceServers }
}

async function sendDescription(signalling: Connection, description: Description): Promise<void> {
  await signalling.send(new TextEncoder().encode(JSON.stringify(description)))
}

function nextDescription(signalling: Connection, type: Description['type']): Promise<Description> {
  return new Promise((resolve, reject) => {
    let isFirst = true
    signalling.receive(message => {
      if (!isFirst) return signalling.close('one description is enough')
      isFirst = false
      try {
        if (message.byteLength > MAX_DESCRIPTION_BYTES) throw new Error(`it has ${message.byteLength} bytes`)
        const found = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(message)) as Partial<Description>
        if (found?.type !== type || typeof found.sdp !== 'string') throw new Error(`it is not an ${type}`)
        resolve({ type, sdp: found.sdp })
      } catch (error) {
        reject(new ConnectionError(`the other side's description cannot be read: ${(error as Error).message}`))
      }
    })
    signalling.closed.then(reason => reject(new ConnectionError(`the other side left: ${reason}`)))
  })
}
