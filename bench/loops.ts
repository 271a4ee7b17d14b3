/**
 * WebAssembly loops that do nothing but multiply-add, read or copy: what a kernel can at best be. They are assembled here
 * byte by byte, because a compiler would merge or drop the very operations that are to be counted.
 */

export const ARITHMETICS = ['relaxed_madd', 'mul+add'] as const
export type Arithmetic = (typeof ARITHMETICS)[number]

/**
 * Where the factors come from: registers that never change (`constant`), one load a step that all chains share, one load a
 * chain and step, or two vectors a step times one number for each pair of chains (`tile`, as a matrix product has them).
 * V8 compiles each differently well, so that only the best of them is a peak.
 */
export const OPERANDS = ['constant', 'shared load', 'own load', 'tile'] as const
export type Operand = (typeof OPERANDS)[number]

export interface MultiplyAddLoop {
  readonly arithmetic: Arithmetic
  /** Accumulators that do not depend on each other. */
  readonly chains: number
  readonly operand: Operand
  /** Steps that one turn of the loop takes, of {@link STEPS}. */
  readonly steps: number
}

/** Many steps cost less counting; of few some versions of V8 make better code. */
export const STEPS = [1, 8] as const

type Bytes = readonly number[]

const FACTOR_BYTES = 4096
const I32 = 0x7f
const F32 = 0x7d
const V128 = 0x7b
const EMPTY = 0x40

/** LEB128: signed for constants, unsigned for everything else. */
const leb = (value: number): Bytes => {
  const last = value >= -64 && value < 64
  return last ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...leb(value >> 7)]
}
const unsigned = (value: number): Bytes => (value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)])
const get = (local: number): Bytes => [0x20, ...unsigned(local)]
const set = (local: number): Bytes => [0x21, ...unsigned(local)]
const constant = (value: number): Bytes => [0x41, ...leb(value)]
const simd = (opcode: number): Bytes => [0xfd, ...unsigned(opcode)]
const load = (offset = 0): Bytes => [...simd(0x00), 4, ...unsigned(offset)]
const loadSplat = (offset: number): Bytes => [...simd(0x09), 2, ...unsigned(offset)]
const store = (offset: number): Bytes => [...simd(0x0b), 4, ...unsigned(offset)]
const [I32_ADD, I32_SUB, I32_AND] = [[0x6a], [0x6b], [0x71]]
const [SPLAT, ADD, MUL, MADD, XOR] = [simd(0x13), simd(0xe4), simd(0xe6), simd(0x105), simd(0x51)]
const FIRST_LANE = [...simd(0x1f), 0]
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
/** Repeats `body` until it leaves 0 in `counter`, lowered by `step` each time. */
const countDown = (counter: number, step: number, body: Bytes): Bytes => [
  ...[0x03, EMPTY, ...body],
  ...[...get(counter), ...constant(step), ...I32_SUB, 0x22, ...unsigned(counter)],
  ...[0x0d, 0, 0x0b],
]

const vector = (items: readonly Bytes[]): Bytes => [...unsigned(items.length), ...items.flat()]
const section = (id: number, content: Bytes): Bytes => [id, ...unsigned(content.length), ...content]

/** A module of one exported function `run`, over the memory it imports as `env.memory`. */
function moduleOf(parameters: Bytes, results: Bytes, locals: readonly Bytes[], body: Bytes): WebAssembly.Module {
  const code = [...vector(locals), ...body, 0x0b]
  const name = (text: string): Bytes => vector([...text].map(c => [c.charCodeAt(0)]))
  const bytes = [
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector([[0x60, ...vector(parameters.map(p => [p])), ...vector(results.map(r => [r]))]])),
    ...section(2, vector([[...name('env'), ...name('memory'), 2, 0, 1]])),
    ...section(3, vector([[0]])),
    ...section(7, vector([[...name('run'), 0, 0]])),
    ...section(10, vector([[...unsigned(code.length), ...code]])),
  ]
  return new WebAssembly.Module(new Uint8Array(bytes))
}

function exported(module: WebAssembly.Module, memory: WebAssembly.Memory): (...parameters: number[]) => number {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  return exports.run as (...parameters: number[]) => number
}

const STEP_BYTES = 64

/** The loop as a function of turns, which makes `flopsPerTurn` operations each. */
export function multiplyAddLoop(loop: MultiplyAddLoop): { run: (turns: number) => void; flopsPerTurn: number } {
  const { chains, operand, steps } = loop
  // Parameters: turns, x, y. Locals: address, then vectors x, y, factor and the chains.
  const [turns, x, y, address, xs, ys, factor, first] = [0, 1, 2, 3, 4, 5, 6, 7] as const
  const step = (offset: number): Bytes => [
    ...(operand === 'shared load' ? [...get(address), ...load(offset), ...set(factor)] : []),
    ...(operand === 'tile'
      ? [...get(address), ...load(offset), ...set(xs), ...get(address), ...load(offset + 16), ...set(ys)]
      : []),
    ...range(chains).flatMap(i => [
      ...(operand === 'tile' && i % 2 === 0 ? [...get(address), ...loadSplat(offset + 4 * i), ...set(factor)] : []),
      ...multiplyAdd(
        loop,
        first + i,
        { address, xs: i % 2 === 1 && operand === 'tile' ? ys : xs, ys, factor },
        offset + 16 * i,
      ),
    ]),
  ]
  const body = [
    ...[...get(x), ...SPLAT, ...set(xs), ...get(y), ...SPLAT, ...set(ys)],
    // Chains that start alike could be merged.
    ...range(chains).flatMap(i => [...constant(16 * i), ...load(), ...set(first + i)]),
    ...countDown(turns, 1, [
      ...(operand === 'constant' ? [] : nextAddress(address, STEP_BYTES * steps)),
      ...range(steps).flatMap(i => step(STEP_BYTES * i)),
    ]),
    ...get(first),
    ...range(chains - 1).flatMap(i => [...get(first + 1 + i), ...ADD]),
    ...FIRST_LANE,
  ]
  const locals = [
    [1, I32],
    [...unsigned(3 + chains), V128],
  ]
  const memory = new WebAssembly.Memory({ initial: 1 })
  // Small and different numbers: sums stay finite, products never become subnormal.
  new Float32Array(memory.buffer).forEach((_, i, all) => {
    all[i] = (1 + (i % 97)) / 1024
  })
  const run = exported(moduleOf([I32, F32, F32], [F32], locals, body), memory)
  return { run: count => void run(count, 0.9375, 0.0625), flopsPerTurn: 2 * 4 * chains * steps }
}

/** address = (address + a turn's bytes) mod 4 KiB: the factors stay in the first cache, and change. */
const nextAddress = (address: number, bytes: number): Bytes => [
  ...[...get(address), ...constant(bytes), ...I32_ADD],
  ...[...constant(FACTOR_BYTES - bytes), ...I32_AND, ...set(address)],
]

function multiplyAdd(
  { arithmetic, operand }: MultiplyAddLoop,
  chain: number,
  at: { address: number; xs: number; ys: number; factor: number },
  offset: number,
): Bytes {
  const isFused = arithmetic === 'relaxed_madd'
  // A product of two values that chains share would be computed once for all of them, so there the chain is a factor.
  const [a, b, sum] =
    operand === 'own load'
      ? [get(at.xs), [...get(at.address), ...load(offset)], get(chain)]
      : operand === 'tile' || (operand === 'shared load' && isFused)
        ? [get(at.factor), get(at.xs), get(chain)]
        : [get(chain), get(operand === 'constant' ? at.xs : at.factor), get(at.ys)]
  return isFused ? [...a, ...b, ...sum, ...MADD, ...set(chain)] : [...a, ...b, ...MUL, ...sum, ...ADD, ...set(chain)]
}

/** Bytes that one turn of a memory loop reads, or reads and writes. */
export const BLOCK_BYTES = 256

/** Reads the bytes from `address` on; `bytes` is a multiple of {@link BLOCK_BYTES}. */
export function readLoop(memory: WebAssembly.Memory): (address: number, bytes: number) => void {
  const [address, bytes, first, sums] = [0, 1, 2, 4] as const
  const body = [
    ...countDown(bytes, BLOCK_BYTES, [
      ...range(BLOCK_BYTES / 16).flatMap(i => {
        const sum = first + (i % sums)
        return [...get(address), ...load(16 * i), ...get(sum), ...XOR, ...set(sum)]
      }),
      ...[...get(address), ...constant(BLOCK_BYTES), ...I32_ADD, ...set(address)],
    ]),
    ...get(first),
    ...range(sums - 1).flatMap(i => [...get(first + 1 + i), ...XOR]),
    ...FIRST_LANE,
  ]
  return exported(moduleOf([I32, I32], [F32], [[sums, V128]], body), memory)
}

/** Copies the bytes from one address on to another; `bytes` is a multiple of {@link BLOCK_BYTES}. */
export function copyLoop(memory: WebAssembly.Memory): (from: number, to: number, bytes: number) => void {
  const [from, to, bytes] = [0, 1, 2] as const
  const advance = (address: number): Bytes => [...get(address), ...constant(BLOCK_BYTES), ...I32_ADD, ...set(address)]
  const body = countDown(bytes, BLOCK_BYTES, [
    ...range(BLOCK_BYTES / 16).flatMap(i => [...get(to), ...get(from), ...load(16 * i), ...store(16 * i)]),
    ...advance(from),
    ...advance(to),
  ])
  return exported(moduleOf([I32, I32, I32], [], [], body), memory)
}
