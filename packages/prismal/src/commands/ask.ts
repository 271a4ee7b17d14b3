/** `prismal ask TASK INPUT…`: has a group of devices answer (prismal serve), which a NATS server chooses. */
import { readFile } from 'node:fs/promises'
import { ask as askGroup } from '@prismal/distribute/nats'
import { InputError } from '@prismal/models'
import type { Command } from 'commander'
import { TASKS, type Task } from '../locate.js'
import { atServer, type SessionFlags, untilEnded, withSession } from './nats-session.js'
import { expectTaskOptions, printOutput, summary, type TaskFlags, task, withTask } from './run.js'
import type { Answer } from './serve.js'
import { atLeast } from './sharing.js'

interface AskFlags extends SessionFlags, TaskFlags {
  readonly json?: true
  readonly images?: true
  readonly timeout: number
}

export function addAsk(program: Command): void {
  const command = program
    .command('ask')
    .description('have a group of devices (prismal serve) answer')
    .argument('<task>', TASKS.join(', '), task)
    .argument('<input...>', 'a text, or the path of a JPEG or PNG image; several are one batch')
    .option('--json', 'print one JSON object: output, report, engine, versions, model')
    .option('--images', 'inputs are paths of images (image-classification: always)')
    .option('--timeout <s>', 'seconds until the answer must be there', atLeast(0.001), 300)
  withTask(withSession(command)).action(ask)
}

async function ask(name: Task, texts: readonly string[], flags: AskFlags, command: Command): Promise<void> {
  expectTaskOptions(command, name)
  const takesImages = name === 'image-classification' || flags.images === true
  const inputs = takesImages ? await Promise.all(texts.map(imageAt)) : texts
  const streams = name === 'text-generation' && !flags.json && texts.length === 1
  const options = { ...optionsOf(flags), ...(streams && { stream: true }) }
  const ended = untilEnded()
  const { result, by } = await atServer('ask', flags, async ({ nc, among: { log, ...among } }) => {
    if (streams) process.stdout.write(texts[0] as string)
    return askGroup<Answer>(
      nc,
      name,
      { inputs, options },
      { ...among, timeoutMs: flags.timeout * 1000, signal: ended, onPiece: piece => process.stdout.write(piece) },
    )
  })
  if (flags.json) {
    console.log(JSON.stringify(result))
    return
  }
  if (streams) process.stdout.write('\n')
  else printOutput(name, result.output, texts)
  console.log(`${summary(result.model, result.engine, result.report)} · by ${by}`)
}

async function imageAt(path: string): Promise<Uint8Array> {
  return readFile(path).catch(cause => {
    const { code, message } = cause as NodeJS.ErrnoException
    throw new InputError(`${path} cannot be read: ${code === 'ENOENT' ? 'it does not exist' : message}`, { cause })
  })
}

function optionsOf(flags: AskFlags): TaskFlags {
  const { topk, pooling, normalize, pair, maxNewTokens, temperature, topK, topP, repetitionPenalty, seed, stop } = flags
  const all = { topk, pooling, normalize, pair, maxNewTokens, temperature, topK, topP, repetitionPenalty, seed, stop }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}
