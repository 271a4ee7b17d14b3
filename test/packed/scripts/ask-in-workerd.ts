/** A worker of workerd: classifies the image that is posted to it, alone or, where the URL names a device, with that. */
// biome-ignore lint/suspicious/noTsIgnore: modules of bytes, which the configuration of workerd embeds.
// @ts-ignore
import config from 'config.bin'
// @ts-expect-error
import preprocessor from 'preprocessor.bin'
import { memoryFiles, pipeline } from 'prismal'
import { cluster, remote } from 'prismal/distribute'
// @ts-expect-error
import weights from 'weights.bin'

const model = memoryFiles(
  { 'config.json': config, 'preprocessor_config.json': preprocessor, 'model.safetensors': weights },
  'vit-cifar10',
)

export default {
  async fetch(request: Request): Promise<Response> {
    try {
      const device = new URL(request.url).searchParams.get('device')
      const devices = device ? cluster(['local', remote(device)], { strategy: 'full' }) : undefined
      const classify = await pipeline('image-classification', model, { ...(devices && { devices }) })
      const { output, report } = await classify.withReport(new Uint8Array(await request.arrayBuffer()))
      const capabilities = classify.capabilities()
      await classify.dispose()
      return Response.json({ output, report, capabilities })
    } catch (error) {
      return new Response(error instanceof Error ? error.stack : String(error), { status: 500 })
    }
  },
}
