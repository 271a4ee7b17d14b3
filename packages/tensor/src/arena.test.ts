import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RUNS } from '../../../test/runs.js'
import { ALIGNMENT_BYTES, Arena } from './arena.js'
import { MemoryError } from './errors.js'
import { MAX_MEMORY_BYTES, PlainMemory, WasmMemory } from './memory.js'

interface Range {
  readonly at: number
  readonly bytes: number
}
/** What an arena should hold. */
interface Model {
  readonly ranges: Range[]
  peak: number
  /** End of the highest range so far. */
  end: number
}

const rounded = (bytes: number): number => Math.max(1, Math.ceil(bytes / ALIGNMENT_BYTES)) * ALIGNMENT_BYTES
const sum = (ranges: readonly Range[]): number => ranges.reduce((total, r) => total + rounded(r.bytes), 0)

function check(model: Model, arena: Arena): void {
  const sorted = [...model.ranges].sort((a, b) => a.at - b.at)
  for (const [i, { at, bytes }] of sorted.entries()) {
    expect(at % ALIGNMENT_BYTES).toBe(0)
    expect(at).toBeGreaterThanOrEqual(ALIGNMENT_BYTES)
    expect(at + rounded(bytes)).toBeLessThanOrEqual(sorted[i + 1]?.at ?? arena.memory.bytes)
  }
  expect(arena.usedBytes).toBe(sum(sorted))
  expect(arena.peakBytes).toBe(model.peak)
}

class Allocate implements fc.Command<Model, Arena> {
  constructor(readonly bytes: number) {}
  check(): boolean {
    return true
  }
  run(model: Model, arena: Arena): void {
    const at = arena.allocate(this.bytes)
    model.ranges.push({ at, bytes: this.bytes })
    model.peak = Math.max(model.peak, sum(model.ranges))
    model.end = Math.max(model.end, at + rounded(this.bytes))
    check(model, arena)
  }
  toString(): string {
    return `allocate(${this.bytes})`
  }
}

class Release implements fc.Command<Model, Arena> {
  constructor(readonly index: number) {}
  check({ ranges }: Readonly<Model>): boolean {
    return ranges.length > 0
  }
  run(model: Model, arena: Arena): void {
    const [range] = model.ranges.splice(this.index % model.ranges.length, 1) as [Range]
    arena.release(range.at, range.bytes)
    check(model, arena)
  }
  toString(): string {
    return `release(${this.index})`
  }
}

const commands = fc.commands(
  [fc.nat(3000).map(bytes => new Allocate(bytes)), fc.nat(20).map(index => new Release(index))],
  { maxCommands: 60 },
)

describe.each([
  ['plain memory', () => new PlainMemory()],
  ['wasm memory', () => new WasmMemory()],
])('an arena over %s', (_, memory) => {
  it('hands out aligned ranges that never overlap, and is as new when it has them back', () => {
    fc.assert(
      fc.property(commands, fc.infiniteStream(fc.nat()), (list, order) => {
        const arena = new Arena(memory())
        const model: Model = { ranges: [], peak: 0, end: ALIGNMENT_BYTES }
        fc.modelRun(() => ({ model, real: arena }), list)
        for (const index of order) {
          if (model.ranges.length === 0) break
          new Release(index).run(model, arena)
        }
        expect(arena.usedBytes).toBe(0)
        // All of it in one piece again, from the start on, without the memory growing.
        const before = arena.memory.bytes
        const all = model.end - ALIGNMENT_BYTES
        expect(arena.allocate(all)).toBe(ALIGNMENT_BYTES)
        expect(arena.memory.bytes).toBe(before)
        arena.release(ALIGNMENT_BYTES, all)
        // And the end is back at the start, or more than ever would not fit there.
        expect(arena.allocate(model.end)).toBe(ALIGNMENT_BYTES)
      }),
      { numRuns: RUNS },
    )
  })

  it('gives the same requests the same ranges', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5000), { minLength: 1 }), sizes => {
        const arena = new Arena(memory())
        const round = (): number[] => {
          const places = sizes.map(bytes => arena.allocate(bytes))
          for (const [i, at] of places.entries()) arena.release(at, sizes[i]!)
          return places
        }
        const first = round()
        const grown = arena.memory.bytes
        expect(round()).toEqual(first)
        expect(arena.memory.bytes).toBe(grown)
      }),
      { numRuns: RUNS },
    )
  })

  it('says by how much a limit is exceeded, and is unharmed by it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 64, max: 8192 }), fc.array(fc.nat(3000), { minLength: 1 }), (limit, sizes) => {
        const arena = new Arena(memory(), limit)
        let used = 0
        for (const bytes of sizes) {
          const missing = used + rounded(bytes) - limit
          if (missing > 0) {
            const refused = new RegExp(`exceed the limit of ${limit} by ${missing} \\(${used} in use\\)`)
            expect(() => arena.allocate(bytes)).toThrow(refused)
            expect(() => arena.allocate(bytes)).toThrow(expect.objectContaining({ missingBytes: missing }))
          } else {
            arena.allocate(bytes)
            used += rounded(bytes)
          }
          expect(arena.usedBytes).toBe(used)
        }
      }),
      { numRuns: RUNS },
    )
  })

  it('keeps what lies in it when the memory grows', () => {
    const arena = new Arena(memory())
    const at = arena.allocate(1000)
    new Uint8Array(arena.memory.buffer, at, 1000).fill(7)
    arena.allocate(5_000_000)
    expect(new Uint8Array(arena.memory.buffer, at, 1000).every(b => b === 7)).toBe(true)
  })

  it('refuses more than can be addressed, by how much, and stays usable', () => {
    const arena = new Arena(memory())
    const missing = ALIGNMENT_BYTES + MAX_MEMORY_BYTES + ALIGNMENT_BYTES - MAX_MEMORY_BYTES
    expect(() => arena.allocate(MAX_MEMORY_BYTES + 1)).toThrow(expect.objectContaining({ missingBytes: missing }))
    expect(() => arena.allocate(Number.MAX_SAFE_INTEGER)).toThrow(MemoryError)
    expect(arena.usedBytes).toBe(0)
    expect(arena.allocate(10)).toBe(ALIGNMENT_BYTES)
  })
})
