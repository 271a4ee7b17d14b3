// Shares a request with the worker at an address: node ask.js ws://127.0.0.1:7040 ../images/cat.png
import { pipeline } from 'prismal'
import { cluster } from 'prismal/distribute'
import { webSocket } from 'prismal/transports/web-socket'

const [address, picture] = process.argv.slice(2)
if (!address || !picture) throw new Error('node ask.js ws://127.0.0.1:7040 ../images/cat.png')

// This process and that one. Without options: segment means as recommended; { strategy: 'full' } is exact.
const devices = cluster(['local', webSocket(address)])
const classify = await pipeline('image-classification', '@prismal/vit-cifar10', { devices })
const { output, report } = await classify.withReport(picture, { topk: 3 })

for (const { label, score } of output) console.log(label, score.toFixed(3))
for (const { device, rows, flops, bytesReceived } of report.devices.filter(d => d.rows > 0))
  console.log(`device ${device}: ${rows} rows, ${(flops / 1e6).toFixed(0)} MF, ${bytesReceived} bytes received`)
await classify.dispose() // leaves the worker to others
