/** Devices at addresses: what a coordinator joins over a network. */
import { folderName } from '@prismal/models'
import { randomId } from './bytes-as-text.js'
import type { DeviceSource } from './cluster.js'
import type { ReachOptions } from './dialling.js'
import { DeviceError } from './errors.js'
import type { Greeting, JoinGreeting } from './joining.js'
import { type Dialled, networkOf } from './network.js'
import { shownAddress } from './shown-address.js'
import { portConnection, portPair } from './transports/message-port.js'

export interface RemoteOptions extends ReachOptions {
  /** Default: the (first) address. */
  readonly name?: string
  /** Take a device whose results differ in the last bits, or that stores matrices otherwise; default: refuse it. */
  readonly mixed?: boolean
  /**
   * Keep sockets on a thread of their own, so that computing here delays neither what arrives nor heartbeats. Default: true
   * where the runtime has threads.
   */
  readonly networkThread?: boolean
}

/**
 * A device that listens at an address, as `prismal worker` does; of several addresses the first that answers. Off this machine a
 * secret is needed. Joining rejects with {@link DeviceError} where it does not answer, refuses, or holds another model, and with
 * the reason of a signal that aborts.
 */
export function remote(address: string | readonly string[], options: RemoteOptions = {}): DeviceSource {
  const addresses = typeof address === 'string' ? [address] : address
  const { name = shownAddress(addresses[0] ?? 'remote'), mixed = false, networkThread, ...reachOptions } = options
  return {
    name,
    async join(model, _, joining) {
      const signals = [reachOptions.signal, joining].flatMap(signal => signal ?? [])
      const signal = signals.length > 0 ? AbortSignal.any(signals) : undefined
      const session = randomId()
      const greeting: JoinGreeting = {
        ...{ purpose: 'join', session, mixed, digest: model.digest, model: folderName(model.location) },
        numericsClass: model.engine.numericsClass(model.precision),
      }
      const network = await networkOf(networkThread)
      /** Joins the device's end of a connection to a port. */
      const dial = async (to: readonly string[], message: Greeting, port: MessagePort): Promise<Dialled> => {
        try {
          const options = { ...reachOptions, ...(signal && { signal }) }
          return await network.dial({ addresses: to, greeting: message, options }, port)
        } catch (error) {
          signal?.throwIfAborted()
          throw new DeviceError((error as Error).message, { cause: error })
        }
      }
      const [ours, theirs] = portPair()
      const control = portConnection(ours)
      const leave = async (): Promise<void> => {
        control.close('the cluster was disposed')
        await network.release()
      }
      try {
        const { device, address: reached } = await dial(addresses, greeting, theirs)
        if (!device) throw new DeviceError(`${name} did not say what it is`)
        return {
          ...{ name, control, digest: device.digest, numericsClass: device.numericsClass, about: device },
          takes: 'port',
          // Where it answered comes first: others may lead elsewhere.
          reach: { addresses: [reached, ...addresses.filter(a => a !== reached)], session },
          async link(peer, end) {
            if (!('port' in end)) throw new DeviceError(`${name} is elsewhere and takes ports, not connections`)
            await dial([reached], { purpose: 'link', session, peer }, end.port)
          },
          end: leave,
        }
      } catch (error) {
        await leave()
        throw error
      }
    },
  }
}
