/** Block-wise attention against attention written down naively, in turns. */
import { attentionBegin, attentionEnd, attentionFold, createEngine, type Engine, type Scope } from '@prismal/tensor'
import { randomFrom } from '../test/random.js'
import { batched, type Rounds, ratio, SLICE_MS, summary, takeTurns, WARM_CALLS } from './measure.js'
import { type AttentionShape, naiveAttention } from './naive-attention.js'
import { type Machine, peakContestant } from './peak.js'
import { bar, type Row } from './report.js'

const HEADS = 12
const HEAD_WIDTH = 64
const ROWS = [197, 1024, 4096]
/** From so many rows on a call takes a second, of naive attention half a minute: the one that is checked is timed. */
const MANY_ROWS = 4096
/** How many times as fast as naive attention it must be, where nothing is masked. */
const LEAST_FACTOR = 20
/** Share of the multiply-add peak that it must reach at so many rows. */
const LEAST_SHARE = { rows: 1024, share: 0.6 }
/** Largest difference to the naive result, whose sums are float64, relative to its largest value. */
const TOLERANCE = 4e-6

/** Both at 12 heads of 64, causal and not; `onlyBars` leaves out what no bar is set for. Throws where they disagree. */
export async function benchAttention(machine: Machine, rounds: Rounds, onlyBars = false): Promise<Row[]> {
  const engine = await createEngine()
  warmNaive()
  const rows: Row[] = []
  for (const n of ROWS)
    for (const causal of onlyBars || n >= MANY_ROWS ? [false] : [false, true]) {
      const shape = { rows: n, heads: HEADS, headWidth: HEAD_WIDTH, causal }
      rows.push(
        ...(await compare(engine, machine, shape, n < MANY_ROWS ? rounds : { ...rounds, rounds: 3, turnMs: 0 })),
      )
    }
  engine.dispose()
  return rows
}

async function compare(engine: Engine, machine: Machine, shape: AttentionShape, rounds: Rounds): Promise<Row[]> {
  const scope = engine.scope()
  const { rows: N, heads, headWidth, causal } = shape
  const D = heads * headWidth
  // Scores of variance about 1, so that softmax is neither flat nor a choice.
  const [q, k, v] = [1, 2, 3].map(seed => uniform(seed, N * D)) as [Float32Array, Float32Array, Float32Array]
  const out = new Float32Array(N * D)
  const [scores, sums] = [new Float64Array(N), new Float64Array(headWidth)]
  const ours = blockWise(scope, shape, q, k, v)
  const naive = (): void => naiveAttention(q, k, v, out, scores, sums, shape)
  const started = performance.now()
  naive()
  const onceMs = performance.now() - started
  checkEqual(ours().floats(), out, shape)

  const run = (): void => ours().dispose()
  const blockwise = N < MANY_ROWS ? batched('block-wise', run, SLICE_MS) : { name: 'block-wise', run }
  const peak = peakContestant(machine.peak)
  const [ourTurns, peakTurns, naiveTurns = ourTurns!.map(() => onceMs)] = await takeTurns(
    [blockwise, peak.contestant, ...(N < MANY_ROWS ? [{ name: 'naive', run: naive }] : [])],
    rounds,
  )
  scope.dispose()
  const pairs = causal ? (N * (N + 1)) / 2 : N * N
  const flops = 4 * D * pairs
  const factor = ratio(naiveTurns!, ourTurns!)
  const share = ratio(
    peakTurns!.map(t => t / peak.flops),
    ourTurns!.map(t => t / flops),
  )
  const variant = `N ${N}${causal ? ' causal' : ''}`
  const own = {
    ...{ suite: 'attention', name: `block-wise (${engine.build})`, variant, milliseconds: summary(ourTurns!) },
    rate: { value: flops / summary(ourTurns!).median / 1e6, unit: 'GF/s' as const },
    ofPeak: { share, of: 'peak' },
  }
  const isBounded = !causal && N === LEAST_SHARE.rows
  return [
    {
      ...own,
      times: { factor, than: 'naive' },
      ...(!causal && { bar: bar(factor.median, LEAST_FACTOR, `≥ ${LEAST_FACTOR}×`) }),
    },
    ...(isBounded
      ? [{ ...own, bar: bar(share.median, LEAST_SHARE.share, `≥ ${100 * LEAST_SHARE.share} % of peak`) }]
      : []),
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
