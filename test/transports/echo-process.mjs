/** A process that listens with a transport's module at an address, says where, and sends back what comes. */
import { reliable } from '@prismal/distribute'

const [module, address] = process.argv.slice(2)
const { transport } = await import(module)
const listener = await transport.listen(address, ({ connection }) => {
  const end = reliable(connection)
  end.receive(message => end.send(message).catch(() => {}))
})
process.send({ address: listener.address })
process.once('message', async () => {
  await listener.close('the process ends')
  process.disconnect()
})
