/** A bench that has started all that benches of the network start, and then waits to be interrupted. */
import { fileURLToPath } from 'node:url'
import { twoHosts, whyNoHosts } from '../bench/network/namespaces.js'
import { Pair } from '../bench/network/pair.js'
import { secretFile } from '../bench/network/worker-process.js'
import { compileScripts } from '../bench/scripts.js'

await compileScripts()
const hosts = whyNoHosts() === undefined ? twoHosts().hosts : undefined
await Pair.start({
  ...{ folder: fileURLToPath(new URL('../models/vit-cifar10', import.meta.url)), dtype: 'f32' },
  ...{ subject: { kind: 'image' }, runners: { alone: 'alone' }, secretFile: secretFile().path },
  ...(hosts && { hosts }),
})
console.log('ready')
