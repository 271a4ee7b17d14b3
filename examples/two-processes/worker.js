// Holds the model and waits for others to share their requests: PORT=7040 node worker.js
import { host } from 'prismal/host'

const worker = await host({
  model: '@prismal/vit-cifar10',
  listen: [`ws://127.0.0.1:${process.env.PORT ?? 7040}`],
  log: message => console.log(message), // who was refused, and why
})
console.log(`listening at ${worker.addresses[0]}`)
process.once('SIGTERM', () => worker.close())
process.once('SIGINT', () => worker.close())
