/** Asks P devices for rows, holds what they count to what their plan says, and keeps account of what requests cost. */
import {
  cost,
  createPlan,
  type Plan,
  PlanError,
  type SharedRequest,
  type SharedRunner,
  type SharingOptions,
} from '@prismal/distribute'
import type { Emitted, GenerateOptions, Part, Want } from '@prismal/models'
import type { Run, Tensor } from '@prismal/tensor'
import type { CellCost } from './cell.js'

/** Sums over requests of one sequence each. */
export interface Tally extends CellCost {
  readonly requests: number
}

/** Where a sequence is cut, if not into even parts of its own rows. */
export type Cut = Pick<SharingOptions, 'weights' | 'padTo'>

export const cutOf = ({ weights, padTo }: SharingOptions): Cut => ({
  ...(weights && { weights }),
  ...(padTo && { padTo }),
})

/** How a cell's devices share. */
export interface Way {
  /** P. */
  readonly devices: number
  readonly sharing: SharingOptions
  /** Into how many partitions rows count as cut, where they are scored by their distance from one: that of the cells compared with. */
  readonly cuts: number
  /** Where, of one device: that of the cells compared with. Others are cut as they share. */
  readonly cut?: Cut
}

/** Where a way's rows count as cut. */
export const cutOfWay = ({ devices, sharing, cut = {} }: Way): Cut => (devices > 1 ? cutOf(sharing) : cut)

const NOTHING: Tally = { requests: 0, bytesReceived: 0, bytesSent: 0, flops: 0, flopsAlone: 0 }

export class Asker {
  readonly way: Way
  readonly #runner: SharedRunner
  readonly #costs = new Map<string, CellCost>()
  #tally: Tally = NOTHING

  /** `runner` has at least `way.devices` devices. */
  constructor(runner: SharedRunner, way: Way) {
    this.way = way
    this.#runner = runner.with(way.sharing, way.devices)
  }

  /** Asks one device, for what answers are compared with; it has an account of its own. */
  alone(): Asker {
    return new Asker(this.#runner, { devices: 1, sharing: {}, cuts: this.way.cuts, cut: cutOfWay(this.way) })
  }

  get model() {
    return this.#runner.model
  }
  /** What the requests so far cost, each sequence as a request of its own. */
  get tally(): Tally {
    return this.#tally
  }

  /** Partitions of a sequence of `rows` rows that scoring goes by. */
  cuts(rows: number): readonly Run[] {
    const sharing: SharingOptions = { ...cutOfWay(this.way), strategy: 'isolated' }
    return this.#plan([rows], 'all', sharing, this.way.cuts).sequences[0]?.bounds ?? []
  }

  /** Rows of a sequence that lie beyond the first device, of the first `real` ones. */
  beyond(rows: number, real = rows): number {
    const [first] = this.cuts(rows)
    return Math.max(0, real - (first?.[1] ?? real))
  }

  /** Asks for rows of some sequences in one request, for as long as `use` takes. */
  async rows<T>(parts: readonly Part[], want: Want, use: (rows: Tensor) => T): Promise<T> {
    const request = this.#runner.begin()
    try {
      const found = use(await request.rows(parts, want))
      const output = want === 'mean' ? 'mean' : 'rows'
      this.#expectCounted(request, { output })
      for (const [s, { to }] of parts.entries()) this.#add(to, typeof want === 'string' ? want : [want[s] ?? []])
      return found
    } finally {
      request.end()
    }
  }

  /** Prefills and decodes prompts in one request; `take` hears of each token. */
  async tokens(prompts: readonly Part[], options: GenerateOptions, take: (token: Emitted) => void): Promise<void> {
    const request = this.#runner.begin()
    const counts = prompts.map(() => 0)
    try {
      for await (const token of request.tokens(prompts, options)) {
        counts[token.sequence] = (counts[token.sequence] as number) + 1
        take(token)
      }
      this.#expectCounted(request, { decoding: this.#decoding(counts) })
      for (const [s, { to }] of prompts.entries()) this.#add(to, 'last', counts[s])
    } finally {
      request.end()
    }
  }

  #decoding(tokens: readonly number[]) {
    const vocabulary = this.model.headProducts.vocabulary?.[0]?.[1] ?? 0
    return { tokens, vocabulary }
  }

  #plan(rows: readonly number[], want: Want, sharing: SharingOptions, devices: number, decodes = false): Plan {
    return createPlan({ shape: this.model.shape, rows, want, devices, decodes }, sharing)
  }

  #add(rows: number, want: Want, tokens?: number): void {
    const key = `${rows} ${JSON.stringify(want)} ${tokens}`
    const of = this.#costs.get(key) ?? this.#costOf(rows, want, tokens)
    this.#costs.set(key, of)
    const sum = this.#tally
    this.#tally = {
      requests: sum.requests + 1,
      bytesReceived: sum.bytesReceived + of.bytesReceived,
      bytesSent: sum.bytesSent + of.bytesSent,
      flops: sum.flops + of.flops,
      flopsAlone: sum.flopsAlone + of.flopsAlone,
    }
  }

  /** Of the device that has most, in a request of one sequence. */
  #costOf(rows: number, want: Want, tokens: number | undefined): CellCost {
    const { devices, sharing } = this.way
    const { shape } = this.model
    const decodes = tokens !== undefined
    const options = decodes ? { decoding: this.#decoding([tokens]) } : {}
    const shared = cost(this.#plan([rows], want, sharing, devices, decodes), shape, options)
    const [alone] = cost(this.#plan([rows], want, { strategy: 'isolated' }, 1, decodes), shape, options)
    const most = (of: 'bytesReceived' | 'bytesSent' | 'flops'): number => Math.max(...shared.map(d => d[of]))
    return {
      bytesReceived: most('bytesReceived'),
      bytesSent: most('bytesSent'),
      flops: most('flops'),
      flopsAlone: alone?.flops ?? 0,
    }
  }

  /** Throws {@link PlanError} where a device counted other bytes or operations than its plan says. */
  #expectCounted(request: SharedRequest, options: Parameters<typeof cost>[2]): void {
    const due = cost(request.plan as Plan, this.model.shape, options)
    const { devices } = request.report()
    for (const [p, planned] of due.entries())
      for (const what of ['bytesReceived', 'bytesSent', 'flops'] as const) {
        const counted = devices[p]?.[what]
        if (counted !== planned[what])
          throw new PlanError(`plan: device ${p} counted ${counted} ${what}, where its plan says ${planned[what]}`)
      }
  }
}
