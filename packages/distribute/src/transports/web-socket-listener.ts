/** The listening side of web-sockets, in Node: who may come in, and how many. */
import type { WebSocket as WsSocket } from 'ws'
import { ConnectionError } from '../errors.js'
import type { Listener, ListenOptions } from '../transport.js'
import { optionalPackage } from './optional-package.js'
import { hostAndPort, isIpAddress, isLoopback, isWildcard, type SocketAddress } from './socket-address.js'
import { closeSocket, MAX_MESSAGE_BYTES } from './web-socket-connection.js'

const MAX_CONNECTIONS = 256
/** Sockets beyond the connections, for those that have not said yet what they want. */
const UNDECIDED = 64
const REQUEST_TIMEOUT_MS = 10_000

/** Takes a socket; what it holds of the listener's connections is free again when this resolves. */
export type Route = (socket: WsSocket, from: string) => Promise<void>

const builtin = () => {
  const get = globalThis.process?.getBuiltinModule
  const [http, https, os] = [get?.('node:http'), get?.('node:https'), get?.('node:os')]
  if (!http || !https || !os) throw new ConnectionError('only Node (20.16 or newer) can listen for web-sockets')
  return { http, https, os }
}
type Request = InstanceType<ReturnType<typeof builtin>['http']['IncomingMessage']>
type RawSocket = Request['socket']

/** Takes upgrades at an address, by path. `scheme` is that of the address it then has. */
export async function listenForUpgrades(
  address: SocketAddress,
  scheme: string,
  routes: Readonly<Record<string, Route>>,
  options: ListenOptions = {},
): Promise<Listener> {
  const {
    certificate,
    maxConnections = MAX_CONNECTIONS,
    requestTimeoutMs = REQUEST_TIMEOUT_MS,
    log = () => {},
  } = options
  const { http, https, os } = builtin()
  if (address.isSecure && !certificate)
    throw new ConnectionError(`${address.text} cannot be listened at without a certificate and its key`)
  const { WebSocketServer } = await optionalPackage<typeof import('ws')>('ws', `to listen at ${address.text}`)
  const limits = {
    headersTimeout: requestTimeoutMs,
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: Math.max(50, requestTimeoutMs / 10),
    keepAliveTimeout: 1,
    noDelay: true,
  }
  const server =
    address.isSecure && certificate
      ? https.createServer({ ...limits, ...certificate, handshakeTimeout: requestTimeoutMs })
      : http.createServer(limits)
  server.maxConnections = maxConnections + UNDECIDED
  const upgrades = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
  })
  const raw = new Set<RawSocket>()
  const open = new Set<WsSocket>()
  const held = new Set<Promise<void>>()
  let taken = 0
  let ending: string | undefined

  const refuse = (request: Request, status: number, why: string): void => {
    log(`refused ${fromOf(request)}: ${why}`)
    const { socket } = request
    const head = `HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: text/plain\r\n`
    // The other side need not end its half.
    socket.end(`${head}\r\n${why}\n`, () => socket.destroy())
  }
  server.on('connection', socket => {
    raw.add(socket)
    socket.once('close', () => raw.delete(socket))
  })
  server.on('drop', drop =>
    log(`refused ${hostAndPort(drop?.remoteAddress ?? '', drop?.remotePort ?? 0)}: too many sockets`),
  )
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code !== 'ECONNRESET') log(`refused ${fromOf({ socket: socket as RawSocket })}: ${error.message}`)
    socket.destroy()
  })
  server.on('request', (request, response) => {
    log(`refused ${fromOf(request)}: a plain HTTP request`)
    response.writeHead(426, { connection: 'close', upgrade: 'websocket', 'content-type': 'text/plain' })
    response.end('this is a web-socket\n')
  })
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    const route = Object.hasOwn(routes, request.url ?? '') ? routes[request.url as string] : undefined
    const why = refusal(request, address, options, os.hostname())
    if (ending !== undefined) return refuse(request, 503, ending)
    if (why !== undefined) return refuse(request, 403, why)
    if (!route) return refuse(request, 404, `nothing is at the path ${quote(request.url)}`)
    if (taken >= maxConnections)
      return refuse(request, 503, `${maxConnections} connections are open, which is the most`)
    upgrades.handleUpgrade(request, socket, head, client => {
      open.add(client)
      client.once('close', () => open.delete(client))
      // Without a listener an error would end the process.
      client.on('error', error => log(`${fromOf(request)}: ${error.message}`))
      taken++
      const done = route(client, fromOf(request)).finally(() => {
        taken--
        held.delete(done)
      })
      held.add(done)
    })
  })
  // With a listener for these the package leaves their sockets open.
  upgrades.on('wsClientError', (error, _, request) => refuse(request, 400, error.message))

  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(cannotListen(address, error)))
    server.listen({ host: address.host, port: address.port, exclusive: true }, resolve)
  })
  server.on('error', error => log(`${address.text}: ${error.message}`))
  const bound = server.address()
  const port = typeof bound === 'object' && bound ? bound.port : address.port
  return {
    address: `${scheme}://${hostAndPort(reachable(address.host, os.networkInterfaces()), port)}`,
    async close(reason = 'the listener was closed') {
      ending ??= reason
      const gone = new Promise<void>(resolve => {
        server.close(() => resolve())
      })
      server.closeAllConnections()
      for (const socket of open) closeSocket(socket, 1001, reason)
      await Promise.all(held)
      for (const socket of raw) socket.destroy()
      await gone
    },
  }
}

/** Why a request may not come in, if it may not: a page of another origin, or a name that leads here but is not ours. */
function refusal(
  request: Request,
  address: SocketAddress,
  options: ListenOptions,
  ownName: string,
): string | undefined {
  const { allowedOrigins = [], allowedHosts = [] } = options
  const { origin, host } = request.headers
  if (origin !== undefined && !allowedOrigins.includes(origin)) return `the origin ${quote(origin)} is not allowed`
  let name: string
  try {
    if (host === undefined || !/^[\w.:[\]-]+$/.test(host)) throw new Error('not a host')
    name = new URL(`http://${host}`).hostname.replace(/^\[|\]$/g, '')
  } catch {
    return `the host ${quote(host)} is not one`
  }
  const isHere =
    name === address.host ||
    allowedHosts.some(allowed => allowed.toLowerCase() === name) ||
    (isLoopback(address.host) && isLoopback(name)) ||
    // A page can make a name of its own lead here, but not an address, nor the machine's name.
    (isWildcard(address.host) && (isIpAddress(name) || isLoopback(name) || name === ownName.toLowerCase()))
  return isHere ? undefined : `the host ${quote(host)} is not allowed`
}

function cannotListen(address: SocketAddress, error: NodeJS.ErrnoException): ConnectionError {
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: 'the port is in use',
    EADDRNOTAVAIL: 'this machine does not have that address',
    EACCES: 'this user may not use that port',
    ENOTFOUND: 'its name is not known',
  }
  const found = why[error.code ?? '']
  return new ConnectionError(
    `${address.text} cannot be listened at: ${found ? `${found} (${error.message})` : error.message}`,
    {
      cause: error,
    },
  )
}

/** What others dial: of a wildcard, the machine's first address that others see. */
function reachable(host: string, interfaces: Readonly<Record<string, readonly Interface[] | undefined>>): string {
  if (!isWildcard(host)) return host
  const outward = Object.values(interfaces)
    .flatMap(each => each ?? [])
    .filter(each => !each.internal && !each.address.startsWith('fe80:'))
  const [first] = [...outward.filter(each => each.family === 'IPv4'), ...outward]
  return first?.address ?? '127.0.0.1'
}
interface Interface {
  readonly address: string
  readonly family: string
  readonly internal: boolean
}

const fromOf = ({ socket }: { readonly socket: RawSocket }): string =>
  hostAndPort(socket.remoteAddress?.replace(/^::ffff:/, '') ?? 'unknown', socket.remotePort ?? 0)

/** What a stranger sent, so that it cannot pass for lines of the log. */
const quote = (text: string | undefined): string => (text === undefined ? 'none' : JSON.stringify(text.slice(0, 100)))
