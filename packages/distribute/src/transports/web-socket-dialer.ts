/** The dialling side of web-sockets: with which client, within which time, and what is said where it fails. */
import { ConnectionError } from '../errors.js'
import type { Connection, DialOptions } from '../transport.js'
import { optionalPackage } from './optional-package.js'
import { hostAndPort, type SocketAddress } from './socket-address.js'
import { MAX_MESSAGE_BYTES, platformConnection, wsConnection } from './web-socket-connection.js'

const DIAL_TIMEOUT_MS = 10_000

export interface WebSocketOptions {
  /**
   * Whose client dials: the platform's `WebSocket`, or the package `ws`, which exists in Node only. Default: `ws` in Node where it
   * is installed, else the platform's. Both are equally fast, but Node's own does not say why it could not connect, cannot stop
   * reading, and stays open, with its process, if the other side does not answer a close.
   */
  readonly client?: 'platform' | 'ws'
}

/** Connects to a path of an address; others than `/` are for what is signalled over web-sockets. */
export async function dialPath(
  address: SocketAddress,
  path: string,
  options: DialOptions & WebSocketOptions = {},
): Promise<Connection> {
  const { timeoutMs = DIAL_TIMEOUT_MS, signal, authorities } = options
  const url = `${address.isSecure ? 'wss' : 'ws'}://${hostAndPort(address.host, address.port)}${path}`
  const library = await chooseLibrary(options)
  if (!library && authorities !== undefined)
    throw new ConnectionError(`${address.text}: certificate authorities can be given where the package ws is installed`)
  const attempt = library ? dialWithWs(library, url, authorities) : dialWithPlatform(url)
  let timer: ReturnType<typeof setTimeout> | undefined
  let aborted: (() => void) | undefined
  const stopped = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    aborted = () => reject(new Error(`dialling was ended: ${reasonOf(signal as AbortSignal)}`))
    signal?.addEventListener('abort', aborted)
    if (signal?.aborted) aborted()
  })
  try {
    return await Promise.race([attempt.opened, stopped])
  } catch (error) {
    attempt.stop()
    throw new ConnectionError(`${address.text} cannot be reached: ${(error as Error).message}`, { cause: error })
  } finally {
    clearTimeout(timer)
    if (aborted) signal?.removeEventListener('abort', aborted)
  }
}

type Library = typeof import('ws')

/** The package `ws`, or nothing where the platform's client is to dial. */
async function chooseLibrary({ client, authorities }: DialOptions & WebSocketOptions): Promise<Library | undefined> {
  const hasPlatform = typeof globalThis.WebSocket === 'function'
  const isNode = globalThis.process?.release?.name === 'node' && !('Deno' in globalThis) && !('Bun' in globalThis)
  if (client === 'platform' && !hasPlatform)
    throw new ConnectionError('this platform has no WebSocket of its own: npm install ws')
  if (client === 'platform' || (!isNode && client !== 'ws' && authorities === undefined && hasPlatform))
    return undefined
  const library = optionalPackage<Library>('ws', 'to dial a web-socket in this version of Node')
  if (client === 'ws' || authorities !== undefined || !hasPlatform) return library
  return library.catch(() => undefined)
}

/** An attempt to connect: `stop` ends it, whatever came of it. */
interface Attempt {
  readonly opened: Promise<Connection>
  stop(): void
}

function dialWithWs(library: Library, url: string, authorities?: string): Attempt {
  const tls = globalThis.process?.getBuiltinModule?.('node:tls')
  const socket = new library.WebSocket(url, {
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    // A mask keeps pages from writing what a proxy takes for its own; no page writes here, and a mask of zeros takes no time.
    generateMask: mask => mask.fill(0),
    ...(authorities !== undefined && { ca: [...(tls?.rootCertificates ?? []), authorities] }),
  })
  const connection = wsConnection(socket)
  const opened = new Promise<Connection>((resolve, reject) => {
    socket.once('open', () => resolve(connection))
    socket.once('error', error => reject(new Error(explain(error), { cause: error })))
    socket.once('unexpected-response', (_, response) => {
      reject(new Error(`it answers, but not as a web-socket: HTTP ${response.statusCode} ${response.statusMessage}`))
    })
  })
  return { opened, stop: () => socket.terminate() }
}

function dialWithPlatform(url: string): Attempt {
  const socket = new WebSocket(url)
  const connection = platformConnection(socket)
  const opened = new Promise<Connection>((resolve, reject) => {
    socket.addEventListener('open', () => resolve(connection))
    socket.addEventListener('close', () => reject(new Error('refused, not a web-socket, or not trusted')))
  })
  return { opened, stop: () => connection.close('dialling was ended') }
}

/** The cause of a failure in words. */
function explain(error: NodeJS.ErrnoException & { readonly errors?: readonly Error[] }): string {
  // A name with several addresses fails once for each of them.
  const message = error.message || error.errors?.map(each => each.message).join(', ') || String(error.code)
  const codes = [error.code, ...(error.errors ?? []).map(each => (each as NodeJS.ErrnoException).code)]
  if (codes.includes('ECONNREFUSED')) return `nothing listens there (${message})`
  if (codes.includes('ENOTFOUND') || codes.includes('EAI_AGAIN')) return `its name is not known (${message})`
  if (/CERT|SELF_SIGNED|ISSUER|ALTNAME/.test(error.code ?? '')) return `its certificate is not trusted (${message})`
  if (/^ERR_SSL|EPROTO/.test(error.code ?? '')) return `it does not speak TLS as wss asks for (${message})`
  if (error.code === 'ECONNRESET' || message === 'socket hang up') return `it hung up (${message})`
  if (error.code === undefined || error.code.startsWith('HPE_')) return `it is not a web-socket (${message})`
  return message
}

const reasonOf = (signal: AbortSignal): string =>
  signal.reason instanceof Error ? signal.reason.message : String(signal.reason)
