// POST a picture: its labels come as JSON.
import { InputError, memoryFiles, pipeline } from 'prismal'

const MODEL = ['config.json', 'preprocessor_config.json', 'model.safetensors']

/** The model's files by the binding to the assets. */
async function load(assets) {
  const files = await Promise.all(
    MODEL.map(async name => {
      const response = await assets.fetch(`http://assets/${name}`)
      if (!response.ok) throw new Error(`${name}: HTTP ${response.status}`)
      return [name, await response.arrayBuffer()]
    }),
  )
  return pipeline('image-classification', memoryFiles(Object.fromEntries(files)))
}

let classify // one for the isolate, made by the request that comes first

export default {
  async fetch(request, { ASSETS }) {
    if (request.method !== 'POST') return Response.json({ error: 'POST a picture' }, { status: 405 })
    try {
      classify ??= await load(ASSETS)
      const picture = new Uint8Array(await request.arrayBuffer())
      return Response.json(await classify(picture, { topk: 3, signal: request.signal }))
    } catch (error) {
      if (error instanceof InputError) return Response.json({ error: error.message }, { status: 400 })
      throw error
    }
  },
}
