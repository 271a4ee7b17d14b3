/** Whole models against what people would use instead: processes that take turns, on the same weights and inputs. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Contender, type Loaded, Unavailable } from './contender.js'
import { ratio, summary, type Turns } from './measure.js'
import { CASES, type PeerCase, type Setup, setupName } from './peer-cases.js'
import { barDuels, contenderFor, type Duel, duelsOf, LEAST_SHARE, limitFor, setupsOf } from './peer-plan.js'
import { type ModelInputs, randomModel } from './random-models.js'
import { bar, type NotMeasured, type Row } from './report.js'
import { compileScripts } from './scripts.js'

export interface PeerRounds {
  /** Turns of each contender that count. */
  readonly rounds: number
  /** A turn has so many runs as fit into this, at least one. */
  readonly turnMs: number
  /** Each contender runs at least so long, and three times, before anything counts. */
  readonly warmMs: number
}

export interface PeerFindings {
  readonly rows: readonly Row[]
  readonly notMeasured: readonly NotMeasured[]
}

export interface PeerOptions extends PeerRounds {
  /** Only what bars are set for. */
  readonly onlyBars?: boolean
  /** Only the cases whose name contains this. */
  readonly only?: string
  /** Told of each comparison of outputs, as it is made. */
  readonly tell: (line: string) => void
}

/** Least warm runs; a model of a second has no time for more. */
const WARM_RUNS = 3
const MOST_RUNS = 50
/** Largest difference to our f32 output that a contender may have, relative to its largest value. */
const TOLERANCE = { f32: 1e-4, f16: 0.01, q8: 0.15 } as const
const WIDTHS = { 'vit-b16': 768, 'bert-base': 768, gpt2: 768, minilm: 384 } as const

/** All cases. Throws where a contender computes something else than ours. */
export async function benchPeers(options: PeerOptions): Promise<PeerFindings> {
  await compileScripts()
  const rows: Row[] = []
  const notMeasured: NotMeasured[] = []
  for (const subject of CASES) {
    if (options.only !== undefined && !subject.name.includes(options.only)) continue
    const groups = options.onlyBars ? barDuels(subject.name) : duelsOf(subject.name)
    for (const [i, duels] of groups.entries()) {
      const found = await compete(subject, duels, i === 0, options)
      rows.push(...found.rows)
      notMeasured.push(...found.notMeasured)
    }
  }
  return { rows, notMeasured }
}

interface Entry {
  readonly setup?: Setup
  readonly contender: Contender
  readonly loaded: Loaded
  readonly runs: number
  readonly turns: number[]
  flops: number
}

async function compete(subject: PeerCase, duels: readonly Duel[], withLimit: boolean, options: PeerOptions) {
  const folder = randomModel(subject.model)
  const inputs = JSON.parse(readFileSync(join(folder, 'inputs.json'), 'utf8')) as ModelInputs
  const notMeasured: NotMeasured[] = []
  const entries: Entry[] = []
  try {
    const group = new Group(subject, options)
    for (const setup of setupsOf(duels)) {
      const load = { kind: 'model', folder, case: subject, threads: setup.threads, dtype: setup.dtype, inputs }
      try {
        entries.push(await group.enter(contenderFor(setup), load, setup))
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error
        notMeasured.push({ suite: 'peers', name: subject.name, variant: setupName(setup), reason: error.message })
      }
    }
    const limit = withLimit ? limitFor(subject, WIDTHS[subject.model as keyof typeof WIDTHS]) : undefined
    const bound = limit && { ...(await group.enter(limit.contender, limit.load)), of: limit.of }
    if (bound) entries.push(bound)
    await takeTurnsApart(entries, options.rounds)
    return { rows: rowsOf(subject, duels, entries, bound), notMeasured }
  } finally {
    for (const { contender } of entries) await contender.end()
  }
}

/** The contenders of one comparison as they come in: each is checked against the first, and warmed. */
class Group {
  readonly #subject: PeerCase
  readonly #options: PeerOptions
  #want: Float32Array | undefined

  constructor(subject: PeerCase, options: PeerOptions) {
    this.#subject = subject
    this.#options = options
  }

  async enter(contender: Contender, load: object, setup?: Setup): Promise<Entry> {
    const loaded = await contender.load(load)
    try {
      if (setup) this.#check(await contender.output(), setup)
      const { warmMs, turnMs } = this.#options
      const warm: number[] = []
      for (let spent = 0; warm.length < WARM_RUNS || spent < warmMs; ) {
        // A decoding turn begins with a prefill: few turns of many runs.
        const { milliseconds } = await contender.turn(warm.length < WARM_RUNS ? WARM_RUNS : Math.ceil(warm.length / 2))
        warm.push(...milliseconds)
        spent = warm.reduce((a, b) => a + b)
      }
      const one = summary(warm.slice(-WARM_RUNS)).median
      return {
        contender,
        loaded,
        runs: Math.min(MOST_RUNS, Math.max(1, Math.round(turnMs / one))),
        turns: [],
        flops: 0,
        ...(setup && { setup }),
      }
    } catch (error) {
      await contender.end()
      throw error
    }
  }

  #check(got: Float32Array, setup: Setup): void {
    const who = `${this.#subject.name}, ${setupName(setup)}`
    if (!this.#want) {
      if (!got.every(Number.isFinite)) throw new Error(`${who}: its output is not finite`)
      this.#want = got
      return
    }
    const error = differenceOf(got, this.#want)
    this.#options.tell(`${who}: differs by ${error.toExponential(1)} of the largest value`)
    const bound = TOLERANCE[setup.dtype]
    if (!(error <= bound))
      throw new Error(`${who} computes something else: ${error} of the largest value, not ≤ ${bound}`)
  }
}

/** Largest difference relative to the largest wanted value. */
function differenceOf(got: Float32Array, want: Float32Array): number {
  if (got.length !== want.length) throw new Error(`${got.length} values came where ${want.length} were computed here`)
  let [most, largest] = [0, 0]
  for (const [i, value] of want.entries()) {
    largest = Math.max(largest, Math.abs(value))
    // Not Math.max alone, which a NaN would have to pass through first.
    const difference = Math.abs(value - got[i]!)
    if (!(difference <= most)) most = difference
  }
  return most / largest
}

/** Every other round goes backwards, so that whatever else the machine does meets all alike. */
async function takeTurnsApart(entries: readonly Entry[], rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++)
    for (const entry of round % 2 === 0 ? entries : entries.toReversed()) {
      const { milliseconds, flops = 0 } = await entry.contender.turn(entry.runs)
      entry.turns.push(summary(milliseconds).median)
      entry.flops = flops
    }
}

function rowsOf(
  subject: PeerCase,
  duels: readonly Duel[],
  entries: readonly Entry[],
  bound?: Entry & { of: string },
): Row[] {
  const { name } = subject
  const isOnce = { suite: 'peers', name }
  const plain = entries.flatMap(({ setup, turns, loaded, flops }): Row[] => {
    // One thread among those with two is there to be compared with: its own row is in the other group.
    if (!setup || setup.threads < duels[0]!.ours.threads) return []
    const milliseconds = summary(turns)
    const isOurs = setup.engine === 'prismal'
    const isCounted = isOurs && setup.threads === 1 && setup.dtype === 'f32' && flops > 0
    return [
      {
        ...{ ...isOnce, variant: setupName(setup), milliseconds },
        rate: isCounted
          ? { value: flops / milliseconds.median / 1e6, unit: 'GF/s' }
          : { value: 1000 / milliseconds.median, unit: subject.output === 'decode' ? 'tokens/s' : '/s' },
        ...(isOurs && bound && shareOf(subject, { setup, turns, loaded, flops }, bound)),
      },
    ]
  })
  const find = (setup: Setup): Turns | undefined =>
    entries.find(e => e.setup && setupName(e.setup) === setupName(setup))?.turns
  const factors = duels.flatMap(({ ours, than, least }): Row[] => {
    const [a, b] = [find(ours), find(than)]
    if (!a || !b) return []
    const factor = ratio(b, a)
    return [
      {
        ...{ ...isOnce, variant: setupName(ours), milliseconds: summary(a) },
        times: { factor, than: setupName(than) },
        ...(least !== undefined && { bar: bar(factor.median, least, `≥ ${least}×`) }),
      },
    ]
  })
  return [...plain, ...factors]
}

/** Share of what bounds it: the rate at which its products, or the bytes it must read, would go at best. */
function shareOf(
  { name }: PeerCase,
  { setup, turns, loaded, flops }: { setup: Setup; turns: Turns; loaded: Loaded; flops: number },
  bound: Entry & { of: string },
): Pick<Row, 'ofPeak' | 'bar'> | undefined {
  if (setup.threads !== 1) return undefined
  const isStreaming = bound.of === 'streaming'
  if (!isStreaming && setup.dtype !== 'f32') return undefined
  const [work, limit] = isStreaming ? [loaded.streamedBytes, bound.loaded.streamedBytes] : [flops, bound.flops]
  if (!work || !limit) return undefined
  const share = ratio(
    bound.turns.map(ms => ms / limit),
    turns.map(ms => ms / work),
  )
  const least = LEAST_SHARE[name as keyof typeof LEAST_SHARE]
  return {
    ofPeak: { share, of: bound.of },
    ...(least !== undefined && { bar: bar(share.median, least, `≥ ${100 * least} %`) }),
  }
}
