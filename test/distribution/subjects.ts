/** Models to share, inputs for them, ways of sharing: what the properties of the distribution layer are made of. */
import { join } from 'node:path'
import {
  cluster,
  memoryDevice,
  POINTS,
  ROW_ORDERS,
  type RowOrder,
  SEGMENT_BOUNDS,
  type SharedRunner,
  type SharingOptions,
  STRATEGIES,
  WIRE_FORMATS,
} from '@prismal/distribute'
import type { MemoryOptions } from '@prismal/distribute/transports/memory'
import {
  type Emitted,
  type GenerateOptions,
  loadModel,
  type Model,
  type Part,
  type Runner,
  type Want,
} from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bits } from '../compare.js'
import { normals, randomFrom } from '../random.js'
import { sharedFolder } from '../shared-folder.js'

const reference = sharedFolder('reference')

/** A small model of the reference results. */
export interface Subject {
  readonly name: string
  readonly location: string
  readonly family: Model['family']
  /** Numbers of rows that a sequence may have. */
  readonly rows: { readonly min: number; readonly max: number }
}

const named = (name: string, family: Model['family'], min: number, max: number): Subject[] =>
  reference ? [{ name, family, location: join(reference, name), rows: { min, max } }] : []

/** One of each family; empty where ../shared is missing. */
export const families: readonly Subject[] = [
  ...named('bert-classify', 'bert', 1, 40),
  ...named('vit-odd', 'vit', 50, 50),
  ...named('gpt2', 'gpt2', 1, 40),
]
/** All of them. */
export const subjects: readonly Subject[] = [
  ...families,
  ...named('bert-fill-mask', 'bert', 1, 40),
  ...named('bert-old-names', 'bert', 1, 39), // of 40 positions
  ...named('vit-square', 'vit', 17, 17),
  ...named('gpt2-odd', 'gpt2', 1, 63), // of 64 positions
]
// A suite without its models is seen as skipped: each that imports this file has this test.
test.skipIf(!reference)('the reference models are there', () => expect(subjects.length).toBe(7))

/** Those that generate. */
export const generators: readonly Subject[] = subjects.filter(s => s.family === 'gpt2')

export async function load({ location }: Pick<Subject, 'location'>): Promise<Model> {
  return loadModel(await openFiles(location), { engine: await createEngine(), warn: () => {} })
}

/** Tells of each message within this thread when it is delivered. */
export function toldDeliveries(): Required<Pick<MemoryOptions, 'schedule'>> & { onDelivery: () => void } {
  const told = {
    onDelivery: (): void => {},
    schedule: (deliver: () => void): void =>
      queueMicrotask(() => {
        told.onDelivery()
        deliver()
      }),
  }
  return told
}

/** A cluster of `devices` devices within this thread, each with an engine of its own, and their models. */
export async function inMemory(
  subject: Subject,
  devices: number,
  memory?: MemoryOptions,
): Promise<{ runner: SharedRunner; models: readonly Model[] }> {
  const models = [await load(subject)]
  const another = memoryDevice(async () => {
    const model = await load(subject)
    models.push(model)
    return model
  })
  const specs = ['local' as const, ...new Array<typeof another>(devices - 1).fill(another)]
  return { runner: await cluster(specs, {}, { ...(memory && { memory }) }).runner(models[0]!), models }
}

/** Bytes in use on each device's engine. */
export const usedBytes = (models: readonly Model[]): number[] => models.map(m => m.engine.arena.usedBytes)

/** A sequence of `rows` rows for a model. */
export function sequenceFor({ shape, family }: Pick<Model, 'shape' | 'family'>, rows: number, seed: number): Part {
  if (family === 'vit') return { from: 0, to: rows, patches: normals((rows - 1) * shape.patchWidth, seed) }
  const random = randomFrom(seed)
  const ids = Int32Array.from({ length: rows }, () => Math.floor(random() * 60)) // every vocabulary has as many
  if (family === 'gpt2') return { from: 0, to: rows, ids }
  return {
    from: 0,
    to: rows,
    ids,
    ...(seed % 2 === 0 && { types: Int32Array.from({ length: rows }, () => Math.floor(random() * 2)) }),
    ...(seed % 3 === 0 && { positions: Int32Array.from({ length: rows }, (_, i) => (2 * i < rows ? i : i + 1)) }), // one is masked
  }
}

/** A ragged batch, as sizes and seeds. */
export const batches = ({ rows }: Subject, most = 3): fc.Arbitrary<(readonly [rows: number, seed: number])[]> =>
  fc.array(fc.tuple(fc.integer(rows), fc.nat()), { minLength: 1, maxLength: most })

export const sequencesOf = (model: Model, batch: readonly (readonly [number, number])[]): Part[] =>
  batch.map(([rows, seed]) => sequenceFor(model, rows, seed))

/** Rows that may be asked for of a batch; lists of rows come from `seed`. */
export function wantOf(
  kind: 'all' | 'first' | 'last' | 'mean' | 'lists',
  sequences: readonly Part[],
  seed: number,
): Want {
  if (kind !== 'lists') return kind
  const random = randomFrom(seed)
  return sequences.map(({ to }) => Array.from({ length: Math.floor(random() * 4) }, () => Math.floor(random() * to)))
}
export const wants = fc.constantFrom(
  'all' as const,
  'first' as const,
  'last' as const,
  'mean' as const,
  'lists' as const,
)

/** How many devices share, and how: anything that a plan takes; of a model, where one is given, also what only some can have. */
export const sharings = (
  most: number,
  shape: Partial<Model['shape']> = {},
): fc.Arbitrary<{ devices: number; options: SharingOptions }> =>
  fc.integer({ min: 1, max: most }).chain(devices =>
    fc.record({
      devices: fc.constant(devices),
      options: fc
        .record(
          {
            strategy: fc.constantFrom(...STRATEGIES),
            segments: oneOrEach(fc.integer({ min: 1, max: 12 }), fc.nat(6), shape.layers),
            gain: oneOrEach(fc.constantFrom(0, 0.5, 1, 1.5), fc.constantFrom(0, 0.7, 1), shape.layers),
            bounds: fc.constantFrom(...SEGMENT_BOUNDS, 1.5),
            sink: fc.integer({ min: 0, max: 4 }),
            tail: fc.integer({ min: 0, max: 3 }),
            near: fc.integer({ min: 0, max: 3 }),
            anchor: fc.integer({ min: 0, max: 4 }),
            ...(shape.causal && { halo: fc.integer({ min: 0, max: 9 }) }),
            padTo: fc.integer({ min: 0, max: 60 }),
            rows: fc.integer({ min: 1, max: 12 }),
            order: fc.constantFrom(...ordersOf(shape)),
            turn: fc.integer({ min: 1, max: 5 }),
            point: fc.constantFrom(...POINTS),
            wire: fc.constantFrom(...WIRE_FORMATS),
            weights: fc
              .array(fc.integer({ min: 0, max: 3 }), { minLength: devices, maxLength: devices })
              .filter(all => all.some(w => w > 0)),
            lost: fc.tuple(fc.nat(devices - 1), fc.nat(2)),
            handoff: fc.constantFrom('means' as const, 'full' as const),
          },
          { requiredKeys: ['strategy'] },
        )
        .map(({ rows, ...options }) =>
          rows === undefined || options.segments !== undefined ? options : { rows, ...options },
        ),
    }),
  )

/** The orders that rows of a model may be dealt in. */
export const ordersOf = ({ causal = true, patchGrid }: Partial<Model['shape']>): readonly RowOrder[] =>
  patchGrid ? ROW_ORDERS : causal ? ['raster'] : ['raster', 'in-turn']

/** One value, or one a layer where there are layers. */
const oneOrEach = (one: fc.Arbitrary<number>, each: fc.Arbitrary<number>, layers: number | undefined) =>
  layers === undefined ? one : fc.oneof(one, fc.array(each, { minLength: layers, maxLength: layers }))

/** Rows on their own, after the request has ended. */
export async function rowsOf(runner: Runner, sequences: readonly Part[], want: Want): Promise<Float32Array> {
  const request = runner.begin()
  try {
    return (await request.rows(sequences, want)).floats()
  } finally {
    request.end()
  }
}

/** The tokens that a runner generates, with their logits. */
export async function tokensOf(runner: Runner, prompts: readonly Part[], options: GenerateOptions): Promise<Emitted[]> {
  const request = runner.begin()
  try {
    const emitted: Emitted[] = []
    for await (const token of request.tokens(prompts, { withLogits: true, ...options })) emitted.push(token)
    return emitted
  } finally {
    request.end()
  }
}

/** Tokens with the bits of their logits, sequence by sequence: whose turn comes first, where several devices decode, is a matter of time. */
export const bitsOfTokens = (tokens: readonly Emitted[]) =>
  tokens.toSorted((a, b) => a.sequence - b.sequence).map(({ logits, ...token }) => ({ ...token, bits: bits(logits!) }))
