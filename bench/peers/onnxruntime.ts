/** onnxruntime as a contender: `tsx onnxruntime.ts web|node`. */
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { InferenceSession, Tensor, TypedTensor } from 'onnxruntime-common'
import { type Running, serveContender, timedRuns } from '../contender.js'
import type { PeerCase, WeightDtype } from '../peer-cases.js'
import type { ModelInputs } from '../random-models.js'

export interface OnnxLoad {
  readonly folder: string
  readonly case: PeerCase
  readonly threads: number
  readonly dtype: WeightDtype
  readonly inputs: ModelInputs
}

const place = process.argv[2] as 'web' | 'node'

async function open(load: OnnxLoad): Promise<Running> {
  const path = join(load.folder, `${load.case.name}${load.dtype === 'f32' ? '' : `-${load.dtype}`}.onnx`)
  if (!existsSync(path)) throw new Error(`${basename(path)} was not made`)
  const { create, tensor } = await runtime(load.threads)
  const session = await create(path)
  const feeds = feedsFor(load, tensor)
  const [output] = session.outputNames.filter(name => name === 'logits' || name === 'hidden')
  const run = async (): Promise<Tensor> => (await session.run(feeds))[output!]!
  return {
    output: async () => new Float32Array((await run()).data as Float32Array),
    turn: runs => timedRuns(runs, run),
  }
}

interface MakeTensor {
  (type: 'float32', data: Float32Array, dims: readonly number[]): TypedTensor<'float32'>
  (type: 'int64', data: BigInt64Array, dims: readonly number[]): TypedTensor<'int64'>
}

async function runtime(
  threads: number,
): Promise<{ create(path: string): Promise<InferenceSession>; tensor: MakeTensor }> {
  if (place === 'node') {
    const ort = await import('onnxruntime-node')
    const options = { intraOpNumThreads: threads, interOpNumThreads: 1, executionProviders: ['cpu'] }
    const tensor = ((type: 'float32', data: Float32Array, dims: number[]) =>
      new ort.Tensor(type, data, dims)) as MakeTensor
    return { create: path => ort.InferenceSession.create(path, options), tensor }
  }
  const ort = await import('onnxruntime-web')
  ort.env.wasm.numThreads = threads
  const tensor = ((type: 'float32', data: Float32Array, dims: number[]) =>
    new ort.Tensor(type, data, dims)) as MakeTensor
  const options = { executionProviders: ['wasm'] }
  return { create: path => ort.InferenceSession.create(new Uint8Array(readFileSync(path)), options), tensor }
}

function feedsFor({ folder, case: { output, rows }, inputs }: OnnxLoad, tensor: MakeTensor): Record<string, Tensor> {
  if (output === 'classify') return { pixels: tensor('float32', Float32Array.from(inputs.pixels!), [1, 3, 224, 224]) }
  const ids = (values: readonly number[]): Tensor =>
    tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length])
  if (output !== 'decode') return { ids: ids(inputs.ids!.slice(0, rows)) }
  const { following, shape } = JSON.parse(readFileSync(join(folder, 'past.json'), 'utf8')) as {
    following: number
    shape: readonly number[]
  }
  const [count, ...dims] = shape as [number, ...number[]]
  const size = dims.reduce((a, b) => a * b, 1)
  const bytes = new Uint8Array(readFileSync(join(folder, 'past.bin')))
  const feeds: Record<string, Tensor> = { ids: ids([following]) }
  for (let i = 0; i < count; i++) {
    const name = `past_${i % 2 === 0 ? 'key' : 'value'}_${i >> 1}`
    feeds[name] = tensor('float32', new Float32Array(bytes.buffer, i * size * 4, size), dims)
  }
  return feeds
}

await serveContender(open)
