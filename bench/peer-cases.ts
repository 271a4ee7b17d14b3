/** The whole models that are compared with peers: what each run computes, the same for every contender. */
import type { ModelName } from './random-models.js'

export interface PeerCase {
  readonly name: string
  readonly model: ModelName
  /** N, rows of the sequence; of a decoding step: those that came before it. */
  readonly rows: number
  /**
   * `classify`: an image's class logits; `hidden`: all finished rows; `prefill`: logits after the last row; `decode`:
   * logits after one more row.
   */
  readonly output: 'classify' | 'hidden' | 'prefill' | 'decode'
}

export const CASES = [
  { name: 'vit-b16', model: 'vit-b16', rows: 197, output: 'classify' },
  { name: 'bert-base-128', model: 'bert-base', rows: 128, output: 'hidden' },
  { name: 'bert-base-256', model: 'bert-base', rows: 256, output: 'hidden' },
  { name: 'gpt2-prefill-512', model: 'gpt2', rows: 512, output: 'prefill' },
  { name: 'gpt2-decode-512', model: 'gpt2', rows: 512, output: 'decode' },
  { name: 'minilm-16', model: 'minilm', rows: 16, output: 'hidden' },
] as const satisfies readonly PeerCase[]

export type CaseName = (typeof CASES)[number]['name']

export type WeightDtype = 'f32' | 'f16' | 'q8'
export type Engine = 'prismal' | 'onnxruntime-web' | 'onnxruntime-node' | 'pytorch'

/** What runs a case: which engine, how many threads, which precision. */
export interface Setup {
  readonly engine: Engine
  readonly threads: number
  readonly dtype: WeightDtype
}

export const setupName = ({ engine, threads, dtype }: Setup): string =>
  `${engine} ${dtype}, ${threads} thread${threads === 1 ? '' : 's'}`
