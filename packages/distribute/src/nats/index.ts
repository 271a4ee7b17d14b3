/** @prismal/distribute/nats: discovery, requests and models through a NATS server. */
export { type AnnounceOptions, type Announcing, announce } from './announce.js'
export type { Announcement, GroupOptions, HeldModel } from './announcement.js'
export { type ConnectNatsOptions, connectNats, natsAddress } from './connect.js'
export { type Change, Directory, type DirectoryOptions, type DiscoverOptions, discover } from './directory.js'
export { DEFAULT_GROUP, randomId, subjectsOf } from './subjects.js'
