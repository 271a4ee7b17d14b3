// POST a picture to /labels: PORT=3000 node server.js
import express from 'express'
import { InputError, pipeline } from 'prismal'

// One for the process. In a worker, so that this thread goes on serving while it computes.
const classify = await pipeline('image-classification', '@prismal/vit-cifar10', { worker: true })

const app = express()
app.post('/labels', express.raw({ type: () => true, limit: '8mb' }), async (request, response) => {
  const left = new AbortController()
  response.once('close', () => left.abort(new Error('the client left')))
  // Bytes, never a string: a string would be taken for a path or a URL. Without a body there are none.
  const picture = new Uint8Array(request.body ?? [])
  response.json(await classify(picture, { topk: 3, signal: left.signal }))
})
app.use((error, request, response, _next) => {
  if (request.socket.destroyed) return console.log('a client left, and its computation ended')
  const status = error instanceof InputError ? 400 : (error.status ?? 500) // a body that is too long is a 413
  if (status >= 500) console.error(error)
  response.status(status).json({ error: status < 500 ? error.message : 'it failed here' })
})

const server = app.listen(Number(process.env.PORT ?? 3000), () =>
  console.log(`listening at http://localhost:${server.address().port}`),
)
process.once('SIGTERM', () => server.close(() => classify.dispose()))
