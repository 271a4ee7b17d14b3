/** What runs in a worker thread: an engine with a copy of the model of its own, and a device for each cluster that it is part of. */
import { parentPort, workerData } from 'node:worker_threads'
import { loadModel } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { type Build, createEngine, type Engine, matmul, type Precision } from '@prismal/tensor'
import { Device } from './device.js'
import { ConnectionError } from './errors.js'
import type { DeviceInfo } from './joining.js'
import type { LinkMessage } from './messages.js'
import type { Connection } from './transport.js'
import { portConnection } from './transports/message-port.js'

export interface ThreadStart {
  readonly location: string
  readonly build: Build | 'auto'
  readonly dtype?: Precision
  readonly threads: number | 'auto'
  readonly memoryLimitBytes?: number
  /** Whether to time a matrix product first. */
  readonly measure: boolean
}
/** Which of a thread's clusters is meant. */
interface OfSession {
  readonly session: string
}
export type ToThread =
  | (OfSession & { readonly open: MessagePort })
  | (OfSession & { readonly link: MessagePort; readonly peer: number })
  | { readonly dialled: number; readonly port?: MessagePort; readonly failed?: string }
/** What a thread says of itself once its model is loaded. */
export type Loaded = Omit<DeviceInfo, 'name' | 'model'>
export type FromThread =
  | { readonly loaded: Loaded }
  | { readonly failed: string; readonly code?: string }
  | (OfSession & { readonly linked: number })
  | { readonly dial: number; readonly link: LinkMessage }

const say = (message: FromThread): void => parentPort?.postMessage(message)

async function main({ location, build, dtype, threads, memoryLimitBytes, measure }: ThreadStart): Promise<void> {
  const engine = await createEngine({
    ...{ backend: build, threads },
    ...(memoryLimitBytes !== undefined && { memoryLimitBytes }),
  })
  const files = await openFiles(location)
  const model = await loadModel(files, { engine, ...(dtype && { dtype }), warn: () => {} })
  await files.close?.()
  const devices = new Map<string, Device>()
  const dialled = new Map<number, { resolve: (c: Connection) => void; reject: (e: Error) => void }>()
  let dials = 0
  const dial = (link: LinkMessage): Promise<Connection> =>
    new Promise((resolve, reject) => {
      dialled.set(++dials, { resolve, reject })
      say({ dial: dials, link })
    })
  parentPort?.on('message', (message: ToThread) => {
    if ('open' in message) {
      const device = new Device(model, { dial })
      devices.set(message.session, device)
      void device.serve(portConnection(message.open)).finally(() => devices.delete(message.session))
    } else if ('link' in message) {
      devices.get(message.session)?.link(message.peer, portConnection(message.link))
      say({ session: message.session, linked: message.peer })
    } else {
      const waiting = dialled.get(message.dialled)
      dialled.delete(message.dialled)
      if (message.port) waiting?.resolve(portConnection(message.port))
      else waiting?.reject(new ConnectionError(message.failed ?? 'it could not be dialled'))
    }
  })
  const { digest, precision } = model
  say({
    loaded: {
      ...{ digest, precision, build: engine.build, threads: engine.mostThreads },
      numericsClass: engine.numericsClass(precision),
      weightBytes: engine.arena.kept.usedBytes,
      ...(memoryLimitBytes !== undefined && { memoryLimitBytes }),
      ...(measure && { gigaflops: gigaflops(engine) }),
    },
  })
}

/** The rate of an f32 matrix product that fits the cache, best of several, in GF/s. */
function gigaflops(engine: Engine): number {
  const [m, k, n] = [96, 256, 256]
  const scope = engine.scope()
  try {
    const a = scope.tensor(new Float32Array(m * k).fill(0.5), [m, k])
    const b = scope.tensor(new Float32Array(k * n).fill(0.5), [k, n])
    let best = 0
    const until = performance.now() + 100
    while (performance.now() < until) {
      const started = performance.now()
      for (let i = 0; i < 5; i++) matmul(a, b).dispose()
      best = Math.max(best, (5 * 2 * m * k * n) / (performance.now() - started) / 1e6)
    }
    return best
  } finally {
    scope.dispose()
  }
}

main(workerData as ThreadStart).catch((error: Error & { code?: unknown }) => {
  say({ failed: error.message, ...(typeof error.code === 'string' && { code: error.code }) })
})
