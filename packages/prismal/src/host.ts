/** prismal/host: a device that others join over a network, as `prismal worker` is one. Node only. */
export * from '@prismal/distribute/host'
