/** A kernel's operands at representative sizes, made from its catalogue entry. */
import { type Buffer, ELEMENT_BYTES, type Kernel, type Sizes } from '@prismal/kernels/catalogue'
import { catalogue, type KernelName, type Scope } from '@prismal/tensor'
import { randomFrom } from '../test/random.js'

/** What a size usually is in the models at hand, by its name: ViT-B/16 and BERT-base. */
const USUAL: Sizes = {
  ...{ m: 197, n: 768, k: 768, width: 768, count: 197 * 3072, t: 8192, r: 10 },
  ...{ H: 12, d: 64, activation: 0, tile: 0 },
}
/** Where a name stands for something else in one kernel. */
const UNUSUAL: Partial<Record<KernelName, Sizes>> = {
  attentionBegin: { n: 197 },
  attentionFold: { n: 197 },
  attentionEnd: { n: 197 },
}

export interface PreparedCall {
  readonly call: () => void
  readonly sizes: Sizes
  /** Bytes that the call reads and writes. */
  readonly bytes: number
  /** Floating-point operations; 0 where bytes are what counts. */
  readonly flops: number
  /** Its operations are on 8-bit codes. */
  readonly isInt8?: boolean
  /** Its operands come from memory, not from a cache. */
  readonly isCold?: boolean
}

/**
 * Lays a kernel's operands out in memory of `scope` and fills them; `given` replaces usual sizes. Optional buffers are absent, so that all counted
 * operations are executed. Throws where the catalogue has a size that no usual value is known for.
 */
export function prepare(scope: Scope, name: KernelName, given: Sizes = {}): PreparedCall {
  const kernel: Kernel = catalogue[name]
  const sizes = sizesOf(name, kernel, given)
  const { engine } = scope
  const parameters = kernel.parameters.map(p => {
    if (p.kind === 'size') return sizes[p.name]!
    if (p.kind === 'real') return p.values[0]!
    if (p.optional) return 0
    const length = p.length(sizes)
    const { address } = scope.empty([length * ELEMENT_BYTES[p.type]], 'u8')
    fill(engine.memory.buffer, address, length, p, sizes)
    return address
  })
  const run = engine.kernels[name]
  return {
    call: () => run(...parameters),
    sizes,
    bytes: bytesMoved(kernel, sizes),
    flops: kernel.flops?.(sizes) ?? 0,
    isInt8: kernel.arithmetic === 'int8',
  }
}

function sizesOf(name: KernelName, kernel: Kernel, given: Sizes): Sizes {
  const sizes: Record<string, number> = {}
  const named = kernel.parameters.filter(p => p.kind === 'size')
  for (const p of named) {
    if (p.derived) continue
    const value = given[p.name] ?? UNUSUAL[name]?.[p.name] ?? USUAL[p.name]
    if (value === undefined) throw new Error(`bench/operands.ts: no usual value for size ${p.name} of kernel ${name}`)
    sizes[p.name] = value
  }
  for (const p of named) if (p.derived) sizes[p.name] = p.derived(sizes)
  return sizes
}

function bytesMoved(kernel: Kernel, sizes: Sizes): number {
  const buffers = kernel.parameters.filter(p => p.kind === 'buffer' && !p.optional) as Buffer[]
  const size = (p: Buffer): number => p.length(sizes) * ELEMENT_BYTES[p.type] * (p.use === 'inout' ? 2 : 1)
  const sum = (chosen: readonly Buffer[]): number => chosen.reduce((bytes, p) => bytes + size(p), 0)
  const outputs = buffers.filter(p => p.use === 'out' || p.use === 'inout')
  const indices = buffers.find(p => typeof p.fill === 'object' && p.fill.kind === 'indices')
  // Of what is indexed, only as much is read as is written.
  if (indices) return size(indices) + 2 * sum(outputs)
  return sum(buffers.filter(p => p.use !== 'scratch'))
}

/** Fills as the buffer's entry says, the same values in every run. */
function fill(memory: ArrayBufferLike, address: number, length: number, p: Buffer, sizes: Sizes): void {
  if (p.use === 'out' || p.use === 'scratch') return
  const random = randomFrom(length)
  const below = (n: number): number => Math.floor(random() * n)
  const kind = p.fill ?? 'default'
  if (p.type === 'f32') {
    const values = new Float32Array(memory, address, length)
    const deviation = typeof kind === 'object' && kind.kind === 'variance' ? Math.sqrt(kind.of(sizes)) : 1
    // Uniform with the entry's variance: what a kernel takes does not depend on the distribution's form.
    for (let i = 0; i < length; i++) {
      const value = (random() - 0.5) * Math.sqrt(12) * deviation
      values[i] = kind === 'positive' ? Math.abs(value) + 0.1 : kind === 'zero' ? 0 : value
    }
  } else if (p.type === 'i32') {
    const values = new Int32Array(memory, address, length)
    for (let i = 0; i < length; i++) values[i] = integer(kind, i, sizes, below)
  } else if (p.type === 'u8') {
    const values = new Uint8Array(memory, address, length)
    for (let i = 0; i < length; i++) values[i] = below(256)
  } else if (p.type === 'i8') {
    const values = new Int8Array(memory, address, length)
    for (let i = 0; i < length; i++) values[i] = below(255) - 127
  } else {
    // Ordinary numbers near 1: sign, some exponent around the bias, any fraction.
    const values = new Uint16Array(memory, address, length)
    const [fractionBits, bias] = p.type === 'f16' ? [10, 15] : [7, 127]
    for (let i = 0; i < length; i++)
      values[i] = (below(2) << 15) | ((bias - 4 + below(6)) << fractionBits) | below(1 << fractionBits)
  }
}

function integer(kind: Buffer['fill'], i: number, sizes: Sizes, below: (n: number) => number): number {
  if (typeof kind !== 'object') return 0
  if (kind.kind === 'indices') return below(kind.below(sizes))
  if (kind.kind === 'visible') return kind.below(sizes)
  // Runs: an even cut that covers every row once, as [from, to) pairs.
  if (kind.kind === 'runs') return Math.floor((Math.ceil(i / 2) * kind.of(sizes)) / kind.count(sizes))
  return 0
}
