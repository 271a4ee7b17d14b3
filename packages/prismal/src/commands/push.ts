/** `prismal push`: puts a model into the Object Store of a NATS server. */
import { pushModel } from '@prismal/distribute/nats'
import { loadModel } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import type { Command } from 'commander'
import { locateNamed } from '../locate.js'
import { atServer, type SessionFlags, withSession } from './nats-session.js'
import { bytes } from './units.js'

interface PushFlags extends SessionFlags {
  readonly model: string
}

export function addPush(program: Command): void {
  const command = program
    .command('push')
    .description('put a model into the Object Store of a NATS server, where workers without it find it')
    .requiredOption('--model <location>', 'a model folder or installed package')
  withSession(command).action(push)
}

async function push(flags: PushFlags): Promise<void> {
  const location = locateNamed(flags.model)
  const digest = await digestOf(location)
  await atServer('push', flags, async ({ nc, among: { secret } }) => {
    const { bytes: all, sentBytes } = await pushModel(nc, await openFiles(location), digest, {
      ...(secret && { secret }),
      ...(process.stderr.isTTY && {
        progress: p => process.stderr.write(`\r${bytes(p.doneBytes)} of ${bytes(p.totalBytes)} `),
      }),
    })
    if (process.stderr.isTTY) process.stderr.write('\r')
    const sent = sentBytes === all ? bytes(all) : `${bytes(sentBytes)} of ${bytes(all)}, the rest was there`
    console.log(`pushed ${flags.model} · sha256 ${digest} · ${sent}`)
  })
}

/** What devices compare: the digest that loading the model gives. */
async function digestOf(location: string): Promise<string> {
  const engine = await createEngine()
  const model = await loadModel(await openFiles(location), { engine, warn: () => {} }).catch(error => {
    engine.dispose()
    throw error
  })
  const { digest } = model
  model.dispose()
  return digest
}
