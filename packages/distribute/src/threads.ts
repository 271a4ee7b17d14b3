/** @prismal/distribute/threads: devices in threads, one engine each: worker threads of Node, Deno and Bun, or web workers. */
import { placeForThreads } from '@prismal/models'
import type { Build, ModuleSource, Precision, ThreadScript } from '@prismal/tensor'
import type { DeviceSource } from './cluster.js'
import { ComputeThread } from './compute.js'
import { DeviceError } from './errors.js'
import { portConnection, portPair } from './transports/message-port.js'

export interface ThreadOptions {
  /** The build that the thread's engine runs; default: the coordinator's. */
  readonly build?: Build
  /** How the thread stores weight matrices; default: as the coordinator does. */
  readonly dtype?: Precision
  /**
   * Threads that the device's engine computes with, or `'auto'` for as many as there are cores; default: 1. Devices on
   * one machine share its cores.
   */
  readonly threads?: number | 'auto'
  /** The wasm build to run, where it is not to be found beside the thread's script: a `Module`, its bytes, or where they are. */
  readonly module?: ModuleSource
  readonly name?: string
  /** The script to run, where `worker-thread.js` is not to be found beside this file, or what starts it. */
  readonly script?: ThreadScript
}

/** A thread serves one cluster: any name of it will do. */
const SESSION = 'the coordinator'

/**
 * A device in a thread, which loads the model itself from where the coordinator has it. Joining throws `DeviceError` where
 * the thread cannot be started, and says why.
 */
export function thread(options: ThreadOptions = {}): DeviceSource {
  const { name = 'thread', script, module } = options
  return {
    name,
    async join(model) {
      const { build = model.engine.build, dtype = model.precision, threads = 1 } = options
      const compute = await ComputeThread.start({
        ...{ name, location: model.location, build, dtype, threads, measure: false },
        ...(model.urls && { urls: model.urls }),
        ...(script && { script }),
        ...(module && { module: placeForThreads(module) }),
      })
      const [ours, theirs] = portPair()
      compute.open(SESSION, theirs)
      const control = portConnection(ours)
      compute.ended.then(reason => control.close(reason))
      const { digest, numericsClass } = compute.loaded
      return {
        ...{ name, control, digest, numericsClass, about: compute.loaded, takes: 'port' },
        async link(peer, end) {
          if (!('port' in end))
            throw new DeviceError(`${name} lives in another thread and takes ports, not connections`)
          await compute.link(SESSION, peer, end.port).catch((error: Error) => {
            throw new DeviceError(`${name} could not join: ${error.message}`)
          })
        },
        async end() {
          control.close('the cluster was disposed')
          await compute.end()
        },
      }
    },
  }
}
