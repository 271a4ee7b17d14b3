/** Devices that announce themselves, as sources of a cluster; and a host that announces itself. */
import type { NatsConnection } from '@nats-io/nats-core'
import { randomId } from '../bytes-as-text.js'
import type { DeviceSource } from '../cluster.js'
import { ConnectionError } from '../errors.js'
import type { Host } from '../host.js'
import { type RemoteOptions, remote } from '../remote.js'
import { type AnnounceOptions, type Announcing, announce } from './announce.js'
import { ANY_SERVER } from './connect.js'
import { type DiscoverOptions, discover } from './directory.js'
import { subjectsOf } from './subjects.js'

export interface NatsDevicesOptions
  extends DiscoverOptions,
    Omit<RemoteOptions, 'name' | 'natsServer' | 'secret' | 'signal' | 'timeoutMs' | 'transport'> {
  /** `nats`: rows travel through the server too; else only where a device cannot be dialled directly. */
  readonly via?: 'nats'
}

/**
 * Finds devices by {@link discover} and gives them as sources of a cluster. `url` is how the server is reached from here;
 * the devices reach it in their own ways. Rejects with `DeviceError` where there are too few.
 */
export async function natsDevices(
  nc: NatsConnection,
  url: string,
  options: NatsDevicesOptions,
): Promise<DeviceSource[]> {
  const { count, digest, numericsClass, timeoutMs, settleMs, signal, group, log, via, secret, ...rest } = options
  const found = await discover(nc, {
    ...{ count, digest },
    ...(numericsClass !== undefined && { numericsClass }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(settleMs !== undefined && { settleMs }),
    ...(group !== undefined && { group }),
    ...(secret && { secret }),
    ...(log && { log }),
    ...(signal && { signal }),
  })
  return found.map(({ name, addresses }) => {
    const through = addresses.filter(a => a.startsWith(`${ANY_SERVER}/`))
    const direct = addresses.filter(a => !a.startsWith(`${ANY_SERVER}/`))
    const dialled = via === 'nats' ? through : [...direct, ...through]
    if (dialled.length === 0)
      throw new ConnectionError(
        `${name} takes no connections through NATS: start it with --listen nats, or leave via out`,
      )
    return remote(dialled, { ...rest, name, natsServer: url, ...(secret && { secret }) })
  })
}

/** An address at which a host listens through its server: a subject of its own for each start. */
export const ownAddress = (group?: string, id = randomId()): string => `${ANY_SERVER}/${subjectsOf(group).device(id)}`

export interface AnnounceHostOptions extends AnnounceOptions {
  /** Of prismal. */
  readonly version: string
  /** Default: the device's. */
  readonly name?: string
  /** Whether the host has a `fetch`. */
  readonly fetches?: boolean
}

/** Announces a host until `stop()`; call `tell()` in its `changed`. */
export function announceHost(
  nc: NatsConnection,
  host: Pick<Host, 'addresses' | 'device' | 'sessions'>,
  { version, name: called, fetches = false, ...options }: AnnounceHostOptions,
): Announcing {
  const id = randomId()
  return announce(
    nc,
    () => {
      const { device, addresses, sessions } = host
      const {
        name = called ?? addresses[0] ?? 'device',
        gigaflops = 0,
        threads = 1,
        build = '',
        memoryLimitBytes,
      } = device ?? {}
      return {
        ...{ id, name, addresses, fetches, sessions, gigaflops, threads, build, version },
        models: device
          ? [
              {
                name: device.model,
                digest: device.digest,
                dtype: device.precision,
                numericsClass: device.numericsClass,
              },
            ]
          : [],
        ...(memoryLimitBytes !== undefined && { memoryLimitBytes }),
        ...(memoryLimitBytes !== undefined &&
          device && { memoryFreeBytes: Math.max(0, memoryLimitBytes - device.weightBytes) }),
      }
    },
    options,
  )
}
