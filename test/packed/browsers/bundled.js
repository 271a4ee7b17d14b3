/** What an application does with the packages, for bundlers: classifies a picture here, in a worker, and by two devices. */
import { pipeline } from 'prismal'
import { cluster, thread } from 'prismal/distribute'

const MODEL = '/node_modules/@prismal/vit-cifar10'
const PICTURE = '/images/coffee.png'

async function classified(options) {
  const classify = await pipeline('image-classification', MODEL, options)
  const [best] = await classify(PICTURE)
  const capabilities = classify.capabilities()
  await classify.dispose()
  return { best, capabilities }
}

async function all() {
  return {
    alone: await classified({}),
    worker: await classified({ worker: true }),
    devices: await classified({ devices: cluster(['local', thread()]) }),
    threads: await classified({ threads: 'auto' }),
  }
}

all()
  .catch(error => ({ failed: `${error.name}: ${error.message}` }))
  .then(found => fetch('/answer', { method: 'POST', body: JSON.stringify(found) }))
