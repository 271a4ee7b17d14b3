/** Devices that a NATS server knows of, as members of a cluster. */
import { type DeviceSource, type RemoteOptions, remote } from '@prismal/distribute'
import { type Announcement, connectNats, discover, type GroupOptions, natsAddress } from '@prismal/distribute/nats'
import type { Model } from '@prismal/models'

export interface NatsDevicesOptions extends GroupOptions, Pick<RemoteOptions, 'mixed' | 'timeoutMs'> {
  /** How data goes: to the devices' own addresses where they answer (default), or all of it through the server. */
  readonly via?: 'peer' | 'nats'
}

/**
 * `count` devices that announce themselves at a server, hold the model (or fetch it) and are least busy. They are looked for when the
 * cluster is joined, and anew each time: nothing is kept that a restart would miss.
 */
export function natsDevices(url: string, count: number, options: NatsDevicesOptions = {}): DeviceSource[] {
  const { via = 'peer', mixed, timeoutMs, ...group } = options
  const find = async ({ digest, engine, precision }: Model): Promise<Announcement[]> => {
    const nc = await connectNats(url, timeoutMs === undefined ? {} : { timeoutMs })
    try {
      return await discover(nc, {
        ...{ ...group, count, digest },
        ...(!mixed && { numericsClass: engine.numericsClass(precision) }),
        ...(timeoutMs !== undefined && { timeoutMs }),
      })
    } finally {
      await nc.close()
    }
  }
  let found: Promise<Announcement[]> | undefined
  return Array.from({ length: count }, (_, i) => ({
    name: `device ${i + 1} at the NATS server`,
    async join(model, memory) {
      // Devices join one after another, the first one first.
      if (i === 0) found = find(model)
      const { name, addresses, subject } = ((await found) as Announcement[])[i] as Announcement
      const through = subject === undefined ? [] : [natsAddress(url, subject)]
      return remote(via === 'nats' ? through : [...addresses, ...through], {
        ...(group.secret && { secret: group.secret }),
        ...(mixed !== undefined && { mixed }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        // A model may have to be fetched first.
        ...{ name, joinMs: 600_000 },
      }).join(model, memory)
    },
  }))
}
