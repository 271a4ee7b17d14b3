/** An application that has its model as a package, for bundlers that take the package's files along. */
import vitCifar10 from '@prismal/vit-cifar10'
import { pipeline } from 'prismal'
import { cluster, thread } from 'prismal/distribute'

async function label(options) {
  const classify = await pipeline('image-classification', vitCifar10, options)
  const [best] = await classify('/images/coffee.png')
  await classify.dispose()
  return best.label
}

async function all() {
  return {
    alone: await label({}),
    worker: await label({ worker: true }),
    devices: await label({ devices: cluster(['local', thread()]) }),
  }
}

all()
  .catch(error => ({ failed: `${error.name}: ${error.message}` }))
  .then(found => fetch('/answer', { method: 'POST', body: JSON.stringify(found) }))
