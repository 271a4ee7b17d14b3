// Two devices share a request over one's own transport: node share.ts ../images/cat.png
import { pipeline } from 'prismal'
import { cluster, remote } from 'prismal/distribute'
import { host } from 'prismal/host'

const [picture] = process.argv.slice(2)
if (!picture) throw new Error('name a picture: node share.ts ../images/cat.png')

// The module's URL rather than what it exports: connections live in a thread of their own, which imports it.
const transport = new URL('./tcp-transport.ts', import.meta.url).href
const model = '@prismal/vit-cifar10'

// Elsewhere this would be another machine, and both would hold the same secret.
const worker = await host({ model, listen: ['tcp://127.0.0.1:0'], transport })
const [address = ''] = worker.addresses
console.log(`listening at ${address}`)

const devices = cluster(['local', remote(address, { transport })])
const classify = await pipeline('image-classification', model, { devices })
const { output, report } = await classify.withReport(picture, { topk: 3 })
for (const { label, score } of output) console.log(label, score.toFixed(3))
for (const { device, rows, bytesReceived } of report.devices.filter(d => d.rows > 0))
  console.log(`device ${device}: ${rows} rows, ${bytesReceived} bytes received`)

await classify.dispose()
await worker.close()
