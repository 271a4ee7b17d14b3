/** A process that serves the task `test`: `URL JSON`. Its answers tell who gave them; the options say how. */
import { Secret } from '@prismal/distribute'
import { connectNats, serveRequests } from '@prismal/distribute/nats'
import { InputError } from '@prismal/models'

const [url = '', settings = '{}'] = process.argv.slice(2)
const { name, limit, secret, group } = JSON.parse(settings)
const nc = await connectNats(url, { reconnectMs: 50 })
const tell = (what: string): boolean => process.stdout.write(`${what}\n`)
const serving = serveRequests(
  nc,
  'test',
  async ({ inputs, options }, piece, signal) => {
    tell(`took ${inputs[0]}`)
    if (options.say) piece(String(options.say))
    if (options.fail) throw new InputError(String(options.fail))
    if (options.hang)
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          tell('aborted')
          reject(signal.reason)
        })
      })
    // Some turns of the event loop, so that others ask meanwhile.
    for (let i = 0; i < 50; i++) await new Promise(resolve => setImmediate(resolve))
    if (options.long) return { name, text: 'x'.repeat(Number(options.long)) }
    return {
      name,
      inputs: inputs.map(input => (typeof input === 'string' ? input : [input.length, input[0], input.at(-1)])),
    }
  },
  { name, ...(limit && { limit }), ...(secret && { secret: Secret.parse(secret) }), ...(group && { group }) },
)
process.once('SIGTERM', async () => {
  await serving.stop()
  tell(`answered ${serving.answered}`)
  await nc.close()
})
await nc.flush()
tell('ready')
