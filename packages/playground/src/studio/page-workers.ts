/**
 * Workers of the studio that the page starts for it: Firefox 153 now and then stops a worker for good that starts workers of its own. The
 * page only passes on what is said to begin with; devices talk over ports of theirs.
 */
import type { WorkerLike } from 'prismal/tensor'

export interface Spawn {
  readonly spawn: string
  readonly port: MessagePort
}

/** In the studio: what stands in for `Worker`. */
export class PageWorker extends EventTarget implements WorkerLike {
  readonly #port: MessagePort

  constructor(script: URL | string) {
    super()
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    port1.onmessage = ({ data }) => {
      if ('failed' in data) this.dispatchEvent(new ErrorEvent('error', { message: data.failed }))
      else this.dispatchEvent(new MessageEvent('message', { data: data.said }))
    }
    const message: Spawn = { spawn: String(script), port: port2 }
    globalThis.postMessage(message, { transfer: [port2] })
  }
  postMessage(say: unknown, ports: Transferable[]): void {
    this.#port.postMessage({ say }, ports)
  }
  terminate(): void {
    this.#port.postMessage({ end: true })
  }
}

/** In the page: starts one, and passes on what is said. */
export function startForStudio({ spawn, port }: Spawn): void {
  const worker = new Worker(spawn, { type: 'module' })
  worker.onmessage = ({ data }) => port.postMessage({ said: data })
  worker.onerror = event => port.postMessage({ failed: event.message })
  port.onmessage = ({ data, ports }) => {
    if ('end' in data) worker.terminate()
    else worker.postMessage(data.say, [...ports])
  }
}
