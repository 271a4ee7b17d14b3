/** prismal/nats: discovery, requests and models through a NATS server. */
export * from '@prismal/distribute/nats'
export { cacheFolder, modelFromStore, type StoredModelOptions } from './model-cache.js'
export { type NatsDevicesOptions, natsDevices } from './nats-devices.js'
