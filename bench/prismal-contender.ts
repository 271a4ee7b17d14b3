/** prismal as a contender: a model, the matrix products of one, or a plain read of memory, which bounds decoding. */
import { cluster } from '@prismal/distribute'
import { aloneRunner, loadModel, type Model, type Part, patchify, textPart, type VitShape } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine, linear, type Matrix, pack } from '@prismal/tensor'
import { normals } from '../test/random.js'
import { type Running, serveContender, timedRuns } from './contender.js'
import { readLoop } from './loops.js'
import type { PeerCase, WeightDtype } from './peer-cases.js'
import { ProcessDevice } from './process-device.js'
import type { ModelInputs } from './random-models.js'

export type PrismalLoad =
  | {
      readonly kind: 'model'
      readonly folder: string
      readonly case: PeerCase
      readonly threads: number
      readonly dtype: WeightDtype
      readonly inputs: ModelInputs
      /** Shared with a second device, in a process that runs this script. */
      readonly sharedWith?: string
    }
  | { readonly kind: 'products'; readonly m: number; readonly width: number; readonly threads: number }
  | { readonly kind: 'streaming' }

/** Bytes that no cache holds. */
const MEMORY_BYTES = 256 * 2 ** 20

async function open(load: PrismalLoad): Promise<Running> {
  if (load.kind === 'streaming') return streaming()
  if (load.kind === 'products') return products(load)
  const engine = await createEngine({ threads: load.threads })
  const before = engine.arena.usedBytes
  const model = await loadModel(await openFiles(load.folder), { engine, warn: () => {}, dtype: load.dtype })
  const weightBytes = engine.arena.usedBytes - before
  const run = load.case.output === 'decode' ? decoding(model, load) : await inference(model, load)
  return { ...run, loaded: { ...run.loaded, weightBytes } }
}

/** Parameters of the stack's matrices. */
function parametersOf({ shape: { layers, width: D, heads, headWidth, inner: F } }: Model): number {
  return layers * (4 * D * heads * headWidth + 2 * D * F)
}

function partOf(model: Model, { case: { rows }, inputs }: { case: PeerCase; inputs: ModelInputs }): Part {
  if (inputs.pixels) return patchify(Float32Array.from(inputs.pixels), model.shape as VitShape)
  const ids = inputs.ids ?? []
  return textPart(Array.from({ length: rows }, (_, i) => ids[i % ids.length]!))
}

type ModelLoad = Extract<PrismalLoad, { kind: 'model' }>

async function inference(model: Model, load: ModelLoad): Promise<Running> {
  const other = load.sharedWith === undefined ? undefined : new ProcessDevice(load.sharedWith, load.dtype)
  const runner = other ? await cluster(['local', other]).runner(model) : aloneRunner(model)
  const part = partOf(model, load)
  let flops = 0
  const run = async (): Promise<Float32Array> => {
    const request = runner.begin()
    try {
      const { output } = load.case
      const want = output === 'classify' ? 'first' : output === 'hidden' ? 'all' : 'last'
      const rows = await request.rows([part], want)
      const head = output === 'classify' ? model.classify : output === 'prefill' ? model.vocabulary : undefined
      const values = (head ? head(rows) : rows).floats()
      flops = request.report().devices[0]?.flops ?? 0
      return values
    } finally {
      request.end()
    }
  }
  return {
    output: run,
    turn: async runs => ({ ...(await timedRuns(runs, run)), flops }),
    ...(other && { others: async () => [await other.memory()] }),
  }
}

/** A turn is a prefill, which does not count, and one token a run after it. */
function decoding(model: Model, load: ModelLoad): Running {
  const runner = aloneRunner(model)
  const prompt = partOf(model, load)
  const { layers, width: D, heads, headWidth, inner: F } = model.shape
  const A = heads * headWidth
  const vocabulary = model.headProducts.vocabulary?.[0]?.[1] ?? 0
  const columns = layers * (4 * A + D + F) + vocabulary
  const weights = parametersOf(model) + D * vocabulary
  const cache = 2 * layers * A * load.case.rows * 4
  const streamedBytes = (load.dtype === 'q8' ? weights + 8 * columns : (load.dtype === 'f16' ? 2 : 4) * weights) + cache
  const tokens = async (count: number) => {
    const request = runner.begin()
    const milliseconds: number[] = []
    let last: Float32Array | undefined
    try {
      let since = 0
      for await (const { logits } of request.tokens([prompt], { maxNewTokens: 1 + count, withLogits: true })) {
        if (since > 0) milliseconds.push(performance.now() - since)
        last ??= since > 0 ? logits : undefined
        since = performance.now()
      }
    } finally {
      request.end()
    }
    return { milliseconds, logits: last ?? new Float32Array() }
  }
  return {
    loaded: { streamedBytes },
    output: async () => (await tokens(1)).logits,
    turn: async runs => ({ milliseconds: (await tokens(runs)).milliseconds }),
  }
}

/** The matrix products of a layer of this width (F = 4·D) over m rows: the rate that a model is measured against. */
async function products({ m, width: D, threads }: Extract<PrismalLoad, { kind: 'products' }>): Promise<Running> {
  const { root } = await createEngine({ threads })
  const matrix = (k: number, n: number): Matrix => pack(root, root.tensor(normals(k * n, n, 0.02), [k, n]), 'in,out')
  const x = root.tensor(normals(m * D, 1), [m, D])
  const h = root.tensor(normals(m * 4 * D, 2), [m, 4 * D])
  const all = [
    [x, matrix(D, D)],
    [x, matrix(D, 2 * D)],
    [x, matrix(D, D)],
    [x, matrix(D, 4 * D)],
    [h, matrix(4 * D, D)],
  ] as const
  const flops = all.reduce((sum, [, { k, n }]) => sum + 2 * m * k * n, 0)
  const run = (): void => {
    for (const [a, b] of all) linear(a, b).dispose()
  }
  return { output: async () => new Float32Array(), turn: async runs => ({ ...(await timedRuns(runs, run)), flops }) }
}

async function streaming(): Promise<Running> {
  const memory = new WebAssembly.Memory({ initial: MEMORY_BYTES / 65536 })
  new Uint8Array(memory.buffer).fill(1) // pages never written are all one page of zeros
  const read = readLoop(memory)
  return {
    loaded: { streamedBytes: MEMORY_BYTES },
    output: async () => new Float32Array(),
    turn: runs => timedRuns(runs, () => read(0, MEMORY_BYTES)),
  }
}

await serveContender(open)
