/** What runs in a device's thread: an engine with a copy of the model of its own, and a device for each cluster that it is part of. */
import { linkedFiles, loadModel, type ModelUrls } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { type Build, createEngine, type ModuleSource, type Precision, productRate, starterPort } from '@prismal/tensor'
import { Device } from './device.js'
import { ConnectionError } from './errors.js'
import type { DeviceInfo } from './joining.js'
import type { LinkMessage } from './messages.js'
import type { Connection } from './transport.js'
import { portConnection } from './transports/message-port.js'

export interface ThreadStart {
  readonly location: string
  /** Where each of the model's files is, where that is not below the location. */
  readonly urls?: ModelUrls
  readonly build: Build | 'auto'
  readonly module?: ModuleSource
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
  /** Said once, before anything else. */
  | { readonly start: ThreadStart }
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

/** What comes once the model is loaded. */
type Later = Exclude<ToThread, { readonly start: ThreadStart }>

const port = starterPort()
const say = (message: FromThread): void => port.post(message)
let take: ((message: Later) => void) | undefined

async function main({
  location,
  urls,
  build,
  module,
  dtype,
  threads,
  memoryLimitBytes,
  measure,
}: ThreadStart): Promise<void> {
  const engine = await createEngine({
    ...{ backend: build, threads },
    ...(module !== undefined && { module }),
    ...(memoryLimitBytes !== undefined && { memoryLimitBytes }),
  })
  const files = urls ? linkedFiles(urls) : await openFiles(location)
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
  take = message => {
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
  }
  const { digest, precision } = model
  say({
    loaded: {
      ...{ digest, precision, build: engine.build, threads: engine.mostThreads },
      numericsClass: engine.numericsClass(precision),
      weightBytes: engine.arena.kept.usedBytes,
      ...(memoryLimitBytes !== undefined && { memoryLimitBytes }),
      ...(measure && { gigaflops: productRate(engine) }),
    },
  })
}

port.listen(told => {
  const message = told as ToThread
  if (!('start' in message)) return take?.(message)
  main(message.start).catch((error: Error & { code?: unknown }) => {
    say({ failed: error.message, ...(typeof error.code === 'string' && { code: error.code }) })
  })
})
