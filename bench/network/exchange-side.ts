/**
 * One side of an exchange, as devices are built: the main thread has the sockets, the handshake and what makes a
 * connection reliable; a second thread, which would compute, is joined to it by a port.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { type Arrival, type Connection, handshake, Secret, type Transport } from '@prismal/distribute'
import { portConnection } from '@prismal/distribute/transports/message-port'
import { serveLines } from '../line-process.js'
import type { Place, SideMessage, Task } from './exchange-messages.js'

/** The thread that would compute. */
class Computing {
  readonly #worker = new Worker(fileURLToPath(import.meta.url))

  attach(port: MessagePort): void {
    this.#worker.postMessage({ port }, [port as never])
  }
  async run(task: Task): Promise<number> {
    const answered = new Promise<number>(resolve => this.#worker.once('message', resolve))
    this.#worker.postMessage({ task })
    return answered
  }
}

function computing(): void {
  let connection: Connection | undefined
  const inbox = new Inbox()
  parentPort?.on('message', async (message: { port: MessagePort } | { task: Task }) => {
    if ('port' in message) {
      connection = portConnection(message.port)
      connection.receive(bytes => inbox.put(bytes))
      connection.closed.then(reason => {
        throw new Error(`the connection closed: ${reason}`) // ends the process, which tells
      })
    } else if (connection) parentPort?.postMessage(await perform(message.task, connection, inbox))
  })
}

class Inbox {
  readonly #came: Uint8Array[] = []
  #waiting: ((bytes: Uint8Array) => void) | undefined

  put(bytes: Uint8Array): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting) waiting(bytes)
    else this.#came.push(bytes)
  }
  async next(): Promise<Uint8Array> {
    return this.#came.shift() ?? new Promise(resolve => (this.#waiting = resolve))
  }
}

async function perform(task: Task, connection: Connection, inbox: Inbox): Promise<number> {
  const started = performance.now()
  if ('exchange' in task) {
    const { bytes, times } = task.exchange
    for (let i = 0; i < times; i++) {
      void connection.send(new Uint8Array(bytes).fill(i))
      await inbox.next()
    }
  } else {
    const { bytes, times, part } = task.stream
    for (let i = 0; i < times; i++) {
      if (part === 'take') await inbox.next()
      void connection.send(new Uint8Array(part === 'send' ? bytes : 0))
      if (part === 'send') await inbox.next()
    }
  }
  return performance.now() - started
}

const transportAt = async (module: string): Promise<Transport> =>
  ((await import(module)) as { transport: Transport }).transport

const secretOf = ({ secretFile }: Place): { secret?: Secret } =>
  secretFile === undefined ? {} : { secret: Secret.parse(readFileSync(secretFile, 'utf8').trim()) }

/** Joins an established connection to the thread that computes. */
function join(connection: Connection, thread: Computing): void {
  const { port1, port2 } = new MessageChannel()
  const local = portConnection(port1)
  connection.receive(message => local.send(message))
  local.receive(message => connection.send(message))
  connection.closed.then(reason => local.close(reason))
  thread.attach(port2)
}

async function main(): Promise<void> {
  const threads: Computing[] = []
  /** The dialling side may be there before the listening one has heard its proof. */
  let joined = Promise.resolve()
  const thread = (): Computing => {
    const made = new Computing()
    threads.push(made)
    return made
  }
  await serveLines<SideMessage>(async message => {
    if ('listen' in message) {
      const transport = await transportAt(message.listen.module)
      const computing = thread()
      let arrived: (arrival: Arrival) => void
      const arrival = new Promise<Arrival>(resolve => {
        arrived = resolve
      })
      const { address } = await transport.listen(message.listen.address, found => arrived(found))
      joined = arrival
        .then(({ connection }) => handshake(connection, 'listener', secretOf(message.listen)))
        .then(connection => join(connection, computing))
      joined.catch(() => {}) // whoever is asked for an exchange tells
      return { address }
    }
    if ('dial' in message) {
      const transport = await transportAt(message.dial.module)
      join(await handshake(await transport.dial(message.dial.address), 'dialer', secretOf(message.dial)), thread())
      return {}
    }
    if ('ports' in message) {
      const { port1, port2 } = new MessageChannel()
      thread().attach(port1)
      thread().attach(port2)
      return {}
    }
    await joined
    const [first, second] = threads
    if (!first) throw new Error('nothing is connected')
    const other: Task = 'stream' in message ? { stream: { ...message.stream, part: 'take' } } : message
    const [milliseconds] = await Promise.all([first.run(message), ...(second ? [second.run(other)] : [])])
    return { milliseconds }
  })
}

if (isMainThread) await main()
else computing()
