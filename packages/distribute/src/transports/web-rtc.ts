/**
 * @prismal/distribute/transports/web-rtc: connections between machines over data channels, in a browser by its own WebRTC, in
 * Node by the package `node-datachannel`. How to reach each other is agreed over a web-socket at `/rtc` of the address; data then
 * goes over UDP. The agreement is not authenticated: whoever can change it can stand in between. The handshake that comes above, over
 * the data channel, tells: it proves the secret and encrypts. In Node one thread of a process may use it, and must close its connections
 * before it is terminated.
 */
import type { WebSocket as WsSocket } from 'ws'
import { ConnectionError } from '../errors.js'
import type { Connection, DialOptions, IceServer, Listener, ListenOptions, Transport } from '../transport.js'
import { allGone, type ChannelConnection, type Description, type Exchange, openChannel } from './data-channel.js'
import { isIpAddress, isLoopback, isWildcard, readAddress, type SocketAddress } from './socket-address.js'
import { wsConnection } from './web-socket-connection.js'
import { dialPath } from './web-socket-dialer.js'
import { listenForUpgrades } from './web-socket-listener.js'

const SCHEMES = ['rtc+ws', 'rtc+wss'] as const
const PATH = '/rtc'
const TIMEOUT_MS = 10_000
/** Longest description that is read, in bytes. One with ten candidates has two thousand. */
const MAX_DESCRIPTION_BYTES = 64 << 10
/** Descriptions that may wait to be read. */
const MAX_DESCRIPTIONS = 2

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
        let connection: ChannelConnection
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

async function dialChannel(signalling: Connection, address: SocketAddress, options: DialOptions): Promise<Connection> {
  const limitMs = options.timeoutMs ?? TIMEOUT_MS
  return attempt(signalling, limitMs, options.signal, signal =>
    openChannel('dialer', exchangeOver(signalling), { ...placeOf(address, options), signal }),
  )
}

async function answerChannel(
  signalling: Connection,
  address: SocketAddress,
  options: ListenOptions,
): Promise<ChannelConnection> {
  return attempt(signalling, options.requestTimeoutMs ?? TIMEOUT_MS, undefined, signal =>
    openChannel('listener', exchangeOver(signalling), { ...placeOf(address, options), signal }),
  )
}

/** Runs until it is done, the time is over, the caller has enough, or the other side leaves. */
async function attempt(
  signalling: Connection,
  limitMs: number,
  signal: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<ChannelConnection>,
): Promise<ChannelConnection> {
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

/** Addresses of this side that are used and told: those of the address, where it names one. */
function placeOf(
  { host }: SocketAddress,
  { iceServers = [] }: { readonly iceServers?: readonly IceServer[] },
): { readonly iceServers: readonly IceServer[]; readonly bindAddress?: string } {
  if (host === 'localhost') return { iceServers, bindAddress: '127.0.0.1' }
  return isLoopback(host) && isIpAddress(host) && !isWildcard(host) ? { iceServers, bindAddress: host } : { iceServers }
}

/** Descriptions as JSON; who sends more, or others, than is asked for is left. */
function exchangeOver(signalling: Connection): Exchange {
  const came: Uint8Array[] = []
  let asked: (() => void) | undefined
  signalling.receive(message => {
    came.push(message)
    if (came.length > MAX_DESCRIPTIONS) signalling.close('it sends too much')
    asked?.()
  })
  return {
    send: description => signalling.send(new TextEncoder().encode(JSON.stringify(description))),
    async next(type) {
      if (came.length === 0)
        await new Promise<void>((resolve, reject) => {
          asked = resolve
          signalling.closed.then(reason => reject(new ConnectionError(`the other side left: ${reason}`)))
        })
      return readDescription(came.shift() as Uint8Array, type)
    },
  }
}

function readDescription<T extends Description['type']>(
  message: Uint8Array,
  type: T,
): Description & { readonly type: T } {
  try {
    if (message.byteLength > MAX_DESCRIPTION_BYTES) throw new Error(`it has ${message.byteLength} bytes`)
    const found = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(message)) as Record<string, unknown>
    if (found?.type !== type) throw new Error(`it is not of type ${type}`)
    const { sdp, candidates } = found
    const isWhole =
      type === 'candidates'
        ? Array.isArray(candidates) && candidates.every(each => typeof each === 'string')
        : typeof sdp === 'string'
    if (!isWhole) throw new Error('something is missing')
    return found as unknown as Description & { readonly type: T }
  } catch (error) {
    throw new ConnectionError(`the other side's description cannot be read: ${(error as Error).message}`)
  }
}
