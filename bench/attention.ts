/** Block-wise attention against attention written down naively, in turns. */
import { attentionBegin, attentionEnd, attentionFold, createEngine, type Engine, type Scope } from '@prismal/tensor'
import { randomFrom } from '../test/random.js'
import { batched, type Rounds, ratio, SLICE_MS, summary, takeTurns, WARM_CALLS } from './measure.js'
import { type AttentionShape, naiveAttention } from './naive-attention.js'
import { bar, type Row } from './report.js'

const HEADS = 12
const HEAD_WIDTH = 64
const ROWS = [197, 1024]
/** How many times as fast as naive attention it must be. */
const LEAST_FACTOR = 8
/** Largest difference to the naive result, whose sums are float64, relative to its largest value. */
const TOLERANCE = 4e-6

/** Both at 12 heads of 64, causal and not. Throws where they disagree. */
export async function benchAttention(rounds: Rounds): Promise<Row[]> {
  const engine = await createEngine()
  warmNaive()
  const rows: Row[] = []
  for (const n of ROWS)
    for (const causal of [false, true])
      rows.push(...(await compare(engine, { rows: n, heads: HEADS, headWidth: HEAD_WIDTH, causal }, rounds)))
  engine.dispose()
  return rows
}

async function compare(engine: Engine, shape: AttentionShape, rounds: Rounds): Promise<Row[]> {
  const scope = engine.scope()
  const { rows: N, heads, headWidth, causal } = shape
  const D = heads * headWidth
  // Scores of variance about 1, so that softmax is neither flat nor a choice.
  const [q, k, v] = [1, 2, 3].map(seed => uniform(seed, N * D)) as [Float32Array, Float32Array, Float32Array]
  const out = new Float32Array(N * D)
  const [scores, sums] = [new Float64Array(N), new Float64Array(headWidth)]
  const ours = blockWise(scope, shape, q, k, v)
  const naive = (): void => naiveAttention(q, k, v, out, scores, sums, shape)
  naive()
  checkEqual(ours().floats(), out, shape)

  const contestants = [batched('block-wise', () => ours().dispose(), SLICE_MS), { name: 'naive', run: naive }]
  const [ourTurns, naiveTurns] = await takeTurns(contestants, rounds)
  scope.dispose()
  const pairs = causal ? (N * (N + 1)) / 2 : N * N
  const flops = 4 * D * pairs
  const factor = ratio(naiveTurns!, ourTurns!)
  const variant = `N ${N}${causal ? ' causal' : ''}`
  return [
    {
      ...{ suite: 'attention', name: `block-wise (${engine.build})`, variant, milliseconds: summary(ourTurns!) },
      rate: { value: flops / summary(ourTurns!).median / 1e6, unit: 'GF/s' },
      times: { factor, than: 'naive' },
      bar: bar(factor.median, LEAST_FACTOR, `≥ ${LEAST_FACTOR}×`),
    },
    {
      ...{ suite: 'attention', name: 'naive', variant, milliseconds: summary(naiveTurns!) },
      rate: { value: flops / summary(naiveTurns!).median / 1e6, unit: 'GF/s' },
    },
  ]
}

/** Has V8 compile the naive function as a whole: entered in the middle of a loop it runs at a third of its speed. */
function warmNaive(): void {
  const shape = { rows: 32, heads: HEADS, headWidth: HEAD_WIDTH }
  const [x, out] = [uniform(1, 32 * HEADS * HEAD_WIDTH), new Float32Array(32 * HEADS * HEAD_WIDTH)]
  const [scores, sums] = [new Float64Array(32), new Float64Array(HEAD_WIDTH)]
  for (let i = 0; i < 4 * WARM_CALLS; i++) naiveAttention(x, x, x, out, scores, sums, { ...shape, causal: i % 2 === 0 })
}

/** Attention over one block, as a model of one device runs it. The result belongs to the caller. */
function blockWise(scope: Scope, shape: AttentionShape, q: Float32Array, k: Float32Array, v: Float32Array) {
  const { rows: N, heads, headWidth, causal } = shape
  const [queries, keys, values] = [q, k, v].map(x => scope.tensor(x, [N, heads * headWidth]))
  const visible = causal ? Int32Array.from({ length: N }, (_, i) => i + 1) : undefined
  return () => {
    const state = attentionBegin(queries!, heads, 1 / Math.sqrt(headWidth))
    attentionFold(state, { k: keys!, v: values!, visible })
    return attentionEnd(state)
  }
}

function checkEqual(got: Float32Array, want: Float32Array, { rows, causal }: AttentionShape): void {
  const scale = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  const error = got.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i]!)), 0) / scale
  if (!(error <= TOLERANCE))
    throw new Error(`attention of ${rows} rows${causal ? ', causal,' : ''} differs from the naive one by ${error}`)
}

function uniform(seed: number, length: number): Float32Array {
  const random = randomFrom(seed)
  return Float32Array.from({ length }, () => (random() - 0.5) * Math.sqrt(12))
}
