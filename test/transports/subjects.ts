/** What the contract runs over: every transport, as a way to open connections. Adding one is a line in `subjects`. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Connection, Transport } from '@prismal/distribute'
import { memoryPair } from '@prismal/distribute/transports/memory'
import { portConnection } from '@prismal/distribute/transports/message-port'
import { transport as nats } from '@prismal/distribute/transports/nats'
import { transport as webRtc } from '@prismal/distribute/transports/web-rtc'
import { transport as webSocket, webSocketTransport } from '@prismal/distribute/transports/web-socket'
import { afterAll } from 'vitest'
import { transport as tcp } from '../../examples/own-transport/tcp-transport.js'
import { hasNatsServer, natsServer } from '../nats-server.js'

export interface Subject {
  readonly name: string
  /** Starts to listen; `accept` gets the other end of each connection. */
  open(accept: (connection: Connection) => void): Promise<Listening>
  /** Listens in a process of its own and sends back what comes. Only where machines are connected. */
  readonly startProcess?: () => Promise<EchoProcess>
}
export interface Listening {
  dial(): Promise<Connection>
  end(): Promise<void>
}
export interface EchoProcess {
  readonly child: ChildProcess
  dial(): Promise<Connection>
}

/** A transport that needs no address. */
function pairs(name: string, pair: () => [Connection, Connection]): Subject {
  return {
    name,
    open: async accept => ({
      dial: async () => {
        const [ours, theirs] = pair()
        accept(theirs)
        return ours
      },
      end: async () => {},
    }),
  }
}

/** A transport between machines, at an address with port 0; `listening` is the module that a process imports. */
function addresses(name: string, transport: Transport, address: string, listening: string): Subject {
  return {
    name,
    async open(accept) {
      const listener = await transport.listen(address, ({ connection }) => accept(connection))
      return { dial: () => transport.dial(listener.address), end: () => listener.close() }
    },
    async startProcess() {
      const script = fileURLToPath(new URL('./echo-process.mjs', import.meta.url))
      const args = [...(listening.endsWith('.ts') ? ['--import', 'tsx'] : []), script, listening, address]
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
      const [answer] = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => ['it exited'])])
      if (typeof answer !== 'object') throw new Error(`${name} cannot listen in a process: ${answer}`)
      return { child, dial: () => transport.dial(answer.address) }
    },
  }
}

function ports(): [Connection, Connection] {
  const { port1, port2 } = new MessageChannel()
  return [portConnection(port1), portConnection(port2)]
}

const WEB_SOCKET = '@prismal/distribute/transports/web-socket'
const platformSocket = webSocketTransport({ client: 'platform' })

const server = hasNatsServer ? await natsServer() : undefined
afterAll(() => server?.stop())

export const subjects: readonly Subject[] = [
  pairs('memory', memoryPair),
  pairs('message-port', ports),
  addresses('web-socket', webSocket, 'ws://127.0.0.1:0', WEB_SOCKET),
  // Node 20 has no WebSocket of its own: there the one of the package is the only client.
  ...('WebSocket' in globalThis
    ? [addresses('web-socket, platform client', platformSocket, 'ws://127.0.0.1:0', WEB_SOCKET)]
    : []),
  addresses('web-rtc', webRtc, 'rtc+ws://127.0.0.1:0', '@prismal/distribute/transports/web-rtc'),
  ...(server ? [addresses('nats', nats, server.url, '@prismal/distribute/transports/nats')] : []),
  addresses(
    'examples/own-transport',
    tcp,
    'tcp://127.0.0.1:0',
    new URL('../../examples/own-transport/tcp-transport.ts', import.meta.url).href,
  ),
]
