/** prismal/transports/web-socket: devices that are joined over web-sockets. */
import { type DeviceSource, type RemoteOptions, remote } from '@prismal/distribute'

export type { RemoteOptions }

/**
 * The device that listens at `address` (`ws://192.0.2.7:7040`, or `wss://`), as `prismal worker --listen` does. Off this machine
 * `secret` is needed. In Node the package `ws` dials, where it is installed; elsewhere the platform.
 */
export const webSocket = (address: string, options: RemoteOptions = {}): DeviceSource => remote(address, options)
