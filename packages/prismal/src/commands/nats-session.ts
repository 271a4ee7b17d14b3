/** What commands at a NATS server have in common: its address, the group, the secret, and an end. */
import type { NatsConnection } from '@nats-io/nats-core'
import type { Secret } from '@prismal/distribute'
import { connectNats } from '@prismal/distribute/nats'
import type { Command } from 'commander'
import { readSecretFile } from '../secret-file.js'
import { type NatsFlags, withNats } from './sharing.js'

export interface SessionFlags extends NatsFlags {
  readonly nats: string
  readonly secretFile?: string
}

/** Adds `--nats`, which must be there, `--group` and `--secret-file`. */
export function withSession(command: Command): Command {
  withNats(command, 'the NATS server').option('--secret-file <file>', 'the secret that devices share')
  return needsNats(command)
}

/** Demands `--nats` of a command that has it. */
export function needsNats(command: Command): Command {
  command.options.find(option => option.long === '--nats')?.makeOptionMandatory()
  return command
}

export interface Session {
  readonly nc: NatsConnection
  /** As functions of `@prismal/distribute/nats` take them. */
  readonly among: { readonly group?: string; readonly secret?: Secret; readonly log: (message: string) => void }
}

/** Connects, does the work and closes the connection. */
export async function atServer<T>(
  name: string,
  flags: SessionFlags,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const { nats, group, secretFile } = flags
  const secret = secretFile === undefined ? undefined : await readSecretFile(secretFile)
  const nc = await connectNats(nats, { name: `prismal ${name}` })
  try {
    return await work({ nc, among: { ...(group !== undefined && { group }), ...(secret && { secret }), log } })
  } finally {
    await nc.close()
  }
}

/** To where errors go: what is asked for goes to the output. */
export const log = (message: string): void => console.error(message)

/** Aborts when the process is asked to end; asked so again it ends at once. */
export function untilEnded(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => controller.abort(new Error(`ended by ${signal}`)))
  return controller.signal
}
