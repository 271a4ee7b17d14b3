/** What the benchmarks stand on: random models that load, contenders that compute what they are compared as, the report. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { aloneRunner, loadModel, parseSafetensors, patchify, type VitShape } from '@prismal/models'
import { folderFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { beforeAll, describe, expect, it } from 'vitest'
import { chartsOf } from '../bench/chart-data.js'
import { Contender, Unavailable } from '../bench/contender.js'
import { markdownOf } from '../bench/markdown.js'
import { writeRandomWeights } from '../bench/random-weights.js'
import { atMost, bar, type Findings, type Row } from '../bench/report.js'
import { compileScripts, scriptPath } from '../bench/scripts.js'
import { randomFrom } from './random.js'
import { temporaryFolder } from './temporary-folder.js'

const VIT = fileURLToPath(new URL('../models/vit-cifar10', import.meta.url))

describe('random weights', () => {
  const root = temporaryFolder()
  const tensors = [
    { name: 'a', shape: [300, 500], fill: 'random' },
    { name: 'gain', shape: [7], fill: 'ones' },
  ] as const
  const write = (name: string, dtype: 'F32' | 'F16', seed: number): Uint8Array<ArrayBuffer> => {
    writeRandomWeights(join(root, name), tensors, dtype, seed)
    return new Uint8Array(readFileSync(join(root, name)))
  }

  it.each(['F32', 'F16'] as const)('in %s are the same for a seed, and others for another', dtype => {
    expect(write('one', dtype, 1)).toEqual(write('same', dtype, 1))
    expect(write('one', dtype, 1)).not.toEqual(write('other', dtype, 2))
  })

  it('lie around 0 with the deviation of fresh models', () => {
    const stored = parseSafetensors(write('one', 'F32', 3), 'one')
    const data = Array.from(stored.get('a')?.values ?? [])
    const mean = data.reduce((a, b) => a + b) / data.length
    const deviation = Math.sqrt(data.reduce((a, b) => a + b * b, 0) / data.length)
    expect(Math.abs(mean)).toBeLessThan(0.0005)
    expect(deviation).toBeGreaterThan(0.0195)
    expect(deviation).toBeLessThan(0.0205)
    expect(Array.from(stored.get('gain')?.values ?? [])).toEqual(new Array(7).fill(1))
  })
})

describe('a contender', () => {
  beforeAll(compileScripts, 60_000)
  const start = (): Contender => new Contender('prismal', process.execPath, [scriptPath('prismal-contender')])
  const random = randomFrom(5)
  const pixels = Array.from({ length: 3 * 32 * 32 }, () => Math.fround(2 * random() - 1))
  const subject = { name: 'vit', model: 'vit-b16', rows: 65, output: 'classify' }
  const load = { kind: 'model', folder: VIT, case: subject, threads: 1, dtype: 'f32', inputs: { pixels } }

  it('computes what this process computes, run after run, and tells its operations and memory', async () => {
    const model = await loadModel(await folderFiles(VIT), { engine: await createEngine(), warn: () => {} })
    const runner = aloneRunner(model)
    const request = runner.begin()
    const rows = await request.rows([patchify(Float32Array.from(pixels), model.shape as VitShape)], 'first')
    const want = model.classify!(rows).floats()
    const { flops } = request.report().devices[0]!
    request.end()
    await runner.dispose()

    const contender = start()
    const { weightBytes } = await contender.load(load)
    expect(weightBytes).toBeGreaterThan(10e6)
    expect(await contender.output()).toEqual(want)
    const turn = await contender.turn(3)
    expect(turn.milliseconds).toHaveLength(3)
    expect(turn.flops).toBe(flops)
    const [memory] = await contender.memory()
    expect(memory!.peakBytes).toBeGreaterThan(weightBytes!)
    await contender.end()
  })

  it('that cannot load says why and is gone', async () => {
    const contender = start()
    const nowhere = { ...load, folder: join(VIT, 'nowhere') }
    await expect(contender.load(nowhere)).rejects.toThrow(Unavailable)
    await expect(contender.turn(1)).rejects.toThrow('ended')
  })

  it('that dies is told with its last words', async () => {
    const contender = new Contender('dying', process.execPath, ['-e', 'throw new Error("out of luck")'])
    await expect(contender.load(load)).rejects.toThrow(/dying ended.*out of luck/s)
  })
})

describe('the report', () => {
  const once = (value: number) => ({ median: value, least: value, most: value })
  const row = (variant: string, ms: number, more: Partial<Row> = {}): Row => ({
    ...{ suite: 'peers', name: 'vit-b16', variant, milliseconds: once(ms), ...more },
  })
  const rows = [
    row('prismal f32, 1 thread', 50),
    row('onnxruntime-web f32, 1 thread', 100),
    row('prismal f32, 1 thread', 50, {
      times: { factor: once(2), than: 'onnxruntime-web f32, 1 thread' },
      bar: bar(2, 1.6, '≥ 1.6×'),
    }),
    row('prismal f32, 1 thread: a request', 50, {
      suite: 'memory',
      memory: { peakBytes: 500e6, weightBytes: 300e6, over: 'nothing' },
      bar: atMost(200, 110, 'weights + 110 MB'),
    }),
  ]
  const machine = { cpu: 'c', cores: 2, memoryBytes: 2 ** 34, platform: 'p', node: 'n', v8: 'v', load: 0, date: 'd' }
  const notMeasured = [{ suite: 'peers', name: 'vit-b16', variant: 'pytorch', reason: 'not installed' }]
  const findings: Findings = { machine, quick: false, rows, accuracy: [], notMeasured, impossible: [] }

  it('charts peers against onnxruntime-web, and memory with the weights in it', () => {
    const charts = Object.fromEntries(chartsOf(findings).map(chart => [chart.file, chart]))
    expect(Object.keys(charts)).toEqual(['peers-1', 'memory'])
    expect(charts['peers-1']?.series).toEqual([{ name: 'prismal f32', values: [2] }])
    expect(charts.memory?.series.map(s => s.values)).toEqual([[300], [200]])
  })

  it('puts each figure beside its bar and names what was not measured', () => {
    const text = markdownOf(findings)
    expect(text).toContain('| 2.00× (2.00…2.00) | ≥ 1.6× | ok |')
    expect(text).toContain('| 500 MB, 300 MB of it weights | weights + 110 MB | **short** |')
    expect(text).toContain('- vit-b16, pytorch: not installed')
    expect(text).toContain('](peers-1.svg)')
  })
})
