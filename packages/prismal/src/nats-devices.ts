/** Devices that a NATS server knows of, looked for when a cluster is joined. */
import type { DeviceSource } from '@prismal/distribute'
import { connectNats, type NatsDevicesOptions, natsDevices } from '@prismal/distribute/nats'
import type { Model } from '@prismal/models'

/** A device may have to fetch the model first. */
const JOIN_MS = 600_000

/**
 * `count` devices that announce themselves at the server `url`, hold the model of the coordinator or can fetch it, and are least busy.
 * They are looked for anew each time that the cluster is joined: nothing is kept that a restart would miss.
 */
export function announcedDevices(
  url: string,
  count: number,
  options: Omit<NatsDevicesOptions, 'count' | 'digest' | 'numericsClass'> = {},
): DeviceSource[] {
  const find = async ({ digest, engine, precision }: Model): Promise<DeviceSource[]> => {
    const { timeoutMs } = options
    const nc = await connectNats(url, timeoutMs === undefined ? {} : { timeoutMs })
    try {
      return await natsDevices(nc, url, {
        ...{ joinMs: JOIN_MS, ...options, count, digest },
        ...(!options.mixed && { numericsClass: engine.numericsClass(precision) }),
      })
    } finally {
      await nc.close()
    }
  }
  let found: Promise<DeviceSource[]> | undefined
  return Array.from({ length: count }, (_, i) => ({
    name: `device ${i + 1} at the NATS server`,
    async join(model, memory) {
      // Devices join one after another, the first one first.
      if (i === 0) found = find(model)
      const source = (await found)?.[i] as DeviceSource
      return source.join(model, memory)
    },
  }))
}
