/** prismal/transports/web-rtc: devices that are joined over data channels. */
import { type DeviceSource, type RemoteOptions, remote } from '@prismal/distribute'

export type { RemoteOptions }

/**
 * The device that listens at `address` (`rtc+ws://192.0.2.7:7040`), reached over a data channel that is agreed on by a web-socket to the same
 * port. Off this machine `secret` is needed. Node needs the package `node-datachannel`.
 */
export const webRtc = (address: string, options: RemoteOptions = {}): DeviceSource => remote(address, options)
