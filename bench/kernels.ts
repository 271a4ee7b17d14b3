/** Every kernel of the catalogue on every build, and the matrix product on the shapes of a base-size transformer. */
import { availableBuilds, type Build, catalogue, createEngine, type Engine, type KernelName } from '@prismal/tensor'
import {
  batched,
  type Contestant,
  type Rounds,
  ratio,
  SLICE_MS,
  type Summary,
  summary,
  type Turns,
  takeTurns,
} from './measure.js'
import { type PreparedCall, prepare } from './operands.js'
import { type Machine, peakContestant } from './peak.js'
import { bar, figure, type Row } from './report.js'

/** m × k × n of C [m, n] = A [m, k] · B [k, n]. */
const SHAPES = [
  [197, 768, 768],
  [197, 768, 3072],
  [197, 3072, 768],
  [192, 768, 768],
  [1, 768, 3072],
] as const
/** Share of its build's multiply-add peak that the matrix product must reach. One row is not bound by it. */
const LEAST_SHARE = 0.9
/** Operations of 8-bit codes that one instruction makes where a multiply-add of f32 makes one. */
const INT8_FACTOR = 4
/** Weights that one row meets before it meets the same again: more than caches hold, as when decoding. */
const COLD_BYTES = 256 * 2 ** 20

/** The wasm builds that this runtime can run, fastest first. */
export const wasmBuilds = (): Build[] => availableBuilds().filter(build => build !== 'reference')

interface Entry {
  readonly build: Build
  readonly name: string
  readonly variant: string
  readonly prepared: PreparedCall
  readonly contestant: Contestant
}

/** Every entry of the catalogue at a representative size: operations where it counts them, else bytes. */
export async function benchCatalogue(machine: Machine, rounds: Rounds): Promise<Row[]> {
  const engines = await Promise.all(wasmBuilds().map(backend => createEngine({ backend })))
  const rows: Row[] = []
  for (const name of Object.keys(catalogue) as KernelName[]) {
    const scopes = engines.map(engine => engine.scope())
    const entries = scopes.map((scope): Entry => {
      const prepared = prepare(scope, name)
      const variant = `${scope.engine.build}  ${sizesOf(prepared)}`
      return entry(scope.engine.build, name, variant, prepared)
    })
    rows.push(...(await timed('kernels', entries, machine, rounds)))
    for (const scope of scopes) scope.dispose()
  }
  for (const engine of engines) engine.dispose()
  return rows
}

/** The f32 matrix product on each build, against the peak of its arithmetic; `onlyBars` leaves out what no bar is set for. */
export async function benchGemm(machine: Machine, rounds: Rounds, onlyBars = false): Promise<Row[]> {
  const rows: Row[] = []
  for (const build of wasmBuilds()) {
    const arithmetic = build === 'simd' ? 'mul+add' : 'relaxed_madd'
    const peak = machine.peaks.find(p => p.arithmetic === arithmetic) ?? machine.peak
    const engine = await createEngine({ backend: build })
    rows.push(...(await timed('gemm', gemms(engine, onlyBars), { ...machine, peak }, rounds)))
    engine.dispose()
  }
  return rows
}

function gemms(engine: Engine, onlyBars: boolean): Entry[] {
  const shapes = SHAPES.filter(([m]) => !onlyBars || m > 1)
  const hot = shapes.map(([m, k, n]) => {
    const prepared = prepare(engine.root, 'gemm', { m, k, n })
    return entry(engine.build, `${m}×${k}×${n}`, engine.build, prepared)
  })
  if (onlyBars) return hot
  const sizes = { m: 1, k: 768, n: 3072 }
  const first = prepare(engine.root, 'gemm', sizes)
  const all = [first]
  while (all.length * first.bytes < COLD_BYTES) all.push(prepare(engine.root, 'gemm', sizes))
  let next = 0
  const call = (): void => all[next++ % all.length]!.call()
  // What streams from memory is bound by bytes, so they are what is reported.
  const prepared = { ...first, call, flops: 0, isCold: true }
  return [...hot, entry(engine.build, '1×768×3072 cold', engine.build, prepared)]
}

const entry = (build: Build, name: string, variant: string, prepared: PreparedCall): Entry => ({
  ...{ build, name, variant, prepared },
  contestant: batched(name, prepared.call, SLICE_MS),
})

/** Times entries and the peak's own loop in turns, so that shares hold although the clock of the machine varies. */
async function timed(suite: string, entries: readonly Entry[], machine: Machine, rounds: Rounds): Promise<Row[]> {
  const peak = peakContestant(machine.peak)
  const isCounted = entries.some(({ prepared }) => prepared.flops > 0)
  const turns = await takeTurns([...entries.map(e => e.contestant), ...(isCounted ? [peak.contestant] : [])], rounds)
  const peakTurns = turns.at(-1)!
  return entries.map((e, i) => {
    const ms = turns[i]!
    const { flops, isInt8 } = e.prepared
    const share = flops > 0 ? ofPeak(ms, flops, peakTurns, peak.flops * (isInt8 ? INT8_FACTOR : 1)) : undefined
    return {
      suite,
      name: e.name,
      variant: e.variant,
      milliseconds: summary(ms),
      ...figures(e, ms, share, machine, suite),
    }
  })
}

const ofPeak = (ms: Turns, flops: number, peakMs: Turns, peakFlops: number): Summary =>
  ratio(
    peakMs.map(t => t / peakFlops),
    ms.map(t => t / flops),
  )

function figures(e: Entry, ms: Turns, share: Summary | undefined, machine: Machine, suite: string) {
  const { median } = summary(ms)
  const { flops, bytes, isCold, isInt8 } = e.prepared
  if (!share) {
    const value = bytes / median / 1e6
    const most = isCold ? machine.streaming : machine.bandwidth.of(bytes)
    const one = value / most
    const of = isCold ? 'streaming' : `moving ${figure(bytes / 2 ** 20)} MiB`
    return { rate: { value, unit: 'GB/s' as const }, ofPeak: { share: { median: one, least: one, most: one }, of } }
  }
  const hasBar = suite === 'gemm' && e.prepared.sizes.m !== 1
  return {
    rate: { value: flops / median / 1e6, unit: isInt8 ? ('GOP/s' as const) : ('GF/s' as const) },
    ofPeak: { share, of: isInt8 ? `${INT8_FACTOR} × peak` : 'peak' },
    ...(hasBar && { bar: bar(share.median, LEAST_SHARE, `≥ ${100 * LEAST_SHARE} %`) }),
  }
}

const sizesOf = ({ sizes }: PreparedCall): string =>
  Object.entries(sizes)
    .filter(([name]) => !/stride|activation/i.test(name))
    .map(([name, size]) => `${name} ${size}`)
    .join(' ')
