/** Messages of any size over a connection that carries short ones and may lose them: fragments, sequence numbers, credits, heartbeats. */
import type { Seal } from './seal.js'
import type { Connection } from './transport.js'

export interface ReliableOptions {
  /** Keys of the connection, where it is encrypted. */
  readonly seal?: Seal
  /** Longest message that is taken, in bytes; a longer one closes the connection. Default 1 GiB. */
  readonly maxFrameBytes?: number
  /** Bytes that may be on their way before the other side has taken some; default 8 MiB. */
  readonly windowBytes?: number
  /** Milliseconds of silence after which a sign of life is asked for; default 2,000. */
  readonly heartbeatMs?: number
  /** Milliseconds of silence after which the other side counts as gone; default 10,000. */
  readonly silenceMs?: number
}

export function reliable(_connection: Connection, _options: ReliableOptions = {}): Connection {
  throw new Error('to be built')
}
