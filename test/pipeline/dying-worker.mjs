/** A pipeline's worker that ends, throws or hangs where a text tells it to. */
import { parentPort } from 'node:worker_threads'
import '../../packages/prismal/dist/pipeline-worker.js'

parentPort.on('message', ({ input, model }) => {
  if (input === 'exit') process.exit(3)
  if (input === 'throw' || model === 'throw')
    setImmediate(() => {
      throw new TypeError('out of the blue')
    })
})
