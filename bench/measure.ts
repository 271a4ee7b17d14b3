/** Timing by tinybench: contestants take turns, and each turn counts as its median. */
import { Bench, type Task } from 'tinybench'

/** Something to be timed. */
export interface Contestant {
  readonly name: string
  /** May return tinybench's `{ overriddenDuration, overriddenIterationCost }`, in ms. */
  readonly run: () => unknown
  readonly isAsync?: boolean
  /** Calls that one `run` makes; default 1. */
  readonly calls?: number
}

export interface Rounds {
  /** How many turns each contestant gets that count; one more goes before them for warming up. */
  readonly rounds: number
  /** Least milliseconds of a turn. */
  readonly turnMs: number
  /** Least runs of a turn. */
  readonly turnRuns: number
}

/** Milliseconds of a call, turn by turn. */
export type Turns = readonly number[]

/** Median and extremes over the turns. */
export interface Summary {
  readonly median: number
  readonly least: number
  readonly most: number
}

/** Calls, and milliseconds, before anything counts: by then V8 has replaced its first, plain code of a function. */
export const WARM_CALLS = 50
const WARM_MS = 20
/**
 * What is compared must run about this long between two looks at the clock, or longer: on a busy machine a run of 1 ms
 * mostly fits between two interruptions where one of 4 ms never does, and its median then looks twice as good.
 */
export const SLICE_MS = 10

/**
 * Times contestants in turns, so that whatever else the machine does meets all of them alike; every other round goes
 * backwards. Returns each one's medians, in the order given.
 */
export async function takeTurns(contestants: readonly Contestant[], options: Rounds): Promise<Turns[]> {
  const turns = contestants.map((): number[] => [])
  for (let round = 0; round <= options.rounds; round++) {
    const bench = new Bench({ time: options.turnMs, iterations: options.turnRuns, warmup: false, throws: true })
    const order = [...contestants.keys()]
    if (round % 2 === 1) order.reverse()
    for (const i of order) {
      const { run, isAsync = false } = contestants[i]!
      bench.add(String(i), run as () => void, { async: isAsync })
    }
    await bench.run()
    if (round === 0) continue
    for (const task of bench.tasks) {
      const i = Number(task.name)
      turns[i]!.push(latency(task).p50 / (contestants[i]!.calls ?? 1))
    }
  }
  return turns
}

/** The shortest of `runs` runs in ms, after `warmRuns` that do not count. */
export function shortest(run: () => void, runs: number, warmRuns = WARM_CALLS): number {
  const bench = new Bench({
    ...{ time: 0, iterations: runs, warmup: true, warmupTime: 0, warmupIterations: warmRuns, throws: true },
  })
  bench.add('run', run, { async: false })
  return latency(bench.runSync()[0]!).min
}

/** A contestant of as many calls as take `leastMs` together, so that the clock's steps do not matter. */
export function batched(name: string, call: () => void, leastMs = 1): Contestant & { run(): void; calls: number } {
  const started = performance.now()
  for (let i = 0; i < WARM_CALLS || performance.now() < started + WARM_MS; i++) call()
  let calls = 1
  for (;;) {
    const before = performance.now()
    for (let i = 0; i < calls; i++) call()
    const took = performance.now() - before
    if (took >= leastMs) break
    calls = Math.ceil(calls * Math.min(10, Math.max(2, (1.2 * leastMs) / took)))
  }
  const many = calls
  return {
    name,
    calls: many,
    run: () => {
      for (let i = 0; i < many; i++) call()
    },
  }
}

export function summary(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2
  return { median, least: sorted[0]!, most: sorted.at(-1)! }
}

/** Turn by turn, how many times as long `a` takes as `b`. */
export const ratio = (a: Turns, b: Turns): Summary => summary(a.map((ms, turn) => ms / b[turn]!))

function latency({ name, result }: Task): { p50: number; min: number } {
  if (!('latency' in result)) throw new Error(`bench: ${name} has no result; it is ${result.state}`)
  return result.latency
}
