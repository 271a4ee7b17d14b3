/** The bare matrix product against onnxruntime-web's, one thread, in turns within this process. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createEngine, linear, pack } from '@prismal/tensor'
import { normals } from '../test/random.js'
import { batched, type Contestant, type Rounds, ratio, SLICE_MS, summary, takeTurns } from './measure.js'
import { SETUP_COMMAND } from './peer-plan.js'
import { bar, type NotMeasured, type Row } from './report.js'

/** m × k × n of C [m, n] = A [m, k] · B [k, n]. */
const SHAPES = [
  [197, 768, 768],
  [197, 768, 3072],
  [197, 3072, 768],
] as const
const LEAST_FACTOR = 1.4
/** Largest difference of two products, relative to the largest value. */
const TOLERANCE = 1e-5
const PEER = 'onnxruntime-web'

/** What is used of onnxruntime-web, which is installed apart. */
interface Runtime {
  readonly env: { readonly wasm: { numThreads: number } }
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => object
  readonly InferenceSession: {
    create(model: Uint8Array): Promise<{ run(feeds: object): Promise<{ readonly c: { readonly data: Float32Array } }> }>
  }
}

/** Throws where the two disagree. */
export async function benchProducts(rounds: Rounds): Promise<{ rows: Row[]; notMeasured: NotMeasured[] }> {
  const path = fileURLToPath(new URL(`peers/node_modules/${PEER}/dist/ort.node.min.mjs`, import.meta.url))
  if (!existsSync(path)) {
    const missing = { suite: 'products', name: 'gemm', variant: PEER, reason: `${SETUP_COMMAND} was not run` }
    return { rows: [], notMeasured: [missing] }
  }
  const runtime = (await import(path)) as Runtime
  runtime.env.wasm.numThreads = 1
  const rows: Row[] = []
  for (const shape of SHAPES) rows.push(...(await compare(runtime, shape, rounds)))
  return { rows, notMeasured: [] }
}

async function compare(runtime: Runtime, [m, k, n]: readonly [number, number, number], rounds: Rounds): Promise<Row[]> {
  const engine = await createEngine()
  const [a, b] = [normals(m * k, 1), normals(k * n, 2, 1 / Math.sqrt(k))]
  const x = engine.tensor(a, [m, k])
  const out = engine.root.empty([m, n])
  const matrix = pack(engine.root, engine.tensor(b, [k, n]), 'in,out')
  const session = await runtime.InferenceSession.create(matMul(b, m, k, n))
  const feeds = { a: new runtime.Tensor('float32', a, [m, k]) }
  checkEqual(linear(x, matrix, { out }).floats(), (await session.run(feeds)).c.data)

  const ours = batched('prismal', () => void linear(x, matrix, { out }), SLICE_MS)
  // As many calls a run as ours, so that both look at the clock as seldom.
  const theirs: Contestant = {
    ...{ name: PEER, isAsync: true, calls: ours.calls },
    run: async () => {
      for (let i = 0; i < ours.calls; i++) await session.run(feeds)
    },
  }
  const [ourTurns, theirTurns] = await takeTurns([ours, theirs], rounds)
  const flops = 2 * m * k * n
  const row = { suite: 'products', name: `${m}×${k}×${n}` }
  const factor = ratio(theirTurns!, ourTurns!)
  const timed = (turns: readonly number[]) => ({
    milliseconds: summary(turns),
    rate: { value: flops / summary(turns).median / 1e6, unit: 'GF/s' as const },
  })
  const rows: Row[] = [
    {
      ...{ ...row, variant: `prismal ${engine.build}`, ...timed(ourTurns!) },
      times: { factor, than: PEER },
      bar: bar(factor.median, LEAST_FACTOR, `≥ ${LEAST_FACTOR}×`),
    },
    { ...row, variant: PEER, ...timed(theirTurns!) },
  ]
  engine.dispose()
  return rows
}

function checkEqual(got: Float32Array, want: Float32Array): void {
  const scale = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  const error = got.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i]!)), 0) / scale
  if (!(error <= TOLERANCE)) throw new Error(`the products of prismal and ${PEER} differ by ${error}`)
}

/** An ONNX model c [m, n] = a [m, k] · w [k, n], w stored in it, in the format's protocol buffers. */
function matMul(w: Float32Array, m: number, k: number, n: number): Uint8Array {
  const [FLOAT, IR_VERSION, OPSET] = [1, 8, 17]
  const dimensions = (dims: readonly number[]) => dims.map(d => field(1, number(1, d)))
  const value = (name: string, dims: readonly number[]): Buffer =>
    Buffer.concat([text(1, name), field(2, field(1, number(1, FLOAT), field(2, ...dimensions(dims))))])
  const weight = [number(1, k), number(1, n), number(2, FLOAT), text(8, 'w')]
  const graph = [
    field(1, text(1, 'a'), text(1, 'w'), text(2, 'c'), text(4, 'MatMul')),
    text(2, 'product'),
    field(5, ...weight, field(9, Buffer.from(w.buffer, w.byteOffset, w.byteLength))),
    field(11, value('a', [m, k])),
    field(12, value('c', [m, n])),
  ]
  return Buffer.concat([number(1, IR_VERSION), field(7, ...graph), field(8, number(2, OPSET))])
}

const varint = (value: number): Buffer =>
  Buffer.from(value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)])
const number = (id: number, value: number): Buffer => Buffer.concat([varint(id << 3), varint(value)])
const field = (id: number, ...content: readonly Buffer[]): Buffer => {
  const bytes = Buffer.concat(content)
  return Buffer.concat([varint((id << 3) | 2), varint(bytes.length), bytes])
}
const text = (id: number, content: string): Buffer => field(id, Buffer.from(content))
