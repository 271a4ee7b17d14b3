/** Two processes that share requests, a coordinator and a worker, and the turns that contestants take among them. */
import { LineProcess } from '../line-process.js'
import { summary, type Turns } from '../measure.js'
import type { WeightDtype } from '../peer-cases.js'
import { scriptPath } from '../scripts.js'
import type {
  Choice,
  CoordinatorLoad,
  CoordinatorTurn,
  Foreseen,
  PlannedDevice,
  RunnerSpec,
  Subject,
  Verification,
} from './coordinator-messages.js'
import type { Host } from './namespaces.js'
import { WorkerProcess } from './worker-process.js'

export interface PairStart {
  readonly folder: string
  readonly dtype: WeightDtype
  readonly subject: Subject
  readonly runners: Readonly<Record<string, RunnerSpec>>
  readonly secretFile?: string
  /** The coordinator's and the worker's; default: both here, over loopback. */
  readonly hosts?: readonly [Host, Host]
  /** The worker's number in the plan, whose other device is the coordinator itself; default 1. */
  readonly workerIs?: 0 | 1
}

export class Pair {
  readonly #worker: WorkerProcess
  readonly #coordinator: LineProcess

  private constructor(worker: WorkerProcess, coordinator: LineProcess) {
    this.#worker = worker
    this.#coordinator = coordinator
  }

  /** Resolves when both have loaded the model and are joined. */
  static async start(start: PairStart): Promise<Pair> {
    const { folder, dtype, subject, runners, secretFile, hosts, workerIs = 1 } = start
    const secret = secretFile === undefined ? {} : { secretFile }
    const worker = await WorkerProcess.start({ folder, dtype, ...secret, ...(hosts && { host: hosts[1] }) })
    const enter = hosts?.[0].enter ?? []
    const [command = process.execPath, ...args] = [...enter, process.execPath, scriptPath('network-coordinator')]
    const pair = new Pair(worker, new LineProcess('coordinator', command, args))
    const devices = workerIs === 1 ? ['local', worker.address] : [worker.address, 'local']
    try {
      await pair.#coordinator.ask({
        load: { folder, dtype, subject, devices, ...secret, runners } satisfies CoordinatorLoad,
      })
      return pair
    } catch (error) {
      await pair.end()
      throw error
    }
  }

  turn(choice: Choice, runs: number): Promise<CoordinatorTurn> {
    return this.#coordinator.ask({ turn: { ...choice, runs } })
  }
  /** What the plan of such a request says of each device. */
  async planned(choice: Choice): Promise<readonly PlannedDevice[]> {
    return (await this.#coordinator.ask<{ devices: PlannedDevice[] }>({ planned: choice })).devices
  }
  /** How far a runner's logits are from those of one device, relative to the largest. */
  async difference(runner: string): Promise<number> {
    return (await this.#coordinator.ask<{ difference: number }>({ difference: runner })).difference
  }
  /** Measures devices and links, and what follows for a batch. */
  foresee(batch: number): Promise<Foreseen> {
    return this.#coordinator.ask({ foresee: { batch } })
  }
  /** What was foreseen last, beside requests. */
  async verify(rounds: number): Promise<readonly Verification[]> {
    return (await this.#coordinator.ask<{ verified: Verification[] }>({ verify: { rounds } })).verified
  }
  /** Resolves when both are gone. */
  async end(): Promise<void> {
    await this.#coordinator.end()
    await this.#worker.end()
  }
}

/** Starts pairs, gives them to `use`, and ends them however that ends. */
export async function withPairs<T>(starts: readonly PairStart[], use: (...pairs: Pair[]) => Promise<T>): Promise<T> {
  const pairs: Pair[] = []
  try {
    for (const start of starts) pairs.push(await Pair.start(start))
    return await use(...pairs)
  } finally {
    for (const pair of pairs) await pair.end()
  }
}

/** How long is measured. */
export interface NetworkRounds {
  /** Turns of each contestant that count. */
  readonly rounds: number
  /** A turn has so many requests as fit into this, at least one. */
  readonly turnMs: number
  /**
   * Each contestant runs at least so long, and twice, before anything counts. 0: it does not, and a turn is one request:
   * for large batches, whose code has run before and whose requests take seconds.
   */
  readonly warmMs: number
}

export interface Entrant extends Choice {
  readonly pair: Pair
}

export interface Measured {
  /** Milliseconds of a request, turn by turn. */
  readonly turns: Turns
  /** The same of its slowest device. */
  readonly deviceTurns: Turns
}

const WARM_RUNS = 2

/** Times entrants in turns, every other round backwards; in the order given. */
export async function compete(entrants: readonly Entrant[], options: NetworkRounds): Promise<Measured[]> {
  const states: { entrant: Entrant; runs: number; turns: number[]; deviceTurns: number[] }[] = []
  for (const entrant of entrants) {
    const runs = options.warmMs === 0 ? 1 : Math.round(options.turnMs / (await warm(entrant, options.warmMs)))
    states.push({ entrant, runs: Math.max(1, runs), turns: [], deviceTurns: [] })
  }
  for (let round = 0; round < options.rounds; round++)
    for (const { entrant, runs, turns, deviceTurns } of round % 2 === 0 ? states : states.toReversed()) {
      const { milliseconds, deviceMilliseconds } = await entrant.pair.turn(entrant, runs)
      turns.push(summary(milliseconds).median)
      deviceTurns.push(summary(deviceMilliseconds).median)
    }
  return states
}

/** Gives the milliseconds of a request. */
async function warm(entrant: Entrant, warmMs: number): Promise<number> {
  const times: number[] = []
  for (let spent = 0; times.length < WARM_RUNS || spent < warmMs; ) {
    const { milliseconds } = await entrant.pair.turn(entrant, 1)
    times.push(...milliseconds)
    spent += milliseconds[0]!
  }
  return summary(times.slice(-WARM_RUNS)).median
}
