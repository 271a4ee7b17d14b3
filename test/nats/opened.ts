/** Servers and connections that a test opened, which are closed after it: the last first. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import type { NatsConnection } from '@nats-io/nats-core'
import { connectNats } from '@prismal/distribute/nats'
import { afterEach } from 'vitest'
import { type NatsServer, type NatsServerOptions, natsServer } from '../nats-server.js'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

/** Has it called after the test. */
export const afterwards = (close: () => unknown): void => void open.push(close)

export async function started(options?: NatsServerOptions): Promise<NatsServer> {
  const server = await natsServer(options)
  afterwards(() => server.stop())
  return server
}

export async function connected(url: string): Promise<NatsConnection> {
  const nc = await connectNats(url, { reconnectMs: 50 })
  afterwards(() => nc.close())
  return nc
}

/** A script beside this one in a process of its own, which prints what it has to say; killed after the test. */
export function spawned(script: string, url: string, settings: object): ChildProcess & { readonly stdout: Readable } {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', `${import.meta.dirname}/${script}`, url, JSON.stringify(settings)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  afterwards(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })
  return child
}
