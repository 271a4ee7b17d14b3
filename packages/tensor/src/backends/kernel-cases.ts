/**
 * Test cases made from the catalogue: a kernel's buffers laid out in memory with canaries between them, filled from a
 * seed, run on a backend, and compared. Only tests import this file.
 */
import {
  type Buffer,
  catalogue,
  ELEMENT_BYTES,
  type Fill,
  type Kernel,
  type KernelName,
  type Kernels,
  type Sizes,
} from '@prismal/kernels/catalogue'
import fc from 'fast-check'
import { normalFrom, randomFrom } from '../../../../test/random.js'

/** One call of a kernel: everything that decides its inputs. */
export interface Case {
  /** Every size by name, strides included. */
  readonly sizes: Sizes
  readonly reals: Readonly<Record<string, number>>
  /** Names of the optional buffers that are given. */
  readonly present: readonly string[]
  readonly seed: number
  /** Where a run of rows begins and how many it has, as fractions, for row stability. */
  readonly part: readonly [from: number, count: number]
}

/** A case's memory before the call: bytes, and where each buffer lies (0: absent). */
export interface Layout {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly addresses: Readonly<Record<string, number>>
}

/** Any case of a kernel: sizes around its tiles more often than not, strides up to 5 wider than rows. */
export function anyCase(kernel: Kernel): fc.Arbitrary<Case> {
  const sizes: Record<string, fc.Arbitrary<number>> = {}
  const wider: Record<string, fc.Arbitrary<number>> = {}
  const reals: Record<string, fc.Arbitrary<number>> = {}
  const optional: string[] = []
  for (const p of kernel.parameters) {
    if (p.kind === 'real') reals[p.name] = fc.constantFrom(...p.values)
    else if (p.kind === 'buffer') p.optional && optional.push(p.name)
    else if (p.derived) wider[p.name] = p.isExact ? fc.constant(0) : fc.constantFrom(0, 0, 1, 2, 5)
    else {
      const least = Math.min(...p.edges)
      const edges = fc.constantFrom(...p.edges)
      sizes[p.name] = fc.oneof(
        { weight: 3, arbitrary: edges },
        { weight: 1, arbitrary: fc.integer({ min: least, max: p.most }) },
      )
    }
  }
  return fc
    .record({
      sizes: fc.record(sizes),
      wider: fc.record(wider),
      reals: fc.record(reals),
      present: fc.subarray(optional),
      seed: fc.integer({ min: 0 }),
      part: fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
    })
    .map(({ sizes, wider, ...rest }) => {
      const strides = kernel.parameters.flatMap(p =>
        p.kind === 'size' && p.derived ? [[p.name, p.derived(sizes as Sizes) + wider[p.name]!] as const] : [],
      )
      return {
        ...rest,
        sizes: { ...sizes, ...Object.fromEntries(strides) } as Sizes,
        reals: rest.reals as Record<string, number>,
      }
    })
}

const CANARY_BYTES = 64
/** 0xff… is NaN as f32: reading beyond a buffer spoils the result, writing beyond it spoils the canary. */
const CANARY = 0xff

/**
 * Lays out a case's buffers, each at an address aligned to its element only, and fills the inputs. Every thread has a
 * scratch of its own.
 */
export function layOut(kernel: Kernel, one: Case, threads = 1): Layout {
  const random = randomFrom(one.seed)
  const addresses: Record<string, number> = {}
  let end = CANARY_BYTES
  for (const p of buffersOf(kernel)) {
    if (p.optional && !one.present.includes(p.name)) {
      addresses[p.name] = 0
      continue
    }
    const shift = Math.floor(random() * 4) * 4
    addresses[p.name] = end + shift
    end = Math.ceil((end + shift + elementsOf(p, one.sizes, threads) * ELEMENT_BYTES[p.type] + CANARY_BYTES) / 16) * 16
  }
  const bytes = new Uint8Array(end).fill(CANARY)
  for (const p of buffersOf(kernel)) {
    const address = addresses[p.name]!
    if (address === 0 || p.use === 'out' || p.use === 'scratch') continue
    fill(bytes.buffer, address, p, one.sizes, random)
  }
  return { bytes, addresses }
}

/** Calls the kernel with a case's parameters. */
export function call(kernels: Kernels, name: KernelName, one: Case, addresses: Layout['addresses']): number {
  const parameters = (catalogue[name] as Kernel).parameters.map(p => {
    const from = p.kind === 'buffer' ? addresses : p.kind === 'size' ? one.sizes : one.reals
    return from[p.name]!
  })
  return kernels[name](...parameters)
}

/** The case's run of rows as a case and layout of its own: their inputs copied, everything else shared. */
export function partOf(kernel: Kernel, one: Case, whole: Layout): { from: number; part: Case; layout: Layout } {
  const rows = one.sizes[kernel.rows]!
  const from = Math.min(rows, Math.floor(one.part[0] * rows))
  const count = Math.min(rows - from, Math.ceil(one.part[1] * (rows - from)))
  const part = { ...one, sizes: { ...one.sizes, [kernel.rows]: count }, seed: one.seed + 1 }
  const layout = layOut(kernel, part)
  for (const p of buffersOf(kernel)) {
    const address = layout.addresses[p.name]!
    if (address === 0 || p.use === 'out' || p.use === 'scratch') continue
    const skip = from * (p.perRow?.(one.sizes) ?? 0) * ELEMENT_BYTES[p.type]
    const source = whole.addresses[p.name]! + skip
    layout.bytes.set(whole.bytes.subarray(source, source + p.length(part.sizes) * ELEMENT_BYTES[p.type]), address)
  }
  return { from, part, layout }
}

/** The bytes of rows [from, from + count) of a buffer; of all of it where it has no rows. */
export function bytesOfRows(
  memory: Uint8Array,
  layout: Layout,
  p: Buffer,
  sizes: Sizes,
  from: number,
  count: number,
): Uint8Array {
  const row = p.perRow!(sizes) * ELEMENT_BYTES[p.type]
  const address = layout.addresses[p.name]!
  return memory.subarray(address + from * row, address + (from + count) * row)
}

/** The first byte that differs from the layout outside the kernel's outputs and scratch, or −1. */
export function firstStray(kernel: Kernel, one: Case, layout: Layout, after: Uint8Array): number {
  const expected = layout.bytes.slice()
  for (const p of buffersOf(kernel)) {
    const address = layout.addresses[p.name]!
    if (p.use === 'in' || address === 0) continue
    const end = address + p.length(one.sizes) * ELEMENT_BYTES[p.type]
    expected.set(after.subarray(address, end), address)
  }
  return expected.findIndex((byte, i) => byte !== after[i])
}

/**
 * The largest difference between two results over the kernel's outputs, relative to the scale the catalogue defines;
 * Infinity where something is NaN in one only. Kernels with tolerance 0 compare as bits.
 */
export function difference(
  kernel: Kernel,
  one: Case,
  layout: Layout,
  got: Uint8Array,
  want: Uint8Array,
  magnitude: Uint8Array,
): number {
  let worst = 0
  for (const p of buffersOf(kernel)) {
    const address = layout.addresses[p.name]!
    if (address === 0 || (p.use !== 'out' && p.use !== 'inout')) continue
    const length = p.length(one.sizes)
    if (kernel.tolerance === 0 || p.type !== 'f32') {
      for (let i = 0; i < length * ELEMENT_BYTES[p.type]; i++)
        if (got[address + i] !== want[address + i]) return Infinity
      continue
    }
    const [G, W, M] = [got, want, magnitude].map(
      memory => new Float32Array(memory.slice(address, address + length * 4).buffer),
    )
    let scale = 0
    for (let i = 0; i < length; i++) scale = Math.max(scale, Math.abs(W![i]!) || 0, Math.abs(M![i]!) || 0)
    for (let i = 0; i < length; i++) {
      if (Number.isNaN(W![i]!) && Number.isNaN(G![i]!)) continue // what lies between rows keeps its canary
      const error = Math.abs(G![i]! - W![i]!)
      if (error > 0 || Number.isNaN(error)) worst = Math.max(worst, Number.isNaN(error) ? Infinity : error / scale)
    }
  }
  return worst
}

/** The same layout with the absolute values of all inputs that are numbers, but for whole ones of 32 bits. */
export function magnitudes(kernel: Kernel, one: Case, layout: Layout): Uint8Array<ArrayBuffer> {
  const bytes = layout.bytes.slice()
  for (const p of buffersOf(kernel)) {
    const address = layout.addresses[p.name]!
    if (address === 0 || p.use === 'out' || p.use === 'scratch') continue
    if (p.type === 'f16') {
      const bits = new Uint16Array(bytes.buffer, address, p.length(one.sizes))
      for (const [i, value] of bits.entries()) bits[i] = value & 0x7fff
    }
    if (p.type === 'i8') {
      const codes = new Int8Array(bytes.buffer, address, p.length(one.sizes))
      for (const [i, value] of codes.entries()) codes[i] = Math.abs(value)
    }
    if (p.type !== 'f32') continue
    const values = new Float32Array(bytes.buffer, address, p.length(one.sizes))
    values.forEach((value, i) => {
      values[i] = Math.abs(value)
    })
  }
  return bytes
}

const elementsOf = (p: Buffer, sizes: Sizes, threads: number): number =>
  p.length(sizes) * (p.use === 'scratch' ? threads : 1)

export const buffersOf = (kernel: Kernel): readonly Buffer[] => kernel.parameters.filter(p => p.kind === 'buffer')

function fill(memory: ArrayBuffer, address: number, p: Buffer, sizes: Sizes, random: () => number): void {
  const length = p.length(sizes)
  const kind: Fill = p.fill ?? 'default'
  const below = (n: number) => Math.floor(random() * n)
  if (typeof kind === 'object' && kind.kind === 'runs') {
    const ends = new Int32Array(memory, address, length)
    for (let i = 0; i < length; i += 2) {
      const from = below(kind.of(sizes))
      ends.set([from, from + 1 + below(kind.of(sizes) - from)], i)
    }
    return
  }
  let number = 0
  const one = (): number => {
    if (kind === 'quanta') return number++ % 2 === 1 ? below(256) : normalFrom(random) + 0.01
    if (kind === 'positive') return Math.abs(normalFrom(random)) + 0.1
    if (kind === 'log-counts') return Math.log(1 + below(20))
    if (kind === 'zero' || kind === 'finite') return 0
    if (kind === 'default') return normalFrom(random)
    if (kind.kind === 'variance') return normalFrom(random) * Math.sqrt(kind.of(sizes))
    return below(kind.below(sizes) + (kind.kind === 'visible' ? 1 : 0))
  }
  if (p.type === 'f32') put(new Float32Array(memory, address, length), one)
  else if (p.type === 'i32') put(new Int32Array(memory, address, length), one)
  else if (p.type === 'u8') put(new Uint8Array(memory, address, length), () => below(256))
  // Either sign, exponents from those of subnormals up: a sum of hundreds is then about 1.
  else if (kind === 'finite')
    put(new Uint16Array(memory, address, length), () => (below(2) << 15) | (below(12) << 10) | below(1024))
  else if (p.type === 'i8') put(new Int8Array(memory, address, length), () => below(255) - 127)
  else put(new Uint16Array(memory, address, length), () => below(65536)) // any bits: NaN and infinities too
}

function put(to: { readonly length: number; [i: number]: number }, one: () => number): void {
  for (let i = 0; i < to.length; i++) to[i] = one()
}
