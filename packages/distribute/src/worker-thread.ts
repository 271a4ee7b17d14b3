/** What runs in a worker thread: one device with an engine and a copy of the model of its own. */
import { parentPort, workerData } from 'node:worker_threads'
import { loadModel } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { type Build, createEngine, type Precision } from '@prismal/tensor'
import { Device } from './device.js'
import { portConnection } from './transports/message-port.js'

export interface ThreadStart {
  readonly location: string
  readonly build: Build
  readonly dtype: Precision
  readonly threads: number | 'auto'
  readonly control: MessagePort
}
export interface ThreadMessage {
  readonly peer: number
  readonly port: MessagePort
}
/** Says that the port to a device was taken. */
export interface Linked {
  readonly linked: number
}
export type Joined = { readonly digest: string; readonly numericsClass: string } | { readonly error: string }

async function main({ location, build, dtype, threads, control }: ThreadStart): Promise<void> {
  const engine = await createEngine({ backend: build, threads })
  const model = await loadModel(await openFiles(location), { engine, dtype, warn: () => {} })
  const device = new Device(model)
  parentPort?.on('message', ({ peer, port }: ThreadMessage) => {
    device.link(peer, portConnection(port))
    parentPort?.postMessage({ linked: peer } satisfies Linked)
  })
  parentPort?.postMessage({ digest: model.digest, numericsClass: engine.numericsClass(dtype) } satisfies Joined)
  await device.serve(portConnection(control))
  process.exit(0)
}

main(workerData as ThreadStart).catch((error: Error) => {
  parentPort?.postMessage({ error: error.message } satisfies Joined)
})
