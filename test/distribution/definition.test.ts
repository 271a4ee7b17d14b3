/** What devices compute together, as it is defined: attention to their own rows and the weighted means of the others', in float64. */
import {
  createPlan,
  type Exchange,
  type Plan,
  POINTS,
  PUBLISHED,
  type SharingOptions,
  shared,
} from '@prismal/distribute'
import { StageMeter } from '@prismal/models'
import {
  attentionBegin,
  attentionEnd,
  attentionFold,
  createEngine,
  type Engine,
  type Run,
  type Tensor,
} from '@prismal/tensor'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { distance } from '../compare.js'
import { normals } from '../random.js'
import { RUNS } from '../runs.js'
import { sharings } from './subjects.js'

const D = 8
const SCALE = 0.7
/** Queries, keys and values are the normed rows; the norm halves what is negative, so that it matters where means are taken. */
const norm = (x: number): number => (x > 0 ? x : x / 2)

type Row = readonly number[]
const mean = (rows: readonly Row[]): Row =>
  Array.from({ length: D }, (_, c) => rows.reduce((sum, row) => sum + row[c]!, 0) / rows.length)

/** What a query sees: rows, and how many rows each weighs as. */
type Seen = readonly { readonly row: Row; readonly weight: number }[]
function attended(query: Row, seen: Seen): Row {
  const logits = seen.map(({ row }) => SCALE * row.reduce((sum, k, c) => sum + k * query[c]!, 0))
  const most = Math.max(...logits)
  const scores = seen.map(({ weight }, m) => weight * Math.exp(logits[m]! - most))
  const total = scores.reduce((a, b) => a + b, 0)
  return Array.from({ length: D }, (_, c) => seen.reduce((sum, { row }, m) => sum + (scores[m]! / total) * row[c]!, 0))
}

/** The last device before p that has rows. */
const previousHolder = (bounds: readonly Run[], p: number): number =>
  bounds.findLastIndex(([from, to], q) => q < p && to > from)

/** The wanted rows of one sequence, by row number, of a plan's stack of attention layers. */
function defined(plan: Plan, s: number, input: readonly Row[]): Map<number, Row> {
  const { rows: N, bounds, sent, sentNext, anchor, halo, order, wanted } = plan.sequences[s]!
  const rowAt = (place: number): number => order?.[place] ?? place
  const first = bounds.findIndex(([from, to]) => to > from)
  /** The places that each device computes. */
  const places = bounds.map(([from, to], p) => {
    const anchors = p !== first && to > from ? Array.from({ length: anchor }, (_, i) => i) : []
    const start = from - (halo?.[p] ?? 0)
    return [...anchors, ...Array.from({ length: to - start }, (_, i) => start + i)]
  })
  /** What q sends p: not what p computes itself. */
  const heard = (layer: number, q: number, p: number): readonly Run[] =>
    (halo && halo[p]! > 0 && q === previousHolder(bounds, p) ? sentNext! : sent)[layer]![q]!
  let held = places.map(all => new Map(all.map(place => [place, input[rowAt(place)]!])))
  for (let layer = 0; layer < plan.layers; layer++) {
    const sees = (p: number, place: number, isAnchor: boolean): Seen => {
      const own = places[p]!.filter(other => !plan.causal || other <= place)
      const local = own.map(other => ({ row: held[p]!.get(other)!.map(norm), weight: 1 }))
      const others = bounds.flatMap(([from], q) => {
        const isSilent = q === p || (plan.lost !== undefined && plan.lost[0] === q && layer >= plan.lost[1])
        if (isSilent || (plan.causal && (q > p || isAnchor))) return []
        return heard(layer, q, p).map(([a, b]: Run) => {
          const rows = Array.from({ length: b - a }, (_, i) => held[q]!.get(from + a + i)!)
          const row = plan.point === 'input' ? mean(rows).map(norm) : mean(rows.map(row => row.map(norm)))
          return { row, weight: (b - a) ** plan.gains[layer]! }
        })
      })
      return [...local, ...others]
    }
    held = held.map((rows, p) => {
      const entries = [...rows].map(
        ([place, row]) =>
          [place, attended(row.map(norm), sees(p, place, place < anchor && place < bounds[p]![0]))] as const,
      )
      return new Map(entries)
    })
  }
  expect(places.flat().length).toBeGreaterThanOrEqual(N)
  const owner = (place: number): number => bounds.findIndex(([from, to]) => place >= from && place < to)
  return new Map(wanted.map(place => [rowAt(place), held[owner(place)]!.get(place)!]))
}

/** What device `self` gives back: its wanted rows, sequence after sequence. */
async function device(
  engine: Engine,
  plan: Plan,
  self: number,
  input: readonly (readonly Row[])[],
  exchange: Exchange,
) {
  const scope = engine.scope()
  const context = shared({ plan, self, meter: new StageMeter(), exchange })
  const mine = plan.sequences.flatMap((sequence, s) => {
    const [from, to] = sequence.bounds[self]!
    const isFirst = sequence.bounds.findIndex(([a, b]) => b > a) === self
    const anchors = to > from && !isFirst ? sequence.anchor : 0
    const halo = sequence.halo?.[self] ?? 0
    const places = [
      ...Array.from({ length: anchors }, (_, i) => i),
      ...Array.from({ length: halo + to - from }, (_, i) => from - halo + i),
    ]
    return places.map(place => input[s]![sequence.order?.[place] ?? place]!)
  })
  const mapped = (x: Tensor, width: number, act: (row: Float32Array) => ArrayLike<number>): Tensor => {
    const values = x.floats()
    const rows = Array.from({ length: x.rows }, (_, r) => [...Array.from(act(values.subarray(r * D, (r + 1) * D)))])
    return scope.tensor(Float32Array.from(rows.flat()), [x.rows, width])
  }
  try {
    let x = scope.tensor(Float32Array.from(mine.flat()), [mine.length, D])
    for (let layer = 0; layer < plan.layers; layer++) {
      const { normed, blocks } = context.keys(layer, x, {
        norm: rows => mapped(rows, D, row => row.map(norm)),
        project: rows => mapped(rows, 2 * D, row => [...row, ...row]),
      })
      const state = attentionBegin(context.wanted(layer, normed), 1, SCALE)
      for await (const block of blocks) attentionFold(state, block, block.from, block.to)
      x = attentionEnd(state)
    }
    return x.floats()
  } finally {
    scope.dispose()
  }
}

interface Slot {
  readonly promise: Promise<Uint8Array>
  readonly resolve: (data: Uint8Array) => void
}
function newSlot(): Slot {
  let resolve: Slot['resolve'] = () => {}
  const promise = new Promise<Uint8Array>(done => {
    resolve = done
  })
  return { promise, resolve }
}

/** Devices hear each other through this: what was posted is there when it is taken, or comes later. */
function exchanges(): (self: number) => Exchange {
  const slots = new Map<string, Slot>()
  const slot = (key: string): Slot => {
    const known = slots.get(key) ?? newSlot()
    slots.set(key, known)
    return known
  }
  return self => ({
    post: (kind, to, layer, data) => slot(`${kind}/${layer}/${self}→${to}`).resolve(data),
    take: (kind, layer, from) => slot(`${kind}/${layer}/${from}→${self}`).promise,
  })
}

let engine: Engine
beforeAll(async () => {
  engine = await createEngine()
})
afterAll(() => engine.dispose())

const layers = 3
const image = { layers, causal: false, prefixRows: 1, patchGrid: [4, 5], patchWidth: 2 } as const
const shapes = fc.constantFrom({ layers, causal: false }, { layers, causal: true }, image)
const cases = shapes.chain(shape =>
  fc.record({
    shape: fc.constant(shape),
    sharing: sharings(4, shape),
    rows:
      'patchGrid' in shape
        ? fc.constant<number[]>([21, 21])
        : fc.array(fc.integer({ min: 1, max: 24 }), { minLength: 1, maxLength: 3 }),
    point: fc.constantFrom(...POINTS),
    want: fc.constantFrom('all' as const, 'first' as const, 'last' as const),
    seed: fc.nat(1000),
  }),
)

async function expectAsDefined(plan: Plan, seed: number): Promise<void> {
  const { devices, sequences } = plan
  const input = sequences.map(({ rows }, s) => {
    const values = normals(rows * D, seed + s)
    return Array.from({ length: rows }, (_, r) => [...values.subarray(r * D, (r + 1) * D)])
  })
  const exchange = exchanges()
  const pieces = await Promise.all(
    Array.from({ length: devices }, (_, self) => device(engine, plan, self, input, exchange(self))),
  )
  const taken = pieces.map(() => 0)
  for (const [s, { bounds, order, wanted }] of sequences.entries()) {
    const want = defined(plan, s, input[s]!)
    for (const place of wanted) {
      const p = bounds.findIndex(([from, to]) => place >= from && place < to)
      const got = pieces[p]!.subarray(taken[p]! * D, (taken[p]! + 1) * D)
      taken[p]!++
      expect(distance(got, Float32Array.from(want.get(order?.[place] ?? place)!))).toBeLessThanOrEqual(1e-4)
    }
  }
}

describe('devices together give what is defined', () => {
  test('whatever is sent', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ shape, sharing, rows, point, want, seed }) => {
        const { devices, options } = sharing
        const plan = createPlan({ shape, rows, want, devices }, { ...options, wire: 'f32', point })
        // Which rows are alike may hang on a rounding: alike.test.ts has that.
        fc.pre(!plan.sequences.some(({ merged }) => merged))
        await expectAsDefined(plan, seed)
      }),
      { numRuns: RUNS },
    )
  })

  test.each([
    { causal: true, anchor: 3 },
    { causal: false, anchor: 3 },
  ])('with anchored rows, causal or not: $causal', async ({ causal, anchor }) => {
    const context = { shape: { layers, causal }, rows: [13, 20], want: 'all', devices: 3 } as const
    await expectAsDefined(createPlan(context, { ...PUBLISHED, segments: 2, anchor }), 7)
  })

  test.each<SharingOptions>([
    { halo: 2 },
    { halo: 3, anchor: 4, bounds: 1.5 },
    { halo: 2, weights: [2, 0, 1, 3] },
    { halo: 50, handoff: 'full' },
    { halo: 2, lost: [1, 1] },
  ])('with rows that the next device computes too: %j', async options => {
    const context = { shape: { layers, causal: true }, rows: [17, 24], want: 'all', devices: 4 } as const
    const plan = createPlan(context, { ...PUBLISHED, segments: 2, ...options })
    expect(plan.sequences.every(({ halo }) => halo?.some(h => h > 0))).toBe(true)
    await expectAsDefined(plan, 7)
  })
})

test('what several devices hear is encoded once', async () => {
  const context = { shape: { layers: 1, causal: true }, rows: [24], want: 'all', devices: 4 } as const
  const plan = createPlan(context, { ...PUBLISHED, segments: 2, halo: 2 })
  const posted = new Map<number, Uint8Array>()
  const exchange: Exchange = {
    post: (_, to, __, data) => posted.set(to, data),
    take: () => Promise.reject(new Error('the first device hears nothing')),
  }
  const input = Array.from({ length: 24 }, (_, r) => [...normals(D, r)])
  await device(engine, plan, 0, [input], exchange)
  expect([...posted.keys()]).toEqual([1, 2, 3])
  expect(posted.get(3)).toBe(posted.get(2))
  expect(posted.get(1)).not.toEqual(posted.get(2))
})
