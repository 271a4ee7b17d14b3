/**
 * @prismal/distribute/transports/web-socket: connections between machines. Dials with the package `ws` in Node, where it is
 * installed, and with the platform's WebSocket everywhere else; listens with `ws`, in Node.
 */
import type { WebSocket as WsSocket } from 'ws'
import type { Transport } from '../transport.js'
import { readAddress } from './socket-address.js'
import { wsConnection } from './web-socket-connection.js'
import { dialPath, type WebSocketOptions } from './web-socket-dialer.js'
import { listenForUpgrades } from './web-socket-listener.js'

export type { WebSocketOptions }

const SCHEMES = ['ws', 'wss'] as const

/** The transport with settings of its own; {@link transport} is the one without. */
export function webSocketTransport({ client }: WebSocketOptions = {}): Transport {
  return {
    name: 'web-socket',
    schemes: SCHEMES,
    async dial(address, options) {
      return dialPath(readAddress(address, SCHEMES), '/', { ...options, ...(client && { client }) })
    },
    async listen(text, accept, options = {}) {
      const address = readAddress(text, SCHEMES)
      const route = async (socket: WsSocket, from: string): Promise<void> => {
        const connection = wsConnection(socket)
        const gone = new Promise<void>(resolve => socket.once('close', () => resolve()))
        accept({ connection, from })
        await gone
      }
      return listenForUpgrades(address, text.startsWith('wss') ? 'wss' : 'ws', { '/': route }, options)
    },
  }
}

/** Connections over web-sockets: `ws://192.0.2.7:7040`, or `wss://` where a certificate is given. Messages have at most 1 MiB. */
export const transport: Transport = webSocketTransport()
