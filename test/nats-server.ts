/** A real nats-server for tests: on a free port, with a store of its own, ended by its process. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const isInstalled = spawnSync('nats-server', ['--version']).status === 0
if (!isInstalled) {
  const missing = 'nats-server is not installed (Debian: apt-get install nats-server)'
  if (process.env.CI) throw new Error(`${missing}: in CI what needs it must be tested`)
  console.log(`skipped: ${missing}`)
}
/** Whether tests that need a server can run; under CI they must. */
export const hasNatsServer = isInstalled

export interface NatsServerOptions {
  /** Default: a free one. */
  readonly port?: number
  /** With JetStream, in this folder or a temporary one. */
  readonly jetStream?: boolean
  readonly store?: string
  /** What else it is started with. */
  readonly flags?: readonly string[]
}

export interface NatsServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** As a machine fails: it is killed. */
  kill(): Promise<void>
  /** Stops answering without closing anything, and goes on. */
  pause(): void
  resume(): void
  /** As it is stopped. Twice is harmless. */
  stop(): Promise<void>
}

/** Starts a server, and waits until it says that it is ready. */
export async function natsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const { port = -1, jetStream = false, flags = [] } = options
  const store = options.store ?? (jetStream ? mkdtempSync(join(tmpdir(), 'prismal-nats-')) : undefined)
  const args = ['-a', '127.0.0.1', '-p', String(port), ...(store ? ['-js', '-sd', store] : []), ...flags]
  const child = spawn('nats-server', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const listening = await ready(child)
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit')
      child.kill('SIGCONT')
      child.kill(signal)
      await ended
    }
    if (store && store !== options.store) rmSync(store, { recursive: true, force: true })
  }
  return {
    url: `nats://127.0.0.1:${listening}`,
    port: listening,
    pid: child.pid as number,
    kill: () => end('SIGKILL'),
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    stop: () => end('SIGTERM'),
  }
}

function ready(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let log = ''
    child.once('error', reject)
    child.once('exit', code => reject(new Error(`nats-server exited with code ${code}:\n${log}`)))
    child.stderr?.on('data', chunk => {
      log += chunk
      const port = /Listening for client connections on [^\s]*:(\d+)/.exec(log)?.[1]
      if (port && log.includes('Server is ready')) resolve(Number(port))
    })
  })
}
