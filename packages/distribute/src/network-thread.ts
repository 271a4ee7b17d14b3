/** What runs in the thread of a process' connections: it dials, and passes on what comes and goes. */

import { PrismalError } from '@prismal/tensor'
import { reach } from './dialling.js'
import { pipe } from './joining.js'
import type { FromNetwork, ToNetwork } from './network.js'
import { Secret } from './secret.js'
import type { Connection, Transport } from './transport.js'
import { portConnection } from './transports/message-port.js'

/** Most milliseconds that closing connections may take to say so to the other side. */
const LAST_WORDS_MS = 2000

const own = globalThis.process?.getBuiltinModule?.('node:worker_threads').parentPort
const say = (message: FromNetwork): void => own?.postMessage(message)
const dialling = new Map<number, AbortController>()
const open = new Set<Connection>()
const used = new Set<Transport>()

own?.on('message', (message: ToNetwork) => {
  if ('abort' in message) dialling.get(message.abort)?.abort(new Error('aborted'))
  else if ('end' in message) void end()
  else if ('exit' in message) process.exit(0)
  else void dial(message)
})

async function dial({ dial: id, addresses, greeting, options, secret, port }: Extract<ToNetwork, { dial: number }>) {
  const local = portConnection(port)
  const controller = new AbortController()
  dialling.set(id, controller)
  try {
    const { connection, ...dialled } = await reach(
      addresses,
      greeting,
      {
        ...{ ...options, signal: controller.signal },
        ...(secret !== undefined && { secret: Secret.fromBytes(secret) }),
      },
      transport => used.add(transport),
    )
    open.add(connection)
    void connection.closed.then(() => open.delete(connection))
    pipe(connection, local)
    say({ dialled: id, ...dialled })
  } catch (error) {
    local.close('it could not be dialled')
    say({
      ...{ dialled: id, failed: (error as Error).message },
      ...(error instanceof PrismalError && { code: error.code }),
    })
  } finally {
    dialling.delete(id)
  }
}

/** What was posted before has been passed on by now, closes among them. */
async function end(): Promise<void> {
  for (const controller of dialling.values()) controller.abort(new Error('the network ended'))
  for (const connection of open) connection.close('the coordinator ended')
  const all = Promise.all([...open].map(c => c.closed))
  await Promise.race([all, new Promise(resolve => setTimeout(resolve, LAST_WORDS_MS))])
  await Promise.all([...used].map(transport => transport.rest?.()))
  say({ ended: true, stays: [...used].some(transport => transport.staysInThread) })
}
