/** Peak memory of a device against P, N and strategy: rehearsed, which equals the run to the byte. */
import { createPlan, estimate, type SharingOptions } from '@prismal/distribute'
import { imaginedFiles, loadModel } from '@prismal/models'
import { rehearsalEngine } from '@prismal/tensor'
import { knownModel } from '../../packages/prismal/src/known-models.js'
import { tableOf } from '../markdown.js'

const MODELS: readonly (readonly [name: string, rows: readonly number[]])[] = [
  ['google/vit-base-patch16-224', [197]],
  ['google-bert/bert-base-uncased', [128, 512]],
  ['openai-community/gpt2', [256, 1024]],
]
const WAYS: readonly (readonly [string, number, SharingOptions])[] = [
  ['one device', 1, { strategy: 'isolated' }],
  ...[2, 4, 8].flatMap(P => [[`full, P=${P}`, P, { strategy: 'full' }] as const, [`means, P=${P}`, P, {}] as const]),
]

/** A row a model and N, a column a way of sharing: MB beside the weights, of the device that needs most. */
export async function memoryTable(): Promise<string> {
  const rows: string[][] = []
  for (const [name, lengths] of MODELS) {
    const config = knownModel(name)
    if (!config) continue
    const model = await loadModel(imaginedFiles(config, name), { engine: rehearsalEngine(), warn: () => {} })
    const weights = model.engine.arena.kept.usedBytes
    for (const N of lengths) {
      const cells: string[] = []
      for (const [, devices, sharing] of WAYS) {
        const { shape } = model
        const want = shape.causal ? 'last' : 'first'
        const plan = createPlan({ shape, rows: [N], want, devices }, sharing)
        const peaks = await estimate(model, plan)
        cells.push((Math.max(...peaks.map(p => p.peakBytes - weights)) / 1e6).toFixed(2))
      }
      rows.push([name, String(N), (weights / 1e6).toFixed(0), ...cells])
    }
  }
  return tableOf(['model', 'N', 'weights, MB', ...WAYS.map(([name]) => name)], rows)
}
