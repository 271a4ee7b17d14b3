/** Addresses of web-sockets and of what is signalled over them: `ws://192.0.2.7:7040`. */
import { ConnectionError } from '../errors.js'

export interface SocketAddress {
  /** As it was given. */
  readonly text: string
  readonly isSecure: boolean
  /** Without the brackets of IPv6. */
  readonly host: string
  readonly port: number
}

/** Reads `SCHEME://HOST[:PORT]`. Throws `ConnectionError` where it is something else or the scheme is none of `schemes`. */
export function readAddress(address: string, schemes: readonly string[]): SocketAddress {
  const scheme = /^([a-z+]+):\/\//.exec(address)?.[1]
  if (scheme === undefined || !schemes.includes(scheme))
    throw new ConnectionError(`${address} is not an address of ${schemes.map(name => `${name}://`).join(' or ')}`)
  const isSecure = scheme.endsWith('wss')
  let url: URL
  try {
    url = new URL(address.replace(scheme, isSecure ? 'wss' : 'ws'))
  } catch (error) {
    throw new ConnectionError(`${address} is not an address like ${scheme}://192.0.2.7:7040`, { cause: error })
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '')
    throw new ConnectionError(`${address} has more than a host and a port`)
  const port = url.port === '' ? (isSecure ? 443 : 80) : Number(url.port)
  return { text: address, isSecure, host: url.hostname.replace(/^\[|\]$/g, ''), port }
}

/** `HOST:PORT`, in brackets where the host has colons. */
export const hostAndPort = (host: string, port: number): string => `${host.includes(':') ? `[${host}]` : host}:${port}`

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
/** Whether it stands for every address of the machine. */
export const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::'
export const isIpAddress = (host: string): boolean => /^\d{1,3}(\.\d{1,3}){3}$/.test(host) || host.includes(':')
