/** prismal/host: a device that others join over a network, as `prismal worker` is one. Node only. */
import { type Host, type HostOptions, host as hostFiles } from '@prismal/distribute/host'
import { locateNamed } from './locate.js'

export * from '@prismal/distribute/host'

/** As `host` of `@prismal/distribute/host`; the model may be an installed package too. Rejects with `ModelError` where there is none. */
export async function host(options: HostOptions): Promise<Host> {
  const { model } = options
  return hostFiles({ ...options, ...(model !== undefined && { model: locateNamed(model) }) })
}
