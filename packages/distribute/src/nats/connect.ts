/** Connections to a NATS server: its client is an optional peer dependency, and its errors name the server. */
import type { NatsConnection } from '@nats-io/nats-core'
import { ConnectionError } from '../errors.js'
import { shownAddress } from '../shown-address.js'
import { optionalPackage } from '../transports/optional-package.js'

export interface ConnectNatsOptions {
  /** Most milliseconds until the server has let us in; default 10,000. */
  readonly timeoutMs?: number
  /** How the server's monitoring calls this client. */
  readonly name?: string
  /** PEM of certificate authorities that are trusted besides the platform's. */
  readonly authorities?: string
  /** Milliseconds between attempts to come back to a server that went away; default 500. Attempts never end. */
  readonly reconnectMs?: number
  /** Ends the attempt, with its reason. */
  readonly signal?: AbortSignal
}

/** A server's address, taken apart. */
export interface NatsAddress {
  /** `nats://192.0.2.1:4222`, without credentials: what messages name. */
  readonly server: string
  /** `192.0.2.1:4222`. */
  readonly host: string
  readonly isTls: boolean
  /** A token, or a user and a password. */
  readonly credentials: { readonly token: string } | { readonly user: string; readonly pass: string } | undefined
  /** What follows the host: the subject of a device, or nothing. */
  readonly subject: string
}

export const SCHEMES = ['nats', 'nats+tls', 'tls'] as const

/**
 * Takes `nats://[TOKEN@|USER:PASSWORD@]HOST[:4222][/SUBJECT]` apart. Throws {@link ConnectionError}, which does not repeat
 * credentials.
 */
export function parseNatsAddress(address: string): NatsAddress {
  const scheme = /^([a-z+]+):\/\//.exec(address)?.[1] ?? ''
  if (!SCHEMES.includes(scheme as (typeof SCHEMES)[number]))
    throw new ConnectionError(
      `"${shownAddress(address)}" is not the address of a NATS server: it begins with nats:// or nats+tls://`,
    )
  let url: URL
  try {
    // Of a scheme that every runtime takes apart alike.
    url = new URL(`ws://${address.slice(scheme.length + 3)}`)
  } catch (cause) {
    throw new ConnectionError(`"${shownAddress(address)}" is not the address of a NATS server`, { cause })
  }
  const { username, password, hostname } = url
  if (hostname === '' || url.search !== '' || url.hash !== '')
    throw new ConnectionError(`"${shownAddress(address)}" is not the address of a NATS server`)
  const isTls = scheme !== 'nats'
  // A URL of ws leaves its default port out.
  const port = url.port || (/:80(\/|$)/.test(address) ? '80' : '4222')
  const host = `${hostname}:${port}`
  const [user, pass] = [decodeURIComponent(username), decodeURIComponent(password)]
  return {
    server: `${isTls ? 'nats+tls' : 'nats'}://${host}`,
    host,
    isTls,
    credentials: pass !== '' ? { user, pass } : user !== '' ? { token: user } : undefined,
    subject: decodeURIComponent(url.pathname.slice(1)),
  }
}

/**
 * The server of an address that leaves it open, `nats://_/SUBJECT`: everyone reaches it in their own way and with their own
 * credentials.
 */
export const ANY_SERVER = 'nats://_'

/** An address with its server: that of `natsServer`, where it leaves it open. Throws {@link ConnectionError} where that is not given. */
export function withServer(address: string, natsServer: string | undefined): string {
  if (!address.startsWith(`${ANY_SERVER}/`)) return address
  if (natsServer === undefined)
    throw new ConnectionError(`${address} leaves its server open: say which with natsServer`)
  return natsAddress(natsServer, address.slice(ANY_SERVER.length + 1))
}

/** The address of a device that takes connections at `subject`, by the way to the server (and with the credentials) of `url`. */
export function natsAddress(url: string, subject: string): string {
  parseNatsAddress(url)
  const [, base = url] = /^([a-z+]+:\/\/[^/]*)/.exec(url) ?? []
  return `${base}/${subject}`
}

/**
 * Connects to a server; the client comes back by itself when the server went away and returns. Rejects with
 * {@link ConnectionError}, which names the server, within `timeoutMs`.
 */
export async function connectNats(url: string, options: ConnectNatsOptions = {}): Promise<NatsConnection> {
  const { timeoutMs = 10_000, name = 'prismal', authorities, reconnectMs = 500, signal } = options
  const { server, host, isTls, credentials } = parseNatsAddress(url)
  signal?.throwIfAborted()
  const { connect } = await optionalPackage<typeof import('@nats-io/transport-node')>('@nats-io/transport-node', 'NATS')
  const connecting = connect({
    servers: host,
    name,
    timeout: timeoutMs,
    ...credentials,
    ...((isTls || authorities) && { tls: authorities ? { ca: authorities } : {} }),
    maxReconnectAttempts: -1,
    reconnectTimeWait: reconnectMs,
    reconnectJitter: reconnectMs / 5,
    // A server that restarts may refuse for a moment what it takes afterwards.
    ignoreAuthErrorAbort: true,
    pingInterval: 10_000,
    maxPingOut: 2,
    noAsyncTraces: true,
  })
  const connected = await within(connecting, timeoutMs, signal).catch(cause => {
    // What still comes is not wanted any more.
    connecting.then(
      late => late.close(),
      () => {},
    )
    if (signal?.aborted) throw signal.reason
    throw new ConnectionError(`no NATS server at ${server}: ${whyNot(cause as Error, timeoutMs)}`, { cause })
  })
  return closingLater(connected)
}

/**
 * Closes a turn later than it was asked to. The client takes its listeners off the socket as it closes; where the server
 * went away just before, the error of what was written last would find none and end the process.
 */
function closingLater(nc: NatsConnection): NatsConnection {
  const close = nc.close.bind(nc)
  nc.close = async () => {
    await new Promise(resolve => setTimeout(resolve))
    await close()
  }
  return nc
}

/** What a client's error means, in a line. */
function whyNot(error: Error | undefined, timeoutMs: number): string {
  const message = error?.message ?? 'it closed the connection'
  if (/timeout/i.test(`${error?.name} ${message}`)) return `no answer within ${timeoutMs} ms`
  const code = (error as (Error & { code?: string }) | undefined)?.code
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'its name is not known'
  if (/authorization|authentication/i.test(message)) return `it refuses the credentials (${message})`
  return message
}

async function within<T>(promise: Promise<T>, timeoutMs: number, signal?: AbortSignal): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  let onAbort: (() => void) | undefined
  try {
    return await new Promise<T>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error('timeout')), timeoutMs)
      onAbort = () => reject(signal?.reason)
      signal?.addEventListener('abort', onAbort)
      promise.then(resolve, reject)
    })
  } finally {
    clearTimeout(timer)
    if (onAbort) signal?.removeEventListener('abort', onAbort)
  }
}
