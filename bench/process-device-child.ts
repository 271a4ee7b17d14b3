/** What runs in a {@link ProcessDevice}'s process. */
import { Device } from '@prismal/distribute'
import { loadModel } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { residentMemory } from './contender.js'
import { CONTROL, channelConnection, type DeviceReply, type DeviceRequest, type ProcessEnd } from './process-device.js'

const send = (message: DeviceReply | DeviceRequest): void => void process.send?.(message)
const end: ProcessEnd = {
  send,
  onMessage: take => void process.on('message', take as (message: unknown) => void),
  ended: new Promise(resolve => process.once('disconnect', () => resolve('the coordinator is gone'))),
}
process.once('disconnect', () => process.exit(0))

let device: Device | undefined
end.onMessage(async message => {
  if ('memory' in message) send({ memory: residentMemory() })
  if ('link' in message) {
    await device?.link(message.link, channelConnection(end, message.link))
    send({ linked: message.link })
  }
  if ('start' in message) await start(message.start).catch((error: Error) => send({ failed: error.message }))
})

async function start({ location, dtype, threads }: Extract<DeviceRequest, { start: unknown }>['start']): Promise<void> {
  const engine = await createEngine({ threads })
  const model = await loadModel(await openFiles(location), { engine, warn: () => {}, dtype })
  device = new Device(model)
  void device.serve(channelConnection(end, CONTROL))
  send({ joined: { digest: model.digest, numericsClass: engine.numericsClass() } })
}
