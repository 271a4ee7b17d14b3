// POST a picture to /labels: PORT=3000 node server.js
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { InputError, pipeline } from 'prismal'

// One for the process. In a worker, so that this thread goes on serving while it computes.
const classify = await pipeline('image-classification', '@prismal/vit-cifar10', { worker: true })

const app = new Hono()
const tooLong = c => c.json({ error: 'the picture is longer than 8 MiB' }, 413)
app.post('/labels', bodyLimit({ maxSize: 8 * 2 ** 20, onError: tooLong }), async c => {
  const { signal } = c.req.raw // aborted where the client leaves
  try {
    // Bytes, never a string: a string would be taken for a path or a URL.
    const picture = new Uint8Array(await c.req.arrayBuffer())
    return c.json(await classify(picture, { topk: 3, signal }))
  } catch (error) {
    if (signal.aborted) {
      console.log('a client left, and its computation ended')
      return c.body(null, 499) // nobody reads it
    }
    if (error instanceof InputError) return c.json({ error: error.message }, 400)
    throw error // Hono writes it down and answers 500
  }
})

const server = serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 3000) }, ({ port }) =>
  console.log(`listening at http://localhost:${port}`),
)
process.once('SIGTERM', () => server.close(() => classify.dispose()))
