import { describe, expect, it } from 'vitest'
import { SharingError } from '../errors.js'
import { choose, compare } from './choose.js'
import type { SharedWork } from './layout.js'
import { imagined, vitB } from './test-subjects.js'

const image: SharedWork = { shape: vitB, rows: [197], want: 'first' }
const equal = { speeds: [5e10, 5e10] }
const TEN = { segments: 10, sink: 0, wire: 'f32', bounds: 'uniform', order: 'raster' } as const

describe('choosing', () => {
  it('takes means where links are slow for every row but not for means, and says why in figures', () => {
    const { chosen, pays, reason, candidates } = choose(image, imagined({ ...equal, bitsPerSecond: 1e8 }), TEN)
    expect(chosen.name).toBe('means L=10, f32')
    expect(pays).toBe(true)
    expect(candidates.map(c => c.strategy)).toEqual(['means', 'full', 'one device'])
    expect(reason).toMatch(
      /^means L=10, f32 \d+ ms, 1\.\d\d× as fast as one device; full \d+ ms, of which \d+ ms waiting: 30\d kB a layer at 100 Mbit\/s; one device \(device \d\) \d+ ms$/,
    )
  })

  it('refuses to share at 1 kbit/s, with the reason', () => {
    const slow = imagined({ ...equal, bitsPerSecond: 1e3 })
    const refused = (): unknown => choose(image, slow, TEN)
    expect(refused).toThrow(SharingError)
    expect(refused).toThrow(
      /^sharing would not pay: one device \(device \d\) takes \d+ ms, means L=10, f32 \d+\.\d s, of which \d+\.\d s waiting: 3\d kB a layer at 1\.0 kbit\/s$/,
    )
    try {
      refused()
    } catch (error) {
      expect((error as SharingError).code).toBe('sharing-does-not-pay')
    }
    expect(compare(image, slow, { segments: 10 }).chosen.strategy).toBe('one device')
  })

  it('shares by the best way there is where it is forced to', () => {
    const slow = imagined({ ...equal, bitsPerSecond: 1e3 })
    const { chosen, pays, reason } = choose(image, slow, { segments: 10 }, { force: true })
    expect([chosen.strategy, pays]).toEqual(['means', false])
    expect(reason).toMatch(/^forced: one device/)
  })

  it('deals a batch out whole where links are slow', () => {
    const batch: SharedWork = { ...image, rows: new Array<number>(8).fill(197) }
    const { chosen, candidates } = choose(batch, imagined({ ...equal, bitsPerSecond: 1e7 }), { segments: 10 })
    expect(chosen.strategy).toBe('whole')
    expect(candidates).toHaveLength(4)
  })

  it('takes the faster of two unequal devices as the one device', () => {
    const { alone } = compare(image, imagined({ speeds: [2e10, 6e10], bitsPerSecond: 1e3 }), { segments: 10 })
    expect(alone.name).toBe('one device (device 1)')
    expect(alone.sharing.weights).toEqual([0, 1])
  })

  it('keeps to a strategy and to weights that are given', () => {
    const { candidates } = compare(image, imagined(equal), { strategy: 'full', weights: [3, 1] })
    expect(candidates.map(c => c.strategy).sort()).toEqual(['full', 'one device'])
    expect(candidates.find(c => c.strategy === 'full')?.sharing.weights).toEqual([3, 1])
  })

  it('has nothing to share with one device', () => {
    expect(() => choose(image, imagined({ speeds: [5e10] }))).toThrow(/one device takes \d+ ms, and there is no other/)
  })
})
