/** Who is there: protocol versions, proof of the secret, and the connection's keys. */
import type { ReliableOptions } from './reliable.js'
import type { Secret } from './secret.js'
import type { Connection } from './transport.js'

export interface HandshakeOptions extends Omit<ReliableOptions, 'seal'> {
  /** Shared by all devices; without one nothing is encrypted, and a side that has one refuses the other. */
  readonly secret?: Secret
  /** Most milliseconds that the handshake may take; default 10,000. */
  readonly handshakeMs?: number
}

/**
 * Agrees with the other side and gives the connection on which both then speak: reliable, and with a secret encrypted. Rejects with
 * `HandshakeError`, having closed the connection.
 */
export async function handshake(
  _connection: Connection,
  _side: 'dialer' | 'listener',
  _options: HandshakeOptions = {},
): Promise<Connection> {
  throw new Error('to be built')
}
