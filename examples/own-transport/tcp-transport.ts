/** A transport of one's own: messages over TCP, each behind its length. docs/transports.md of the repository tells what it has to do. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type Connection, ConnectionError, type Transport } from '@prismal/distribute'

const MAX_MESSAGE_BYTES = 2 ** 20
const REASON = 2 ** 31 // this bit of a length marks the last message: why the connection ends

function connectionOver(socket: Socket): Connection {
  let reason: string | undefined
  let header: number | undefined
  const waiting: (() => void)[] = [] // sends, until there is room
  const wake = (): void => {
    for (const resume of waiting.splice(0)) resume()
  }
  const closed = new Promise<string>(resolve => socket.once('close', () => resolve(reason ?? 'it broke')))
  const end = (why: string): void => {
    reason ??= why
    socket.destroy()
  }
  const write = (bytes: Uint8Array, mark = 0): boolean => {
    const length = Buffer.alloc(4)
    length.writeUInt32LE(mark + bytes.length)
    return socket.write(Buffer.concat([length, bytes]))
  }
  socket.setNoDelay(true).on('error', error => end(error.message))
  socket.on('drain', wake).on('close', wake)
  return {
    maxMessageBytes: MAX_MESSAGE_BYTES,
    closed,
    async send(message) {
      if (reason !== undefined || !socket.writable) throw new ConnectionError(`the connection is closed: ${reason}`)
      if (!write(message)) await new Promise<void>(resolve => waiting.push(resolve))
    },
    receive(handler) {
      socket.on('readable', () => {
        while (reason === undefined) {
          header ??= (socket.read(4) as Buffer | null)?.readUInt32LE()
          if (header === undefined) return
          const length = header % REASON
          if (length > MAX_MESSAGE_BYTES) return end(`a message of ${length} bytes is too long`)
          const body: Buffer | null = length === 0 ? Buffer.alloc(0) : socket.read(length)
          if (!body) return
          if (header >= REASON) return end(String(body))
          header = undefined
          handler(new Uint8Array(body)) // reliable() counts what the handler has not taken, and stops the other side
        }
      })
    },
    close(why = 'closed') {
      if (reason !== undefined) return
      reason = why
      write(Buffer.from(why), REASON)
      socket.end(() => socket.destroy())
    },
  }
}

const failed = (address: string, why: string) => new ConnectionError(`${address} cannot be used: ${why}`)

export const transport: Transport = {
  name: 'tcp',
  schemes: ['tcp'],
  dial: (address, { timeoutMs = 10_000, signal = new AbortController().signal } = {}) =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(address)
      const socket = connect({ host: hostname, port: Number(port), signal, timeout: timeoutMs })
      socket.once('timeout', () => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)))
      socket.once('error', error => reject(failed(address, error.message)))
      socket.once('connect', () => resolve(connectionOver(socket.setTimeout(0))))
    }),
  listen: (address, accept, { maxConnections = 256 } = {}) =>
    new Promise((resolve, reject) => {
      const open = new Set<Connection>()
      const server = createServer(socket => {
        const connection = connectionOver(socket)
        open.add(connection)
        connection.closed.then(() => open.delete(connection))
        accept({ connection, from: `${socket.remoteAddress}:${socket.remotePort}` })
      })
      const close = async (reason?: string): Promise<void> => {
        const gone = new Promise(resolve => server.close(resolve))
        for (const connection of open) connection.close(reason)
        await gone
      }
      server.maxConnections = maxConnections
      server.once('error', error => reject(failed(address, error.message)))
      const { hostname, port } = new URL(address)
      server.listen(Number(port), hostname, () =>
        resolve({ address: `tcp://${hostname}:${(server.address() as AddressInfo).port}`, close }),
      )
    }),
}
