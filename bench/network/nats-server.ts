/** A NATS server on a free port of loopback, for as long as it is needed. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Unavailable } from '../contender.js'
import { atExit } from '../endings.js'

export interface NatsServer {
  readonly url: string
  end(): Promise<void>
}

/** Throws {@link Unavailable} where there is no server to start. */
export async function natsServer(): Promise<NatsServer> {
  if (spawnSync('nats-server', ['--version']).error)
    throw new Unavailable('there is no `nats-server` (package nats-server)')
  const server = spawn('nats-server', ['--addr', '127.0.0.1', '--port', '-1'], { stdio: ['ignore', 'ignore', 'pipe'] })
  const forget = atExit(() => void server.kill('SIGKILL'))
  const gone = once(server, 'exit').then(forget)
  let port: string | undefined
  for await (const line of createInterface({ input: server.stderr })) {
    port ??= /Listening for client connections on 127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (line.includes('Server is ready')) break
  }
  if (port === undefined) throw new Error('nats-server did not say where it listens')
  server.stderr.resume()
  return {
    url: `nats://127.0.0.1:${port}`,
    async end() {
      server.kill('SIGTERM')
      await gone
    },
  }
}
