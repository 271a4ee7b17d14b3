/** Connections to devices by their addresses: the transport by the address' scheme, the handshake, the greeting. */
import { ConnectionError, HandshakeError } from './errors.js'
import { type HandshakeOptions, handshake } from './handshake.js'
import { type DeviceInfo, type Greeting, greet } from './joining.js'
import { withServer } from './nats/connect.js'
import { shownAddress } from './shown-address.js'
import type { Connection, DialOptions, Transport } from './transport.js'
import { isLoopback as isLoopbackHost } from './transports/socket-address.js'

/** Where the transports of each scheme are. Only what is used is loaded. */
const TRANSPORTS: Readonly<Record<string, () => Promise<{ readonly transport: Transport }>>> = {
  ws: () => import('./transports/web-socket.js'),
  wss: () => import('./transports/web-socket.js'),
  'rtc+ws': () => import('./transports/web-rtc.js'),
  'rtc+wss': () => import('./transports/web-rtc.js'),
  nats: () => import('./transports/nats.js'),
  'nats+tls': () => import('./transports/nats.js'),
  tls: () => import('./transports/nats.js'),
}

/** Whether an address' host is this machine and reachable from it only. */
export function isLoopback(address: string): boolean {
  // URL knows hosts of special schemes only as such: `nats://LOCALHOST` stays as it is.
  const host = url(address).hostname.toLowerCase()
  return isLoopbackHost(host.replace(/^\[|\]$/g, '')) || host.endsWith('.localhost')
}

function url(address: string): URL {
  if (!URL.canParse(address) || !/^[a-z][\w+.-]*:\/\//i.test(address))
    throw new ConnectionError(
      `${JSON.stringify(shownAddress(address))} is not an address (they are like ws://192.0.2.7:7040)`,
    )
  return new URL(address)
}

/** The transport of an address, or that of the module at `from`. Throws {@link ConnectionError} for a scheme that nothing serves. */
export async function transportOf(address: string, from?: string): Promise<Transport> {
  const scheme = url(address).protocol.slice(0, -1)
  const load =
    from === undefined
      ? TRANSPORTS[scheme]
      : () => import(/* webpackIgnore: true */ /* @vite-ignore */ from) as Promise<{ readonly transport: Transport }>
  if (!load)
    throw new ConnectionError(
      `${shownAddress(address)}: no transport has the scheme ${scheme} (${Object.keys(TRANSPORTS).join(', ')})`,
    )
  const { transport } = await load()
  if (!transport?.schemes?.includes(scheme))
    throw new ConnectionError(
      `${shownAddress(address)}: the transport ${transport?.name ?? `at ${from}`} does not serve the scheme ${scheme}`,
    )
  return transport
}

/** Throws {@link HandshakeError} where an address leaves this machine and there is no secret. */
export function expectSecret(address: string, options: HandshakeOptions & Pick<DialOptions, 'natsServer'>): void {
  if (options.secret || isLoopback(withServer(address, options.natsServer))) return
  throw new HandshakeError(
    `${shownAddress(address)} is not on this machine alone, so devices must share a secret: make one with prismal secret, and give it to each (--secret-file)`,
  )
}

export interface ReachOptions extends HandshakeOptions, DialOptions {
  /** URL of a module that exports the `transport` of the address. */
  readonly transport?: string
  /** Most milliseconds that the device may take to answer a greeting, loading its model included; default 120,000. */
  readonly joinMs?: number
}

export interface Reached {
  readonly connection: Connection
  /** The device, where it was asked to join. */
  readonly device?: DeviceInfo
  /** Which of the addresses answered. */
  readonly address: string
}

/**
 * Connects to the first of the addresses that answers, and greets it. `dials` is told of each transport before it dials, since one
 * that fails was used too. Rejects with the error where there is one address, else with a `ConnectionError` that says what came of each;
 * with the reason of `signal` where that aborts before a device has answered.
 */
export async function reach(
  addresses: readonly string[],
  greeting: Greeting,
  options: ReachOptions,
  dials: (transport: Transport) => void = () => {},
): Promise<Reached> {
  const failures: Error[] = []
  for (const address of addresses) {
    options.signal?.throwIfAborted()
    try {
      return await reachOne(address, greeting, options, dials)
    } catch (error) {
      options.signal?.throwIfAborted()
      failures.push(error as Error)
    }
  }
  const [first] = failures
  if (failures.length === 1 && first) throw first
  throw new ConnectionError(
    failures.length === 0 ? 'the device has no address' : failures.map(f => f.message).join('; '),
    { cause: first },
  )
}

async function reachOne(
  address: string,
  greeting: Greeting,
  options: ReachOptions,
  dials: (transport: Transport) => void,
): Promise<Reached> {
  const transport = await transportOf(address, options.transport)
  expectSecret(address, options)
  dials(transport)
  const raw = await transport.dial(address, options)
  const { signal } = options
  const giveUp = (): void => raw.close('given up')
  try {
    signal?.addEventListener('abort', giveUp)
    signal?.throwIfAborted()
    const established = await handshake(raw, 'dialer', options)
    const { joinMs = 120_000 } = options
    const { windowBytes } = options
    const told = { ...greeting, ...(windowBytes !== undefined && { windowBytes }) }
    const { connection, device } = await within(joinMs, greet(established, told, shownAddress(address)), () =>
      established.close(`no answer to the greeting within ${joinMs} ms`),
    )
    return { connection, address, ...(device && { device }) }
  } catch (error) {
    raw.close('given up')
    const { message } = error as Error
    const Kind = error instanceof HandshakeError ? HandshakeError : ConnectionError
    const where = shownAddress(address)
    throw message.includes(where) ? error : new Kind(`${where}: ${message}`, { cause: error })
  } finally {
    signal?.removeEventListener('abort', giveUp)
  }
}

/** Waits for `work`, which `giveUp` ends after `ms` milliseconds. */
export async function within<T>(ms: number, work: Promise<T>, giveUp: () => void): Promise<T> {
  const timer = setTimeout(giveUp, ms)
  try {
    return await work
  } finally {
    clearTimeout(timer)
  }
}
