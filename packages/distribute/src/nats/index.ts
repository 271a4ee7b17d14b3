/** @prismal/distribute/nats: discovery, requests and models through a NATS server. */
export { randomId } from '../bytes-as-text.js'
export { type AnnounceOptions, type Announcing, announce } from './announce.js'
export type { Announcement, GroupOptions, HeldModel } from './announcement.js'
export { type Answered, type AskOptions, ask } from './ask.js'
export { ANY_SERVER, type ConnectNatsOptions, connectNats, natsAddress } from './connect.js'
export {
  type AnnounceHostOptions,
  announceHost,
  type NatsDevicesOptions,
  natsDevices,
  ownAddress,
} from './devices.js'
export { type Change, Directory, type DirectoryOptions, type DiscoverOptions, discover } from './directory.js'
export { checkDigest, fetchModel, type ModelFolder, type ModelStoreOptions, pushModel } from './models.js'
export type { TaskRequest } from './requests.js'
export { type Answerer, type ServeOptions, type Serving, serveRequests } from './serve.js'
export { DEFAULT_GROUP, subjectsOf } from './subjects.js'
