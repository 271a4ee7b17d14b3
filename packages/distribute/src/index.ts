/** @prismal/distribute: several devices share one inference by segment means (PRISM, arXiv 2507.12145). */
export { Channel } from './channel.js'
export { sharing as parseSharing } from './checks.js'
export {
  type Cluster,
  type ClusterOptions,
  cluster,
  type DeviceSource,
  type DeviceSpec,
  type JoinOptions,
  type LinkEnd,
  type LocalOptions,
  localMember,
  type Member,
  memoryDevice,
  SharedRunner,
} from './cluster.js'
export { type CostOptions, cost, type DeviceCost } from './cost.js'
export { Device, type DeviceOptions } from './device.js'
export { isLoopback, type ReachOptions } from './dialling.js'
export * from './errors.js'
export { type DeviceEstimate, type EstimateOptions, estimate } from './estimate.js'
export { type HandshakeOptions, handshake } from './handshake.js'
export type { DeviceInfo } from './joining.js'
export * from './measured/index.js'
export * from './options.js'
export * from './plan.js'
export { PUBLISHED, recommended, withDefaults } from './recommended.js'
export { type ReliableConnection, type ReliableOptions, reliable } from './reliable.js'
export { type RemoteOptions, remote } from './remote.js'
export { sentRuns, splitEven, splitGraded, splitWeighted } from './runs.js'
export type { Seal } from './seal.js'
export { Secret } from './secret.js'
export { type Exchange, layoutOf, shared } from './shared-context.js'
export type { SharedRequest } from './shared-request.js'
export { shownAddress } from './shown-address.js'
export type {
  Arrival,
  Connection,
  DialOptions,
  IceServer,
  Listener,
  ListenOptions,
  Transport,
} from './transport.js'
export {
  dataBytes,
  decodeFrame,
  decodeRows,
  encodeFrame,
  encodeRows,
  type Frame,
  frame,
  HEADER_BYTES,
  PROTOCOL_VERSION,
  rowBytes,
} from './wire.js'
