/** prismal/nats: discovery, requests and models through a NATS server. */
export * from '@prismal/distribute/nats'
export { cacheFolder, modelFromStore, type StoredModelOptions } from './model-cache.js'
export { announcedDevices } from './nats-devices.js'
