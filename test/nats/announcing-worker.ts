/** A process that announces a device until it is told to leave, as `prismal worker` does: `URL NAME JSON`. */
import { Secret } from '@prismal/distribute'
import { announce, connectNats } from '@prismal/distribute/nats'

const [url = '', settings = '{}'] = process.argv.slice(2)
const { device, secret, group, heartbeatMs, clockOffByMs = 0 } = JSON.parse(settings)
const { now } = Date
Date.now = () => now() + clockOffByMs

const nc = await connectNats(url, { reconnectMs: 50 })
const announcing = announce(nc, () => device, {
  ...(secret && { secret: Secret.parse(secret) }),
  ...(group && { group }),
  ...(heartbeatMs && { heartbeatMs }),
})
process.once('SIGTERM', async () => {
  await announcing.stop()
  await nc.close()
})
// Whoever reads it may ask who is there.
await nc.flush()
process.stdout.write('ready\n')
