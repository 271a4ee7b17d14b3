/** @prismal/distribute/nats: discovery, requests and models through a NATS server. */
export { type ConnectNatsOptions, connectNats, natsAddress } from './connect.js'
