/** The server's Object Store (JetStream), by whole objects. */
import type { NatsConnection } from '@nats-io/nats-core'
import type { ObjectStore } from '@nats-io/obj'
import { ConnectionError } from '../errors.js'
import { optionalPackage } from '../transports/optional-package.js'

export interface StoreOptions {
  /** Milliseconds that objects are kept; default: for ever. */
  readonly keepMs?: number
}

/** Opens a bucket, which is made where it does not exist. Throws {@link ConnectionError} where the server has no store. */
export async function openStore(
  nc: NatsConnection,
  bucket: string,
  { keepMs }: StoreOptions = {},
): Promise<ObjectStore> {
  const { Objm } = await optionalPackage<typeof import('@nats-io/obj')>('@nats-io/obj', 'the Object Store of NATS')
  try {
    return await new Objm(nc).create(bucket, keepMs === undefined ? {} : { ttl: keepMs * 1e6 })
  } catch (cause) {
    const { message } = cause as Error
    const why = /jetstream|no ?responders/i.test(`${(cause as Error).name} ${message}`)
      ? 'it runs without JetStream, which holds models and long inputs: start it with nats-server -js'
      : message
    throw new ConnectionError(`the Object Store of ${nc.getServer()} cannot be used: ${why}`, { cause })
  }
}

/** An object, or undefined where there is none. Throws {@link ConnectionError} where it is longer, is damaged or does not come. */
export async function readObject(
  store: ObjectStore,
  name: string,
  mostBytes: number,
  timeoutMs = 60_000,
): Promise<Uint8Array | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it did not come within ${timeoutMs} ms`)), timeoutMs)
  })
  late.catch(() => {})
  try {
    const info = await store.info(name)
    if (!info || info.deleted) return undefined
    if (info.size > mostBytes) throw new Error(`its ${info.size} bytes are more than ${mostBytes}`)
    const found = await Promise.race([store.get(name), late])
    if (!found) return undefined
    found.error.catch(() => {}) // the stream tells of it too
    const bytes = new Uint8Array(info.size)
    let at = 0
    const reader = found.data.getReader()
    try {
      for (;;) {
        const { done, value } = await Promise.race([reader.read(), late])
        if (done) break
        if (at + value.length > bytes.length)
          throw new Error(`it has more than the ${bytes.length} bytes that were told`)
        bytes.set(value, at)
        at += value.length
      }
    } finally {
      await reader.cancel().catch(() => {})
    }
    if (at !== bytes.length) throw new Error(`it has ${at} of the ${bytes.length} bytes that were told`)
    return bytes
  } catch (cause) {
    const [why] = (cause as Error).message.split('\n')
    throw new ConnectionError(`${name} of the server's Object Store could not be read: ${why}`, { cause })
  } finally {
    clearTimeout(timer)
  }
}
