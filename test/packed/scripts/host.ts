/** A device that coordinators of other processes join: prints its addresses as JSON, and lives as long as its standard input. */
import { host } from 'prismal/host'

const [, , model = ''] = process.argv
const device = await host({ model, listen: ['ws://127.0.0.1:0'] })
console.log(JSON.stringify(device.addresses))
process.stdin.resume()
process.stdin.once('end', () => device.close().then(() => process.exit()))
