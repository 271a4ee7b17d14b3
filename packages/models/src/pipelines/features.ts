/** feature-extraction: vectors of texts or images. */
import type { Tensor } from '@prismal/tensor'
import { InputError } from '../errors.js'
import type { Part } from '../input.js'
import type { Request, Runner } from '../runner.js'
import type { EncodeOptions } from '../text/tokenizer.js'
import { checkLength, TRUNCATION_OPTIONS, type TruncationOptions, truncationOf } from './options.js'
import { asList, type CallOptions, type Pipeline, pipelineOf } from './pipeline.js'

export interface FeatureOptions extends TruncationOptions {
  /** `none` (default): every row; `mean` of the rows; `cls`: the first row. */
  readonly pooling?: 'none' | 'mean' | 'cls'
  /** Scale each vector to length 1; default false. */
  readonly normalize?: boolean
}

/** A dense array outside any engine. */
export interface NumberArray {
  /** [inputs, D], or for `none` and one input [rows, D]. */
  readonly dims: readonly number[]
  readonly data: Float32Array
  /** The same as nested arrays. */
  tolist(): unknown
}

/** Inputs → [inputs, D] (pooled), or one array a input (`none`). `read` makes a sequence of an input, cut as it is told. */
export function featureExtraction<Source>(
  runner: Runner,
  read: (source: Source, cut: Pick<EncodeOptions, 'maxTokens'> & CallOptions) => Promise<Part> | Part,
): Pipeline<Source | readonly Source[], FeatureOptions, NumberArray | NumberArray[]> {
  const known = ['pooling', 'normalize', ...TRUNCATION_OPTIONS]
  return pipelineOf(
    runner,
    known,
    async (request, input: Source | readonly Source[], options: FeatureOptions & CallOptions) => {
      const { pooling = 'none', normalize = false, signal } = options
      const cut = { ...truncationOf(runner.model, options), ...(signal && { signal }) }
      const sequences: Part[] = []
      for (const source of asList(input)) sequences.push(checkLength(runner.model, await read(source, cut)))
      const finish = normalize ? unit : (vectors: Float32Array): Float32Array => vectors
      if (pooling === 'none') {
        const arrays = await everyRow(request, sequences, finish)
        return Array.isArray(input) ? arrays : (arrays[0] as NumberArray)
      }
      const want = { mean: 'mean', cls: 'first' } as const
      if (!Object.hasOwn(want, pooling)) throw new InputError(`pooling is "${pooling}", not none, mean or cls`)
      const rows = await request.rows(sequences, want[pooling])
      return numberArray([rows.rows, rows.columns], finish(rows.floats(), rows.columns))
    },
  )
}

async function everyRow(
  request: Request,
  sequences: readonly Part[],
  finish: (values: Float32Array, width: number) => Float32Array,
): Promise<NumberArray[]> {
  const rows: Tensor = await request.rows(sequences, 'all')
  let start = 0
  return sequences.map(({ to }) => {
    const part = rows.slice(start, start + to)
    start += to
    return numberArray([to, rows.columns], finish(part.floats(), rows.columns))
  })
}

/** Each row of `width` values scaled to length 1 (a row of zeros stays). */
function unit(vectors: Float32Array, width: number): Float32Array {
  const out = vectors.slice()
  for (let at = 0; at < out.length; at += width) {
    const row = out.subarray(at, at + width)
    const length = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0))
    if (length > 0) for (let i = 0; i < width; i++) row[i] = (row[i] as number) / length
  }
  return out
}

export function numberArray(dims: readonly number[], data: Float32Array): NumberArray {
  const nested = (depth: number, at: number, size: number): unknown => {
    const n = dims[depth] as number
    if (depth === dims.length - 1) return Array.from(data.subarray(at, at + size))
    return Array.from({ length: n }, (_, i) => nested(depth + 1, at + (i * size) / n, size / n))
  }
  return { dims, data, tolist: () => nested(0, 0, data.length) }
}
